// The operations of linear-attention layers: causal convolution, the (gated) delta rule and its gates. Like those of
// ops.h: one meaning, the plain definition in ref/recurrent.cc, in words in docs/numerics-rows.md.
//
// A layer's memory is a state per sequence instead of keys and values per token: float32, owned by the caller, aligned
// to 64 bytes, all zeros before a sequence's first token. Tokens are processed one after the other, in prompts as in
// decoding, so that the bits do not depend on how a text was cut.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/ops.h"

namespace kinglet {

// One sequence's share of a batch: tokens [first_token, first_token + tokens) of the batch follow those that `state`
// has seen. Different slices have different states.
struct RecurrentSlice {
  int64_t first_token = 0, tokens = 0;
  float* state = nullptr;
};

// ---- causal convolution

inline constexpr int64_t kMostConvTaps = 8;

struct CausalConvParams {
  int64_t channels = 0;
  int64_t kernel = 0;  // taps, 2 to kMostConvTaps
  bool silu = false;   // of the result
};
// The state is the last kernel - 1 inputs, oldest first: [kernel - 1][channels].
int64_t causal_conv_state_floats(const CausalConvParams& params);

// y[t][c] = bias[c] + sum over j of weight[c][j] * x[t - (kernel - 1) + j][c], per channel; weight is
// [channels][kernel], bias may be null. y may be x.
void causal_conv(const Compute& compute, const CausalConvParams& params, std::span<const RecurrentSlice> slices,
                 const float* weight, const float* bias, const float* x, int64_t ldx, float* y, int64_t ldy);

// ---- the delta rule

// Which key head value head i reads: i * key_heads / value_heads, or i % key_heads.
enum class HeadMap { kGrouped, kModulo };

struct DeltaRuleParams {
  int64_t key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0;
  HeadMap head_map = HeadMap::kGrouped;
  bool decay_per_key = false;  // a factor per key channel instead of one per value head
  bool delta = true;           // false: v is added as it is (lightning attention), beta is not read
};
// The state of a value head is S [key_dim][value_dim], kept in blocks of 16 value channels (the last one padded):
// [value_heads][ceil(value_dim / 16)][key_dim][16].
int64_t delta_rule_state_floats(const DeltaRuleParams& params);

// What delta_rule reads and writes; ld is floats from token to token.
struct DeltaRuleData {
  const float* q = nullptr;      // [key_heads][key_dim], normalised and scaled by the caller (l2_norm_heads)
  const float* k = nullptr;      // [key_heads][key_dim]
  const float* v = nullptr;      // [value_heads][value_dim]
  const float* decay = nullptr;  // factors: [value_heads], or [value_heads][key_dim]
  const float* beta = nullptr;   // [value_heads]
  float* out = nullptr;          // [value_heads][value_dim]; may not overlap the inputs
  int64_t ldq = 0, ldk = 0, ldv = 0, ldo = 0;
  int64_t ld_decay = 0;  // 0: the same factors for all tokens
  int64_t ld_beta = 0;
};
// For each token and value head: S = decay * S (rows of S by key channel); with `delta` S += k (beta (v - S^T k))^T,
// else S += k v^T; out = S^T q. (Yang et al. 2024, Gated Delta Networks; Kimi Linear 2025 for decay_per_key.)
void delta_rule(const Compute& compute, const DeltaRuleParams& params, std::span<const RecurrentSlice> slices,
                const DeltaRuleData& data);

// ---- gates and norms

// rate[i] = -exp(a_log[i]): Hugging Face files store A_log, GGUF files the rate itself.
void decay_rates(const float* a_log, int64_t n, float* rate);

// The factors of delta_rule: y[t][h][c] = exp(rate[h] * softplus(x[t][h][c] + dt_bias[h][c])). channels is 1
// (Qwen3-Next) or key_dim (Kimi Linear). y may be x.
void decay_gate(const Compute& compute, const float* rate, const float* dt_bias, int64_t heads, int64_t channels,
                const float* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy);

// x[t][i] = 1 / (1 + exp(-x[t][i])).
void sigmoid(const Compute& compute, float* x, int64_t ld, int64_t tokens, int64_t n);

// Each head of each token: y = x / sqrt(sum(x^2) + eps) * factor. y may be x.
void l2_norm_heads(const Compute& compute, const float* x, int64_t ldx, float eps, float factor, int64_t tokens,
                   int64_t heads, int64_t head_dim, float* y, int64_t ldy);

enum class OutputGate { kSilu, kSigmoid };
// Each head of each token: y = x / sqrt(mean(x^2) + eps) * weight[head_dim] * act(gate). y may be x. Silu is
// Qwen3-Next's, sigmoid Kimi Linear's; MiniMax lightning attention norms all heads as one.
void gated_rms_norm_heads(const Compute& compute, OutputGate act, const float* x, int64_t ldx, const float* weight,
                          float eps, const float* gate, int64_t ldg, int64_t tokens, int64_t heads, int64_t head_dim,
                          float* y, int64_t ldy);

}  // namespace kinglet
