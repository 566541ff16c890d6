/* Kernels that the C of a generated model calls (export/emit_c.py). C99, single precision, no heap, no libm.
 *
 * Matrices are strided: xr and xk are the distances between rows and between columns of x, in floats. Constant matrices
 * are stored as panels of HB_PANEL columns, [panel][row][HB_PANEL], the last panel filled up with zeros, as half (no
 * subnormal numbers, no infinities) or single precision; a panel is widened once and used for all rows of x.
 */
#ifndef HB_NN_H
#define HB_NN_H

#include <stdint.h>
#include <string.h>

#define HB_PANEL 4

#if defined(__GNUC__)
#define HB_INLINE static inline __attribute__((always_inline, unused))
#define HB_KERNEL static __attribute__((noinline, unused))
#define HB_SQRT(x) __builtin_sqrtf(x) /* an instruction, with -fno-math-errno */
#else
#include <math.h>
#define HB_INLINE static inline
#define HB_KERNEL static
#define HB_SQRT(x) sqrtf(x)
#endif

#if defined(__ARM_FEATURE_NUMERIC_MAXMIN)
#define HB_MAX(a, b) __builtin_fmaxf(a, b)
#define HB_MIN(a, b) __builtin_fminf(a, b)
#else
#define HB_MAX(a, b) ((a) > (b) ? (a) : (b))
#define HB_MIN(a, b) ((a) < (b) ? (a) : (b))
#endif

#if defined(__GNUC__) && defined(__thumb2__) && defined(__ARM_FEATURE_FMA) /* Cortex-M4F and later */
#define HB_THUMB_FP
#endif

/* Four lanes of single precision, loaded from single or half precision. */
typedef uint16_t hb_half;
#if (defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2)) || defined(__aarch64__)
#if defined(__aarch64__)
#include <arm_neon.h>
HB_INLINE float32x4_t hb_load_half(const hb_half *w) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(w))); }
#else
#include <arm_mve.h>
HB_INLINE float32x4_t hb_load_half(const hb_half *w) { /* not vcvtb: binutils 2.40 assembles it wrongly */
    /* By hand: the load takes a low register alone, of which gcc 12 knows nothing; another becomes another load. */
    int32x4_t bits;
    __asm("vldrh.s32 %q0, [%1]" : "=w"(bits) : "l"(w), "m"(*(const hb_half(*)[HB_PANEL])w));
    const int32x4_t kept = vandq_s32(vshlq_n_s32(bits, 13), vdupq_n_s32((int32_t)0x8fffe000u));
    return vmulq_n_f32(vreinterpretq_f32_s32(kept), 5.19229686e33f); /* 2^112 mends the exponent */
}
#endif
typedef float32x4_t hb_lanes;
HB_INLINE hb_lanes hb_load(const float *w) { return vld1q_f32(w); }
HB_INLINE hb_lanes hb_fill(float x) { return vdupq_n_f32(x); }
HB_INLINE hb_lanes hb_fma(hb_lanes sum, hb_lanes w, float x) { return vfmaq_n_f32(sum, w, x); }
HB_INLINE void hb_store(float *y, hb_lanes x) { vst1q_f32(y, x); }
#else
typedef struct {
    float lane[HB_PANEL];
} hb_lanes;
HB_INLINE hb_lanes hb_load(const float *w) {
    const hb_lanes x = {{w[0], w[1], w[2], w[3]}};
    return x;
}
HB_INLINE hb_lanes hb_fill(float x) {
    const hb_lanes y = {{x, x, x, x}};
    return y;
}
HB_INLINE hb_lanes hb_fma(hb_lanes sum, hb_lanes w, float x) {
    for (int i = 0; i < HB_PANEL; i++) sum.lane[i] += w.lane[i] * x;
    return sum;
}
HB_INLINE void hb_store(float *y, hb_lanes x) { memcpy(y, x.lane, sizeof x.lane); }
HB_INLINE hb_lanes hb_load_half(const hb_half *w) {
    hb_lanes x;
    for (int i = 0; i < HB_PANEL; i++) {
        const uint32_t sign = w[i] & 0x8000u, magnitude = w[i] & 0x7fffu;
        const union { uint32_t bits; float value; } raw = {sign << 16 | magnitude << 13};
        x.lane[i] = raw.value * 5.19229686e33f; /* 2^112 mends the exponent */
    }
    return x;
}
#endif

HB_INLINE float hb_max(float a, float b) { return HB_MAX(a, b); }
HB_INLINE float hb_min(float a, float b) { return HB_MIN(a, b); }

