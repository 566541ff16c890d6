/* Kernels that the C of a generated model calls (export/emit_c.py). C99, single precision, no heap, no libm.
 *
 * Matrices are strided: xr and xk are the distances between rows and between columns of x, in floats. Constant matrices
 * are stored as panels of HB_PANEL columns, [panel][row][HB_PANEL], the last panel filled up with zeros, as half or
 * single precision; a panel is widened once and used for all rows of x.
 */
#ifndef HB_NN_H
#define HB_NN_H

#include <stdint.h>
#include <string.h>

#define HB_PANEL 4

#if defined(__GNUC__)
#define HB_INLINE static inline __attribute__((always_inline, unused))
#define HB_KERNEL static __attribute__((noinline, unused))
#define HB_SQRT(x) __builtin_sqrtf(x)
#else
#include <math.h>
#define HB_INLINE static inline
#define HB_KERNEL static
#define HB_SQRT(x) sqrtf(x)
#endif

#if defined(__ARM_FP16_FORMAT_IEEE) || (defined(__aarch64__) && defined(__GNUC__))
typedef __fp16 hb_half;
HB_INLINE float hb_widen(hb_half x) { return (float)x; }
#else
typedef uint16_t hb_half;
HB_INLINE float hb_widen(hb_half x) {
    const uint32_t sign = (uint32_t)(x & 0x8000u) << 16, magnitude = x & 0x7fffu;
    const union { uint32_t bits; float value; } scale = {0x77800000u}, /* 2^112: rebiases, subnormal numbers too */
        raw = {sign | magnitude << 13};
    return raw.value * scale.value;
}
#endif

HB_INLINE float hb_bits(int32_t exponent) {
    const union { int32_t bits; float value; } u = {exponent << 23};
    return u.value;
}

/* 2^x, relative error below 3e-7; x is clamped to -126..126. */
HB_INLINE float hb_exp2(float x) {
    x = x < -126.0f ? -126.0f : x > 126.0f ? 126.0f : x;
    const int32_t n = (int32_t)(x < 0.0f ? x - 0.5f : x + 0.5f);
    const float f = x - (float)n; /* -0.5..0.5 */
    const float p = 1.0f + f * (0.693147181f + f * (0.240226507f + f * (0.0555041087f + f * (0.00961812911f
                  + f * (0.00133335581f + f * 0.000154035304f)))));
    return p * hb_bits(n + 127);
}

HB_INLINE float hb_exp(float x) { return hb_exp2(1.44269504f * x); }

HB_INLINE float hb_sigmoid(float x) { return 1.0f / (1.0f + hb_exp2(-1.44269504f * x)); }

/* log2 of a positive normal number, absolute error below 2e-7. */
HB_INLINE float hb_log2(float x) {
    union { float value; int32_t bits; } u = {x};
    const int32_t e = (u.bits - 0x3f3504f3) >> 23; /* mantissa from sqrt(1/2) to sqrt(2) */
    u.bits -= e * 0x800000;
    const float t = (u.value - 1.0f) / (u.value + 1.0f), s = t * t;
    return (float)e + t * (2.88539008f + s * (0.961796694f + s * (0.577078016f + s * (0.412198583f + s * 0.32059890f))));
}

/* x to the power y for x > 0. */
HB_INLINE float hb_pow(float x, float y) { return hb_exp2(y * hb_log2(x)); }

HB_INLINE float hb_max(float a, float b) { return a > b ? a : b; }
HB_INLINE float hb_min(float a, float b) { return a < b ? a : b; }

/* `rows` rows of x, packed as [k][rows], times one widened panel [k][HB_PANEL]. */
HB_INLINE void hb_tile(const float *x, const int rows, int k, const float *w, const float *bias, float *y, int columns,
                       int yr, int yc) {
    float sum[4][HB_PANEL];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < HB_PANEL; c++) sum[r][c] = 0.0f;
    for (; k > 0; k--, x += rows, w += HB_PANEL)
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < HB_PANEL; c++) sum[r][c] += x[r] * w[c];
    for (int c = 0; c < columns; c++)
        for (int r = 0; r < rows; r++) y[r * yr + c * yc] = sum[r][c] + (bias ? bias[c] : 0.0f);
}

