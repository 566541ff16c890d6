// Element-wise work of the extraction network, forward and backward, each in one pass over memory.
//
// On a CPU the matrix products of a small network in bfloat16 take less time than the activations, norms, gates and
// scans between them when each of those is a kernel of its own. Every function here has a reference in plain torch in
// fused.py, and a test holds the two equal.
//
// T is float or bfloat16; arithmetic is float. Tensors are contiguous; the Python side sees to it.

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/utils/pybind.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace {

using at::BFloat16;
using at::Tensor;

inline float load(const float* p) { return *p; }
inline float load(const BFloat16* p) {
  const uint32_t bits = static_cast<uint32_t>(p->x) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline void store(float* p, float value) { *p = value; }
inline void store(BFloat16* p, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  p->x = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);  // round to nearest even
}
inline float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

// p [time, rows, 3C] holds candidate, forget and output gate before their activations.
//   h[t] = f h[t-1] + (1 - f) c,  y[t] = h[t] silu(g)
template <typename T>
void scan_forward(const T* p, const float* initial, float* h, T* y, int64_t time, int64_t rows, int64_t C) {
  for (int64_t t = 0; t < time; ++t) {
    for (int64_t r = 0; r < rows; ++r) {
      const T* c = p + (t * rows + r) * 3 * C;
      const float* last = t ? h + ((t - 1) * rows + r) * C : initial + r * C;
      float* now = h + (t * rows + r) * C;
      T* out = y + (t * rows + r) * C;
#pragma omp simd
      for (int64_t i = 0; i < C; ++i) {
        const float f = sigmoid(load(c + C + i)), g = load(c + 2 * C + i), x = load(c + i);
        const float value = x + f * (last[i] - x);
        now[i] = value;
        store(out + i, value * g * sigmoid(g));
      }
    }
  }
}

// dh [rows, C] arrives as the gradient of the last state and leaves as the gradient of the initial one.
template <typename T>
void scan_backward(const T* p, const float* initial, const float* h, const T* dy, float* dh, T* dp, int64_t time,
                   int64_t rows, int64_t C) {
  for (int64_t t = time - 1; t >= 0; --t) {
    for (int64_t r = 0; r < rows; ++r) {
      const T* c = p + (t * rows + r) * 3 * C;
      T* d = dp + (t * rows + r) * 3 * C;
      const float* last = t ? h + ((t - 1) * rows + r) * C : initial + r * C;
      const float* now = h + (t * rows + r) * C;
      const T* up = dy + (t * rows + r) * C;
      float* carry = dh + r * C;
#pragma omp simd
      for (int64_t i = 0; i < C; ++i) {
        const float f = sigmoid(load(c + C + i)), g = load(c + 2 * C + i), x = load(c + i), u = load(up + i);
        const float s = sigmoid(g), total = carry[i] + u * g * s;
        store(d + i, total * (1.0f - f));
        store(d + C + i, total * (last[i] - x) * f * (1.0f - f));
        store(d + 2 * C + i, u * now[i] * (s + g * s * (1.0f - s)));
        carry[i] = total * f;
      }
    }
  }
}

// Layer norm over C, then a scale and a shift.
template <typename T>
void norm_forward(const float* x, const float* scale, const float* shift, T* y, float* stats, int64_t rows, int64_t C) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * C;
    float sum = 0, square = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < C; ++i) sum += in[i];
    const float mean = sum / C;
#pragma omp simd reduction(+ : square)
    for (int64_t i = 0; i < C; ++i) square += (in[i] - mean) * (in[i] - mean);
    const float inverse = 1.0f / std::sqrt(square / C + 1e-5f);
    stats[2 * r] = mean;
    stats[2 * r + 1] = inverse;
#pragma omp simd
    for (int64_t i = 0; i < C; ++i) store(y + r * C + i, (in[i] - mean) * inverse * scale[i] + shift[i]);
  }
}

