// One instruction set's functions for linear-attention layers, each for one unit of work on the calling thread;
// recurrent.cc spreads them over the pool. ref/recurrent.cc holds the plain definitions, simd/recurrent.inc the vector
// forms. Not for use by the forward pass: that is ops_recurrent.h.
#pragma once

#include <cstdint>

namespace kinglet {

enum class OutputGate;

// Value channels (state columns, convolution channels) that one unit of work owns: a lane each.
inline constexpr int64_t kRecurrentLanes = 16;

// Up to 16 channels of a slice's convolution. Pointers are to the first of them.
struct ConvBlock {
  int64_t lanes = 0, tokens = 0, kernel = 0;
  bool silu = false;
  const float* weight = nullptr;  // [lanes][kernel]
  const float* bias = nullptr;    // may be null
  float* state = nullptr;         // [kernel - 1], ld_state apart
  const float* x = nullptr;
  float* y = nullptr;
  int64_t ld_state = 0, ldx = 0, ldy = 0;
};

// Up to 16 value channels of one value head over a slice. Pointers are to the first token's values of the heads; v and
// out to the first of the channels.
struct DeltaBlock {
  int64_t lanes = 0, tokens = 0, key_dim = 0;
  bool decay_per_key = false, delta = false;
  float* state = nullptr;  // [key_dim][16]
  const float *q = nullptr, *k = nullptr, *v = nullptr, *decay = nullptr, *beta = nullptr;
  float* out = nullptr;
  int64_t ldq = 0, ldk = 0, ldv = 0, ld_decay = 0, ld_beta = 0, ldo = 0;
};

struct RecurrentKernels {
  void (*causal_conv)(const ConvBlock& block);
  void (*delta_rule)(const DeltaBlock& block);
  // y[i] = exp(rate[i] * softplus(x[i] + bias[i])); rate_step 0: one rate for all.
  void (*decay_gate)(const float* rate, int64_t rate_step, const float* bias, const float* x, int64_t n, float* y);
  void (*sigmoid)(float* x, int64_t n);
  void (*l2_norm)(const float* x, float eps, float factor, int64_t n, float* y);
  void (*gated_rms_norm)(OutputGate act, const float* x, const float* weight, float eps, const float* gate, int64_t n,
                         float* y);
};

// The plain definitions (ref/).
const RecurrentKernels& ref_recurrent_kernels();

}  // namespace kinglet
