// Linear-attention layers on the pool. A unit of work is 16 channels of one sequence (and head) over all of its tokens:
// the channels' state stays with one worker, and the order of operations is that of a scalar loop over tokens.
#include <algorithm>

#include "base/check.h"
#include "kernels/math.h"
#include "kernels/ops_recurrent.h"
#include "kernels/table.h"

namespace kinglet {
namespace {

// Multiply-adds worth waking another worker for.
constexpr int64_t kGrainWork = 32768;

int64_t blocks_of(int64_t channels) {
  return (channels + kRecurrentLanes - 1) / kRecurrentLanes;
}

int64_t total_tokens(std::span<const RecurrentSlice> slices) {
  int64_t tokens = 0;
  for (const RecurrentSlice& slice : slices) {
    KL_CHECK(slice.tokens >= 0 && slice.first_token >= 0 && slice.state != nullptr, "a malformed slice");
    tokens += slice.tokens;
  }
  return tokens;
}

// body(slice, unit) for each slice and each of `units`, which take about `work` multiply-adds a token.
template <class Body>
void for_units(const Compute& compute, std::span<const RecurrentSlice> slices, int64_t units, int64_t work,
               const Body& body) {
  const int64_t tokens = total_tokens(slices);
  if (tokens == 0) return;
  const int64_t items = static_cast<int64_t>(slices.size()) * units;
  const int64_t mean_work = std::max<int64_t>(1, tokens * work / static_cast<int64_t>(slices.size()));
  compute.pool->parallel_for(items, std::max<int64_t>(1, kGrainWork / mean_work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(slices[static_cast<size_t>(i / units)], i % units);
  });
}

// body(token, head) with about `head_dim` elements of work each.
template <class Body>
void for_heads(const Compute& compute, int64_t tokens, int64_t heads, int64_t head_dim, const Body& body) {
  if (tokens <= 0 || heads <= 0 || head_dim <= 0) return;
  const int64_t grain = std::max<int64_t>(1, kGrainWork / 2 / head_dim);
  compute.pool->parallel_for(tokens * heads, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i / heads, i % heads);
  });
}

}  // namespace

int64_t causal_conv_state_floats(const CausalConvParams& params) {
  return (params.kernel - 1) * params.channels;
}

void causal_conv(const Compute& compute, const CausalConvParams& params, std::span<const RecurrentSlice> slices,
                 const float* weight, const float* bias, const float* x, int64_t ldx, float* y, int64_t ldy) {
  KL_CHECK(params.kernel >= 2 && params.kernel <= kMostConvTaps && params.channels > 0, "a convolution of 2 to 8 taps");
  const RecurrentKernels& kernels = compute.kernels->recurrent;
  const auto run = [&](const RecurrentSlice& slice, int64_t block) {
    const int64_t c = block * kRecurrentLanes;
    kernels.causal_conv({.lanes = std::min(kRecurrentLanes, params.channels - c),
                         .tokens = slice.tokens,
                         .kernel = params.kernel,
                         .silu = params.silu,
                         .weight = weight + c * params.kernel,
                         .bias = bias != nullptr ? bias + c : nullptr,
                         .state = slice.state + c,
                         .x = x + slice.first_token * ldx + c,
                         .y = y + slice.first_token * ldy + c,
                         .ld_state = params.channels,
                         .ldx = ldx,
                         .ldy = ldy});
  };
  for_units(compute, slices, blocks_of(params.channels), kRecurrentLanes * params.kernel, run);
}

int64_t delta_rule_state_floats(const DeltaRuleParams& params) {
  return params.value_heads * blocks_of(params.value_dim) * params.key_dim * kRecurrentLanes;
}