/* 2^x, relative error below 3e-7; x is clamped to -126..126. */
HB_INLINE float hb_exp2(float x) {
    x = hb_min(hb_max(x, -126.0f), 126.0f);
    const int32_t exponent = (int32_t)(x + 127.5f); /* positive: cutting rounds to the nearest */
    const float f = x - (float)(exponent - 127);    /* -0.5..0.5 */
    const float p = 1.00000012f + f * (0.693146944f + f * (0.240221202f + f * (0.0555071346f
                  + f * (0.00967554003f + f * 0.0013276455f))));
    const union { int32_t bits; float value; } power = {exponent * 0x800000};
    return p * power.value;
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

/* `rows` rows of x, packed as [k][rows], times one panel [k][HB_PANEL] of single or (half not NULL) half precision, plus
 * a bias [HB_PANEL]: rows of y, yr apart. */
#if defined(HB_THUMB_FP) && !defined(__ARM_FEATURE_MVE)
/* By hand: gcc loads word by word, and widens one half at a time. Sums in s0-s15, x in s16-s19, w in s20-s23. */
#define HB_SINGLES "vldmia %[w]!, {s20-s23}\n"
#define HB_HALVES                                                                                                    \
    "vldmia %[w]!, {s22-s23}\n vcvtb.f32.f16 s20, s22\n vcvtt.f32.f16 s21, s22\n vcvtb.f32.f16 s22, s23\n"          \
    "vcvtt.f32.f16 s23, s23\n"
#define HB_ROW(a, b, c, d, x)                                                                                        \
    "vfma.f32 " #a ", " #x ", s20\n vfma.f32 " #b ", " #x ", s21\n vfma.f32 " #c ", " #x ", s22\n vfma.f32 " #d    \
    ", " #x ", s23\n"
#define HB_ROW0 HB_ROW(s0, s1, s2, s3, s16)
#define HB_ROW1 HB_ROW(s4, s5, s6, s7, s17)
#define HB_ROW2 HB_ROW(s8, s9, s10, s11, s18)
#define HB_ROW3 HB_ROW(s12, s13, s14, s15, s19)
#define HB_NEXT "add %[y], %[yr]\n"
#define HB_LOOP(start, load_x, load_w, rows, end)                                                                    \
    __asm volatile(start "1: vldmia %[x]!, {" load_x "}\n" load_w "subs %[k], #1\n" rows "bne 1b\n" end             \
                   : [x] "+r"(x), [w] "+r"(panel), [k] "+r"(k), [y] "+r"(y)                                          \
                   : [bias] "r"(bias), [yr] "r"(yr * (int)sizeof(float))                                             \
                   : "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14",  \
                     "s15", "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23", "cc", "memory")
#define HB_ROWS_1(w) HB_LOOP("vldmia %[bias], {s0-s3}\n", "s16", w, HB_ROW0, "vstmia %[y], {s0-s3}\n")
#define HB_ROWS_2(w)                                                                                                 \
    HB_LOOP("vldmia %[bias], {s0-s3}\n vldmia %[bias], {s4-s7}\n", "s16-s17", w, HB_ROW0 HB_ROW1,                    \
            "vstmia %[y], {s0-s3}\n" HB_NEXT "vstmia %[y], {s4-s7}\n")
#define HB_ROWS_3(w)                                                                                                 \
    HB_LOOP("vldmia %[bias], {s0-s3}\n vldmia %[bias], {s4-s7}\n vldmia %[bias], {s8-s11}\n", "s16-s18", w,         \
            HB_ROW0 HB_ROW1 HB_ROW2,                                                                                 \
            "vstmia %[y], {s0-s3}\n" HB_NEXT "vstmia %[y], {s4-s7}\n" HB_NEXT "vstmia %[y], {s8-s11}\n")
#define HB_ROWS_4(w)                                                                                                 \
    HB_LOOP("vldmia %[bias], {s0-s3}\n vldmia %[bias], {s4-s7}\n vldmia %[bias], {s8-s11}\n"                         \
            "vldmia %[bias], {s12-s15}\n", "s16-s19", w, HB_ROW0 HB_ROW1 HB_ROW2 HB_ROW3,                            \
            "vstmia %[y], {s0-s3}\n" HB_NEXT "vstmia %[y], {s4-s7}\n" HB_NEXT "vstmia %[y], {s8-s11}\n" HB_NEXT       \
            "vstmia %[y], {s12-s15}\n")
HB_INLINE void hb_widen(const hb_half *half, int k, float *y) {
    __asm volatile("1: " HB_HALVES "subs %[k], #1\n vstmia %[y]!, {s20-s23}\n bne 1b\n"
                   : [w] "+r"(half), [k] "+r"(k), [y] "+r"(y)
                   :
                   : "s20", "s21", "s22", "s23", "cc", "memory");
}
HB_INLINE void hb_tile(const float *x, const int rows, int k, const float *w, const hb_half *half, const float *bias,
                       float *y, int yr) {
    const void *panel = half ? (const void *)half : (const void *)w;
    if (rows == 4) {
        if (half) HB_ROWS_4(HB_HALVES);
        else HB_ROWS_4(HB_SINGLES);
    } else if (rows == 3) {
        if (half) HB_ROWS_3(HB_HALVES);
        else HB_ROWS_3(HB_SINGLES);
    } else if (rows == 2) {
        if (half) HB_ROWS_2(HB_HALVES);
        else HB_ROWS_2(HB_SINGLES);
    } else {
        if (half) HB_ROWS_1(HB_HALVES);
        else HB_ROWS_1(HB_SINGLES);
    }
}
#else
HB_INLINE void hb_widen(const hb_half *half, int k, float *y) {
    for (int i = 0; i < k; i++) hb_store(y + i * HB_PANEL, hb_load_half(half + i * HB_PANEL));
}
HB_INLINE void hb_tile(const float *x, const int rows, int k, const float *w, const hb_half *half, const float *bias,
                       float *y, int yr) {
    hb_lanes sum[4];
    for (int r = 0; r < rows; r++) sum[r] = hb_load(bias);
    for (int i = 0; i < k; i++) {
        const hb_lanes v = half ? hb_load_half(half + i * HB_PANEL) : hb_load(w + i * HB_PANEL);
        for (int r = 0; r < rows; r++) sum[r] = hb_fma(sum[r], v, x[i * rows + r]);
    }
    for (int r = 0; r < rows; r++) hb_store(y + r * yr, sum[r]);
}
#endif

/* x [rows, k] packed in tiles of 4 rows, the last of what is left, each [k][tile]. */
HB_INLINE void hb_pack(const float *x, int rows, int xr, int k, int xk, float *packed) {
    for (int r = 0, tile; r < rows; r += tile) {
        tile = rows - r >= 4 ? 4 : rows - r;
        for (int i = 0; i < tile; i++)
            for (int j = 0; j < k; j++) packed[j * tile + i] = x[(r + i) * xr + j * xk];
        packed += k * tile;
    }
}

HB_INLINE void hb_scatter(const float *x, int columns, float *y, int yc) {
    y[0] = x[0];
    if (columns > 1) y[yc] = x[1];
    if (columns > 2) y[2 * yc] = x[2];
    if (columns > 3) y[3 * yc] = x[3];
}

/* All rows of x, packed, times a panel, of single or of half precision, and a bias [HB_PANEL] or NULL. */
HB_INLINE void hb_panel(const float *x, int rows, int k, const float *w, const hb_half *half, const float *bias,
                        float *y, int columns, int yr, int yc) {
    static const float none[HB_PANEL];
    float apart[4 * HB_PANEL];
    const int direct = columns == HB_PANEL && yc == 1;
    bias = bias ? bias : none;
    for (int tile; rows > 0; rows -= tile, x += tile * k, y += tile * yr) {
        float *const to = direct ? y : apart;
        const int step = direct ? yr : HB_PANEL;
        tile = rows >= 4 ? 4 : rows;
        if (tile == 4) hb_tile(x, 4, k, w, half, bias, to, step);
        else if (tile == 3) hb_tile(x, 3, k, w, half, bias, to, step);
        else if (tile == 2) hb_tile(x, 2, k, w, half, bias, to, step);
        else hb_tile(x, 1, k, w, half, bias, to, step);
        if (!direct)
            for (int r = 0; r < tile; r++) hb_scatter(apart + r * HB_PANEL, columns, y + r * yr, yc);
    }
}

/* y [rows, n] = x [rows, k] w [k, n] + bias. bias is filled up to whole panels, or NULL.
 * scratch: (rows + HB_PANEL) k floats. */
HB_KERNEL void hb_matmul_half(const float *x, int rows, int xr, int k, int xk, const hb_half *w, const float *bias,
                              float *y, int n, int yr, int yc, float *scratch) {
    float *const wide = scratch + rows * k;
    hb_pack(x, rows, xr, k, xk, scratch);
    for (int c = 0; c < n; c += HB_PANEL, w += HB_PANEL * k) {
        const int columns = n - c < HB_PANEL ? n - c : HB_PANEL;
        if (rows < 4) {
            hb_panel(scratch, rows, k, wide, w, bias ? bias + c : bias, y + c * yc, columns, yr, yc);
            continue;
        }
        hb_widen(w, k, wide);
        hb_panel(scratch, rows, k, wide, NULL, bias ? bias + c : bias, y + c * yc, columns, yr, yc);
    }
}

/* As hb_matmul_half, with weights of single precision. */
HB_KERNEL void hb_matmul_single(const float *x, int rows, int xr, int k, int xk, const float *w, const float *bias,
                                float *y, int n, int yr, int yc, float *scratch) {
    hb_pack(x, rows, xr, k, xk, scratch);
    for (int c = 0; c < n; c += HB_PANEL, w += HB_PANEL * k)
        hb_panel(scratch, rows, k, w, NULL, bias ? bias + c : bias, y + c * yc, n - c < HB_PANEL ? n - c : HB_PANEL, yr,
                 yc);
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