template <typename T>
void norm_backward(const float* x, const float* scale, const float* stats, const T* dy, float* dx, float* dscale,
                   float* dshift, int64_t rows, int64_t C) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * C;
    const T* up = dy + r * C;
    const float mean = stats[2 * r], inverse = stats[2 * r + 1];
    float first = 0, second = 0;
#pragma omp simd reduction(+ : first, second)
    for (int64_t i = 0; i < C; ++i) {
      const float u = load(up + i), z = (in[i] - mean) * inverse, g = u * scale[i];
      dscale[i] += u * z;
      dshift[i] += u;
      first += g;
      second += g * z;
    }
    first /= C;
    second /= C;
#pragma omp simd
    for (int64_t i = 0; i < C; ++i) {
      const float z = (in[i] - mean) * inverse;
      dx[r * C + i] = inverse * (load(up + i) * scale[i] - first - z * second);
    }
  }
}

// Mixing across bands. p [rows, bands, 2C] holds value and gate before its activation:
//   y[r, k] = silu(gate[r, k]) sum_j M[k, j] value[r, j], with a matrix M for each group of channels.
// Eight rows and a lane of channels are worked on together, so that a matrix entry that is loaded is used eight times.
// A lane is GCC's vector type: one register of AVX with 8 floats, of AVX-512 with 16; two of NEON or SSE with 8.
using Lane8 = float __attribute__((vector_size(32)));
using Lane16 = float __attribute__((vector_size(64)));
#ifdef __AVX512F__
using Widest = Lane16;
#else
using Widest = Lane8;
#endif

template <typename Lane>
struct Mix {
  static constexpr int64_t ROWS = 8, LANES = sizeof(Lane) / sizeof(float);

  static inline Lane load_lane(const float* p) {
    Lane x;
    std::memcpy(&x, p, sizeof x);
    return x;
  }
  static inline Lane load_lane(const BFloat16* p) {
    float x[LANES];
#pragma omp simd
    for (int64_t i = 0; i < LANES; ++i) x[i] = load(p + i);
    return load_lane(x);
  }
  static inline void store_lane(float* p, const Lane& x) { std::memcpy(p, &x, sizeof x); }
  static inline void store_lane(BFloat16* p, const Lane& lane) {
    float x[LANES];
    store_lane(x, lane);
#pragma omp simd
    for (int64_t i = 0; i < LANES; ++i) store(p + i, x[i]);
  }
  static inline Lane lane_sigmoid(const Lane& lane) {
    float x[LANES];  // the compiler vectorises exp over an array, not over a vector's elements
    store_lane(x, lane);
#pragma omp simd
    for (int64_t i = 0; i < LANES; ++i) x[i] = sigmoid(x[i]);
    return load_lane(x);
  }

  // mixing [groups, bands, bands] -> [C / LANES, bands, bands], transposed if wanted.
  static std::vector<Lane> spread(const float* mixing, int64_t bands, int64_t C, int64_t groups, bool transposed) {
    std::vector<Lane> spread(C / LANES * bands * bands);
    for (int64_t c = 0; c < C; ++c)
      for (int64_t k = 0; k < bands; ++k)
        for (int64_t j = 0; j < bands; ++j)
          spread[((c / LANES) * bands + k) * bands + j][c % LANES] =
              mixing[((c * groups / C) * bands + (transposed ? j : k)) * bands + (transposed ? k : j)];
    return spread;
  }

  // sum[rows] = sum_j matrix[j] x[j, rows]
  static inline void mix_rows(const Lane* matrix, const Lane* x, int64_t bands, Lane* sum) {
    Lane total[ROWS] = {};
    for (int64_t j = 0; j < bands; ++j)
      for (int64_t i = 0; i < ROWS; ++i) total[i] += matrix[j] * x[j * ROWS + i];
    std::memcpy(sum, total, sizeof total);
  }