void delta_rule(const Compute& compute, const DeltaRuleParams& params, std::span<const RecurrentSlice> slices,
                const DeltaRuleData& data) {
  KL_CHECK(params.key_heads > 0 && params.value_heads > 0 && params.value_heads % params.key_heads == 0,
           "value heads must share key heads evenly");
  KL_CHECK(params.key_dim > 0 && params.value_dim > 0, "heads without dimensions");
  const RecurrentKernels& kernels = compute.kernels->recurrent;
  const int64_t blocks = blocks_of(params.value_dim), block_floats = params.key_dim * kRecurrentLanes;
  const auto run = [&](const RecurrentSlice& slice, int64_t unit) {
    const int64_t head = unit / blocks, c = unit % blocks * kRecurrentLanes, t = slice.first_token;
    const int64_t key_head =
        params.head_map == HeadMap::kModulo ? head % params.key_heads : head / (params.value_heads / params.key_heads);
    kernels.delta_rule({.lanes = std::min(kRecurrentLanes, params.value_dim - c),
                        .tokens = slice.tokens,
                        .key_dim = params.key_dim,
                        .decay_per_key = params.decay_per_key,
                        .delta = params.delta,
                        .state = slice.state + unit * block_floats,
                        .q = data.q + t * data.ldq + key_head * params.key_dim,
                        .k = data.k + t * data.ldk + key_head * params.key_dim,
                        .v = data.v + t * data.ldv + head * params.value_dim + c,
                        .decay = data.decay + t * data.ld_decay + head * (params.decay_per_key ? params.key_dim : 1),
                        .beta = params.delta ? data.beta + t * data.ld_beta + head : nullptr,
                        .out = data.out + t * data.ldo + head * params.value_dim + c,
                        .ldq = data.ldq,
                        .ldk = data.ldk,
                        .ldv = data.ldv,
                        .ld_decay = data.ld_decay,
                        .ld_beta = data.ld_beta,
                        .ldo = data.ldo});
  };
  for_units(compute, slices, params.value_heads * blocks, 4 * block_floats, run);
}

void decay_rates(const float* a_log, int64_t n, float* rate) {
  for (int64_t i = 0; i < n; ++i) rate[i] = -exp_f32(a_log[i]);
}

void decay_gate(const Compute& compute, const float* rate, const float* dt_bias, int64_t heads, int64_t channels,
                const float* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy) {
  const RecurrentKernels& kernels = compute.kernels->recurrent;
  // Single channels: all heads of a token as one row.
  const int64_t rows = channels == 1 ? 1 : heads, n = channels == 1 ? heads : channels, step = channels == 1 ? 1 : 0;
  for_heads(compute, tokens, rows, n, [&](int64_t t, int64_t row) {
    kernels.decay_gate(rate + row, step, dt_bias + row * n, x + t * ldx + row * n, n, y + t * ldy + row * n);
  });
}

void sigmoid(const Compute& compute, float* x, int64_t ld, int64_t tokens, int64_t n) {
  const RecurrentKernels& kernels = compute.kernels->recurrent;
  for_heads(compute, tokens, 1, n, [&](int64_t t, int64_t) { kernels.sigmoid(x + t * ld, n); });
}

void l2_norm_heads(const Compute& compute, const float* x, int64_t ldx, float eps, float factor, int64_t tokens,
                   int64_t heads, int64_t head_dim, float* y, int64_t ldy) {
  const RecurrentKernels& kernels = compute.kernels->recurrent;
  for_heads(compute, tokens, heads, head_dim, [&](int64_t t, int64_t h) {
    const int64_t i = h * head_dim;
    kernels.l2_norm(x + t * ldx + i, eps, factor, head_dim, y + t * ldy + i);
  });
}

void gated_rms_norm_heads(const Compute& compute, OutputGate act, const float* x, int64_t ldx, const float* weight,
                          float eps, const float* gate, int64_t ldg, int64_t tokens, int64_t heads, int64_t head_dim,
                          float* y, int64_t ldy) {
  const RecurrentKernels& kernels = compute.kernels->recurrent;
  for_heads(compute, tokens, heads, head_dim, [&](int64_t t, int64_t h) {
    const int64_t i = h * head_dim;
    kernels.gated_rms_norm(act, x + t * ldx + i, weight, eps, gate + t * ldg + i, head_dim, y + t * ldy + i);
  });
}

}  // namespace kinglet