/* x [rows, k] packed in tiles of 4, 2 and 1 rows, each [k][tile]. */
HB_INLINE void hb_pack(const float *x, int rows, int xr, int k, int xk, float *packed) {
    for (int r = 0, tile; r < rows; r += tile) {
        tile = rows - r >= 4 ? 4 : rows - r >= 2 ? 2 : 1;
        for (int i = 0; i < tile; i++)
            for (int j = 0; j < k; j++) packed[j * tile + i] = x[(r + i) * xr + j * xk];
        packed += k * tile;
    }
}

HB_INLINE void hb_panels(const float *packed, int rows, int k, const float *w, const float *bias, float *y, int columns,
                         int yr, int yc) {
    int r = 0;
    for (; rows - r >= 4; r += 4, packed += 4 * k) hb_tile(packed, 4, k, w, bias, y + r * yr, columns, yr, yc);
    if (rows - r >= 2) {
        hb_tile(packed, 2, k, w, bias, y + r * yr, columns, yr, yc);
        packed += 2 * k;
        r += 2;
    }
    if (rows - r >= 1) hb_tile(packed, 1, k, w, bias, y + r * yr, columns, yr, yc);
}

/* y [rows, n] = x [rows, k] w [k, n] + bias [n] (bias may be NULL). scratch: (rows + HB_PANEL) k floats. */
HB_KERNEL void hb_matmul_half(const float *x, int rows, int xr, int k, int xk, const hb_half *w, const float *bias,
                              float *y, int n, int yr, int yc, float *scratch) {
    float *const wide = scratch + rows * k;
    hb_pack(x, rows, xr, k, xk, scratch);
    for (int c = 0; c < n; c += HB_PANEL, w += HB_PANEL * k) {
        for (int i = 0; i < HB_PANEL * k; i++) wide[i] = hb_widen(w[i]);
        hb_panels(scratch, rows, k, wide, bias ? bias + c : bias, y + c * yc, n - c < HB_PANEL ? n - c : HB_PANEL, yr,
                  yc);
    }
}

/* As hb_matmul_half, with weights of single precision. */
HB_KERNEL void hb_matmul_single(const float *x, int rows, int xr, int k, int xk, const float *w, const float *bias,
                                float *y, int n, int yr, int yc, float *scratch) {
    hb_pack(x, rows, xr, k, xk, scratch);
    for (int c = 0; c < n; c += HB_PANEL, w += HB_PANEL * k)
        hb_panels(scratch, rows, k, w, bias ? bias + c : bias, y + c * yc, n - c < HB_PANEL ? n - c : HB_PANEL, yr, yc);
}

/* y [rows, n] = a [rows, k] b [k, n], neither constant. */
HB_KERNEL void hb_matmul(const float *a, int rows, int ar, int k, int ak, const float *b, int br, int bc, float *y,
                         int n) {
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < n; c++) {
            float sum = 0.0f;
            for (int i = 0; i < k; i++) sum += a[r * ar + i * ak] * b[i * br + c * bc];
            y[r * n + c] = sum;
        }
}

/* Layer norm of each row [n], then a scale and a shift. */
HB_KERNEL void hb_layer_norm(const float *x, int rows, int xr, int n, const float *scale, const float *shift,
                             float epsilon, float *y) {
    for (; rows > 0; rows--, x += xr, y += n) {
        float mean = 0.0f, variance = 0.0f;
        for (int i = 0; i < n; i++) mean += x[i];
        mean /= (float)n;
        for (int i = 0; i < n; i++) variance += (x[i] - mean) * (x[i] - mean);
        const float gain = 1.0f / HB_SQRT(variance / (float)n + epsilon);
        for (int i = 0; i < n; i++) y[i] = (x[i] - mean) * gain * scale[i] + shift[i];
    }
}