  template <typename T>
  static void forward(const T* p, const float* mixing, T* mixed, T* y, int64_t rows, int64_t bands, int64_t C,
                   int64_t groups) {
    const std::vector<Lane> M = spread(mixing, bands, C, groups, false);
    std::vector<Lane> value(bands * ROWS);
    Lane sum[ROWS];
    for (int64_t first = 0; first < rows; first += ROWS) {
      const int64_t count = std::min(ROWS, rows - first);
      for (int64_t c = 0; c < C; c += LANES) {
        for (int64_t i = 0; i < count; ++i)
          for (int64_t k = 0; k < bands; ++k)
            value[k * ROWS + i] = load_lane(p + ((first + i) * bands + k) * 2 * C + c);
        for (int64_t k = 0; k < bands; ++k) {
          mix_rows(&M[(c / LANES * bands + k) * bands], value.data(), bands, sum);
          for (int64_t i = 0; i < count; ++i) {
            const int64_t at = (first + i) * bands + k;
            const Lane gate = load_lane(p + at * 2 * C + C + c);
            store_lane(mixed + at * C + c, sum[i]);
            store_lane(y + at * C + c, sum[i] * gate * lane_sigmoid(gate));
          }
        }
      }
    }
  }

  template <typename T>
  static void backward(const T* p, const float* mixing, const T* mixed, const T* dy, T* dp, float* dmixing, int64_t rows,
                    int64_t bands, int64_t C, int64_t groups) {
    const std::vector<Lane> M = spread(mixing, bands, C, groups, true);
    std::vector<Lane> dM(M.size()), value(bands * ROWS), dsum(bands * ROWS);
    Lane sum[ROWS];
    for (int64_t first = 0; first < rows; first += ROWS) {
      const int64_t count = std::min(ROWS, rows - first);
      // Rows that are not there count as zeros.
      std::fill(value.begin(), value.end(), Lane{});
      std::fill(dsum.begin(), dsum.end(), Lane{});
      for (int64_t c = 0; c < C; c += LANES) {
        for (int64_t i = 0; i < count; ++i)
          for (int64_t k = 0; k < bands; ++k) {
            const int64_t at = (first + i) * bands + k;
            const Lane gate = load_lane(p + at * 2 * C + C + c), s = lane_sigmoid(gate);
            const Lane up = load_lane(dy + at * C + c);
            value[k * ROWS + i] = load_lane(p + at * 2 * C + c);
            dsum[k * ROWS + i] = up * gate * s;
            store_lane(dp + at * 2 * C + C + c, up * load_lane(mixed + at * C + c) * (s + gate * s * (1.0f - s)));
          }
        for (int64_t j = 0; j < bands; ++j) {
          mix_rows(&M[(c / LANES * bands + j) * bands], dsum.data(), bands, sum);
          for (int64_t i = 0; i < count; ++i) store_lane(dp + ((first + i) * bands + j) * 2 * C + c, sum[i]);
        }
        for (int64_t k = 0; k < bands; ++k) {
          Lane up[ROWS];
          std::memcpy(up, &dsum[k * ROWS], sizeof up);
          Lane* row = &dM[(c / LANES * bands + k) * bands];
          for (int64_t j = 0; j < bands; ++j) {
            Lane d = row[j];
            for (int64_t i = 0; i < ROWS; ++i) d += up[i] * value[j * ROWS + i];
            row[j] = d;
          }
        }
      }
    }
    for (int64_t c = 0; c < C; ++c)
      for (int64_t k = 0; k < bands; ++k)
        for (int64_t j = 0; j < bands; ++j)
          dmixing[((c * groups / C) * bands + k) * bands + j] += dM[((c / LANES) * bands + k) * bands + j][c % LANES];
  }
};

#define DISPATCH(tensor, ...)                         \
  if ((tensor).scalar_type() == at::kBFloat16) {      \
    using T = BFloat16;                               \
    __VA_ARGS__;                                      \
  } else {                                            \
    using T = float;                                  \
    __VA_ARGS__;                                      \
  }

}  // namespace

std::vector<Tensor> scan_fw(Tensor p, Tensor initial) {
  const int64_t time = p.size(0), C = p.size(-1) / 3, rows = p.numel() / (time * 3 * C);
  auto shape = p.sizes().vec();
  shape.back() = C;
  Tensor h = at::empty(shape, initial.options()), y = at::empty(shape, p.options());
  DISPATCH(p, scan_forward<T>(p.data_ptr<T>(), initial.data_ptr<float>(), h.data_ptr<float>(), y.data_ptr<T>(), time, rows, C))
  return {y, h};
}

