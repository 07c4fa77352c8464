#include "kernels/recurrent_kernels.h"

#include "kernels/math.h"
#include "kernels/ops_recurrent.h"
#include "kernels/ref/ref.h"

namespace kinglet::ref {
namespace {

void causal_conv(const ConvBlock& b) {
  for (int64_t c = 0; c < b.lanes; ++c) {
    float window[kMostConvTaps];  // the taps' inputs, oldest first
    for (int64_t j = 0; j + 1 < b.kernel; ++j) window[j] = b.state[j * b.ld_state + c];
    for (int64_t t = 0; t < b.tokens; ++t) {
      window[b.kernel - 1] = b.x[t * b.ldx + c];
      float sum = b.bias != nullptr ? b.bias[c] : 0.0f;
      for (int64_t j = 0; j < b.kernel; ++j) sum = exact_fma(b.weight[c * b.kernel + j], window[j], sum);
      b.y[t * b.ldy + c] = b.silu ? silu_f32(sum) : sum;
      for (int64_t j = 0; j + 1 < b.kernel; ++j) window[j] = window[j + 1];
    }
    for (int64_t j = 0; j + 1 < b.kernel; ++j) b.state[j * b.ld_state + c] = window[j];
  }
}

// Sum over key channels of s[i] * x[i] for one column of the state: channel i goes to chain i mod 4.
float over_keys(const float* s, const float* x, int64_t n) {
  float chains[4] = {};
  for (int64_t i = 0; i < n; ++i) chains[i % 4] = exact_fma(s[i * kRecurrentLanes], x[i], chains[i % 4]);
  return (chains[0] + chains[2]) + (chains[1] + chains[3]);
}

void delta_rule(const DeltaBlock& b) {
  for (int64_t t = 0; t < b.tokens; ++t) {
    const float *q = b.q + t * b.ldq, *k = b.k + t * b.ldk, *decay = b.decay + t * b.ld_decay;
    for (int64_t c = 0; c < b.lanes; ++c) {
      float* s = b.state + c;
      for (int64_t i = 0; i < b.key_dim; ++i) s[i * kRecurrentLanes] *= decay[b.decay_per_key ? i : 0];
      float added = b.v[t * b.ldv + c];
      if (b.delta) added = b.beta[t * b.ld_beta] * (added - over_keys(s, k, b.key_dim));
      for (int64_t i = 0; i < b.key_dim; ++i) {
        s[i * kRecurrentLanes] = exact_fma(k[i], added, s[i * kRecurrentLanes]);
      }
      b.out[t * b.ldo + c] = over_keys(s, q, b.key_dim);
    }
  }
}

void decay_gate(const float* rate, int64_t rate_step, const float* bias, const float* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = exp_f32(rate[i * rate_step] * softplus_f32(x[i] + bias[i]));
}

void sigmoid(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = sigmoid_f32(x[i]);
}

void l2_norm(const float* x, float eps, float factor, int64_t n, float* y) {
  float lanes[16] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i % 16] = exact_fma(x[i], x[i], lanes[i % 16]);
  const float inverse = 1.0f / sqrt_f32(sum_lanes(lanes) + eps);
  for (int64_t i = 0; i < n; ++i) y[i] = (x[i] * inverse) * factor;
}

void gated_rms_norm(OutputGate act, const float* x, const float* weight, float eps, const float* gate, int64_t n,
                    float* y) {
  rms_norm(x, weight, eps, n, y);
  for (int64_t i = 0; i < n; ++i) y[i] *= act == OutputGate::kSilu ? silu_f32(gate[i]) : sigmoid_f32(gate[i]);
}

constexpr RecurrentKernels kRecurrentKernels = {
    .causal_conv = causal_conv,
    .delta_rule = delta_rule,
    .decay_gate = decay_gate,
    .sigmoid = sigmoid,
    .l2_norm = l2_norm,
    .gated_rms_norm = gated_rms_norm,
};

}  // namespace
}  // namespace kinglet::ref

namespace kinglet {

const RecurrentKernels& ref_recurrent_kernels() {
  return ref::kRecurrentKernels;
}

}  // namespace kinglet
