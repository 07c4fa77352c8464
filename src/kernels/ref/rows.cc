#include <limits>

#include "kernels/math.h"
#include "kernels/ref/ref.h"

namespace kinglet::ref {
namespace {

float activated(Activation act, float x) {
  switch (act) {
    case Activation::kSilu:
      return silu_f32(x);
    case Activation::kGeluTanh:
      return gelu_tanh_f32(x);
    case Activation::kGeluErf:
      return gelu_erf_f32(x);
    case Activation::kSigmoid:
      return 1.0f / (1.0f + exp_f32(-x));
    default:
      break;
  }
  const float positive = x < 0.0f ? 0.0f : x;
  return act == Activation::kReluSquared ? positive * positive : positive;
}

float gated(Activation act, const ActivationParams& params, float gate, float up) {
  if (act != Activation::kClampedSilu && act != Activation::kClampedSwiglu) return activated(act, gate) * up;
  const float g = params.limit < gate ? params.limit : gate;
  const float low = -params.limit > up ? -params.limit : up, u = params.limit < low ? params.limit : low;
  if (act == Activation::kClampedSilu) return silu_f32(g) * u;
  return (g / (1.0f + exp_f32(-(params.alpha * g)))) * (u + 1.0f);
}

}  // namespace

void rms_norm(const float* x, const float* weight, float eps, int64_t n, float* y) {
  float lanes[16] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i % 16] = exact_fma(x[i], x[i], lanes[i % 16]);
  const float mean = sum_lanes(lanes) / static_cast<float>(n);
  const float inverse = 1.0f / sqrt_f32(mean + eps);
  for (int64_t i = 0; i < n; ++i) y[i] = weight == nullptr ? x[i] * inverse : (x[i] * inverse) * weight[i];
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* y) {
  float sums[16] = {}, squares[16] = {};
  for (int64_t i = 0; i < n; ++i) sums[i % 16] += x[i];
  const float mean = sum_lanes(sums) / static_cast<float>(n);
  for (int64_t i = 0; i < n; ++i) squares[i % 16] = exact_fma(x[i] - mean, x[i] - mean, squares[i % 16]);
  const float inverse = 1.0f / sqrt_f32(sum_lanes(squares) / static_cast<float>(n) + eps);
  for (int64_t i = 0; i < n; ++i) {
    float value = (x[i] - mean) * inverse;
    if (weight != nullptr) value *= weight[i];
    y[i] = bias == nullptr ? value : value + bias[i];
  }
}

void add(float* x, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] += y[i];
}

void mix(float alpha, float* x, float beta, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = alpha * x[i] + beta * y[i];
}

void scale(float* x, float factor, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

void soft_cap(float* x, float cap, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = cap * tanh_f32(x[i] / cap);
}

void activate(Activation act, float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = activated(act, x[i]);
}

void gated_activation(Activation act, const ActivationParams& params, float* gate, const float* up, int64_t n) {
  for (int64_t i = 0; i < n; ++i) gate[i] = gated(act, params, gate[i], up[i]);
}

void combine(const float* rows, int64_t ld, const int32_t* row_of, const float* weights, int64_t slots, int64_t n,
             float* out) {
  for (int64_t i = 0; i < n; ++i) {
    float sum = 0.0f;
    for (int64_t s = 0; s < slots; ++s) sum = exact_fma(weights[s], rows[row_of[s] * ld + i], sum);
    out[i] = sum;
  }
}

void rope_half_split(const float* cos, const float* sin, int64_t half, float* x) {
  for (int64_t p = 0; p < half; ++p) {
    const float a = x[p], b = x[p + half];
    x[p] = a * cos[p] - b * sin[p];
    x[p + half] = b * cos[p] + a * sin[p];
  }
}

float row_max(const float* x, int64_t n) {
  float max = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < n; ++i) max = x[i] > max ? x[i] : max;
  return max;
}

float exp_sum(const float* x, float max, int64_t n, float* p) {
  float total[16] = {};
  for (int64_t start = 0; start < n; start += kSumBlock) {
    float lanes[16] = {};
    for (int64_t i = start; i < n && i < start + kSumBlock; ++i) {
      const float e = exp_f32(x[i] - max);
      lanes[i % 16] += e;
      if (p != nullptr) p[i] = e;
    }
    for (int j = 0; j < 16; ++j) total[j] += lanes[j];
  }
  return sum_lanes(total);
}

}  // namespace kinglet::ref

namespace kinglet {

const RowKernels& ref_row_kernels() {
  return ref::kRowKernels;
}

}  // namespace kinglet