std::vector<Tensor> scan_bw(Tensor p, Tensor initial, Tensor h, Tensor dy, Tensor dlast) {
  const int64_t time = p.size(0), C = p.size(-1) / 3, rows = p.numel() / (time * 3 * C);
  Tensor dp = at::empty_like(p), dh = dlast.clone();
  DISPATCH(p, scan_backward<T>(p.data_ptr<T>(), initial.data_ptr<float>(), h.data_ptr<float>(), dy.data_ptr<T>(),
                               dh.data_ptr<float>(), dp.data_ptr<T>(), time, rows, C))
  return {dp, dh};
}

std::vector<Tensor> norm_fw(Tensor x, Tensor scale, Tensor shift, bool half) {
  const int64_t C = x.size(-1), rows = x.numel() / C;
  Tensor y = at::empty(x.sizes(), x.options().dtype(half ? at::kBFloat16 : at::kFloat));
  Tensor stats = at::empty({rows, 2}, x.options());
  DISPATCH(y, norm_forward<T>(x.data_ptr<float>(), scale.data_ptr<float>(), shift.data_ptr<float>(), y.data_ptr<T>(),
                              stats.data_ptr<float>(), rows, C))
  return {y, stats};
}

std::vector<Tensor> norm_bw(Tensor x, Tensor scale, Tensor stats, Tensor dy) {
  const int64_t C = x.size(-1), rows = x.numel() / C;
  Tensor dx = at::empty_like(x), dscale = at::zeros_like(scale), dshift = at::zeros_like(scale);
  DISPATCH(dy, norm_backward<T>(x.data_ptr<float>(), scale.data_ptr<float>(), stats.data_ptr<float>(), dy.data_ptr<T>(),
                                dx.data_ptr<float>(), dscale.data_ptr<float>(), dshift.data_ptr<float>(), rows, C))
  return {dx, dscale, dshift};
}

std::vector<Tensor> mix_fw(Tensor p, Tensor mixing) {
  const int64_t groups = mixing.size(0), bands = p.size(-2), C = p.size(-1) / 2, rows = p.numel() / (bands * 2 * C);
  TORCH_CHECK(C % 8 == 0, "expected a multiple of 8 channels, found ", C);
  auto shape = p.sizes().vec();
  shape.back() = C;
  Tensor mixed = at::empty(shape, p.options()), y = at::empty(shape, p.options());
  DISPATCH(p, const auto mix = C % Mix<Widest>::LANES ? Mix<Lane8>::forward<T> : Mix<Widest>::forward<T>;
           mix(p.data_ptr<T>(), mixing.data_ptr<float>(), mixed.data_ptr<T>(), y.data_ptr<T>(), rows, bands, C, groups))
  return {y, mixed};
}

std::vector<Tensor> mix_bw(Tensor p, Tensor mixing, Tensor mixed, Tensor dy) {
  const int64_t groups = mixing.size(0), bands = p.size(-2), C = p.size(-1) / 2, rows = p.numel() / (bands * 2 * C);
  Tensor dp = at::empty_like(p), dmixing = at::zeros_like(mixing);
  DISPATCH(p, const auto mix = C % Mix<Widest>::LANES ? Mix<Lane8>::backward<T> : Mix<Widest>::backward<T>;
           mix(p.data_ptr<T>(), mixing.data_ptr<float>(), mixed.data_ptr<T>(), dy.data_ptr<T>(), dp.data_ptr<T>(),
               dmixing.data_ptr<float>(), rows, bands, C, groups))
  return {dp, dmixing};
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("scan_fw", &scan_fw);
  m.def("scan_bw", &scan_bw);
  m.def("norm_fw", &norm_fw);
  m.def("norm_bw", &norm_bw);
  m.def("mix_fw", &mix_fw);
  m.def("mix_bw", &mix_bw);
}