HB_KERNEL void hb_softmax(const float *x, int rows, int xr, int n, float *y) {
    for (; rows > 0; rows--, x += xr, y += n) {
        float most = x[0], sum = 0.0f;
        for (int i = 1; i < n; i++) most = hb_max(most, x[i]);
        for (int i = 0; i < n; i++) sum += y[i] = hb_exp(x[i] - most);
        for (int i = 0; i < n; i++) y[i] /= sum;
    }
}

/* Complex z [n][2] to its DFT in place, n a power of two; turns [n / 2][2] are cos and -sin of 2 pi k / n. */
HB_KERNEL void hb_fft(float *z, int n, const float *turns) {
    for (int i = 1, j = 0; i < n; i++) { /* bit reversal */
        int bit = n >> 1;
        for (; j & bit; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i < j) {
            const float re = z[2 * i], im = z[2 * i + 1];
            z[2 * i] = z[2 * j];
            z[2 * i + 1] = z[2 * j + 1];
            z[2 * j] = re;
            z[2 * j + 1] = im;
        }
    }
    for (int half = 1, step = n / 2; half < n; half *= 2, step /= 2)
        for (int k = 0; k < half; k++) {
            const float c = turns[2 * k * step], s = turns[2 * k * step + 1];
            for (int i = k; i < n; i += 2 * half) {
                float *const a = z + 2 * i, *const b = a + 2 * half;
                const float re = b[0] * c - b[1] * s, im = b[0] * s + b[1] * c;
                b[0] = a[0] - re;
                b[1] = a[1] - im;
                a[0] += re;
                a[1] += im;
            }
        }
}

/* Bins 1 to n / 2 of the windowed DFT of two rows x [2, n]: y [2][re/im][n / 2]. One complex transform serves both. */
HB_KERNEL void hb_analyse(const float *x, int xr, int n, const float *window, const float *turns, float *y,
                          float *scratch) {
    for (int i = 0; i < n; i++) {
        scratch[2 * i] = x[i] * window[i];
        scratch[2 * i + 1] = x[xr + i] * window[i];
    }
    hb_fft(scratch, n, turns);
    const int bins = n / 2;
    for (int k = 1; k <= bins; k++) {
        const float *const a = scratch + 2 * k, *const b = scratch + 2 * (n - k);
        y[k - 1] = 0.5f * (a[0] + b[0]);
        y[bins + k - 1] = 0.5f * (a[1] - b[1]);
        y[2 * bins + k - 1] = 0.5f * (a[1] + b[1]);
        y[3 * bins + k - 1] = 0.5f * (b[0] - a[0]);
    }
}

/* The newest `kept` samples of the inverse of hb_analyse, times window [kept]: y [2, kept]. */
HB_KERNEL void hb_synthesise(const float *x, int xr, int n, int kept, const float *window, const float *turns,
                             float *y, float *scratch) {
    const int bins = n / 2;
    scratch[0] = scratch[1] = 0.0f;
    for (int k = 1; k <= bins; k++) { /* conjugated, so that the forward transform inverts */
        const float re0 = x[k - 1], im0 = x[bins + k - 1], re1 = x[xr + k - 1], im1 = x[xr + bins + k - 1];
        float *const a = scratch + 2 * k, *const b = scratch + 2 * (n - k);
        a[0] = re0 - im1;
        a[1] = -(im0 + re1);
        b[0] = re0 + im1;
        b[1] = im0 - re1;
        if (k == bins) {
            a[0] = re0;
            a[1] = -re1;
        }
    }
    hb_fft(scratch, n, turns);
    for (int i = 0; i < kept; i++) {
        y[i] = scratch[2 * (n - kept + i)] * window[i];
        y[kept + i] = -scratch[2 * (n - kept + i) + 1] * window[i];
    }
}

#endif
