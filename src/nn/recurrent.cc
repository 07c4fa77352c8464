// Layers that remember in a matrix a head instead of a cache: gated delta rule (Yang et al. 2024, Gated Delta Networks;
// Qwen3-Next) and lightning attention (MiniMax-01, arXiv 2501.08313). Their state comes with the slice.
#include "kernels/math.h"
#include "nn/forward_pass.h"

namespace kinglet {
namespace {

constexpr float kL2Epsilon = 1e-6f;  // of the norm of q and k, as Qwen3-Next has it

DeltaRuleParams rule_of(const LayerSpec& layer) {
  const RecurrentSpec& r = layer.recurrent;
  DeltaRuleParams p;
  p.key_heads = r.key_heads;
  p.value_heads = r.value_heads;
  p.key_dim = r.key_dim;
  p.value_dim = r.value_dim;
  p.head_map = r.heads_by_modulo ? HeadMap::kModulo : HeadMap::kGrouped;
  p.delta = layer.mixer == Mixer::kGatedDelta;
  return p;
}

CausalConvParams convolution_of(const RecurrentSpec& r) {
  return {2 * r.key_heads * r.key_dim + r.value_heads * r.value_dim, r.conv_kernel, true};
}

// Bytes of the convolution's part of a layer's state, which stands first.
uint64_t convolution_bytes(const RecurrentSpec& r) {
  if (r.conv_kernel == 0) return 0;
  return static_cast<uint64_t>(causal_conv_state_floats(convolution_of(r)) + 15) / 16 * 16 * sizeof(float);
}

}  // namespace

uint64_t recurrent_state_bytes(const LayerSpec& layer) {
  if (!layer.recurs()) return 0;
  return convolution_bytes(layer.recurrent) +
         static_cast<uint64_t>(delta_rule_state_floats(rule_of(layer)) + 15) / 16 * 16 * sizeof(float);
}

std::vector<float> lightning_decay(const LayerSpec& layer) {
  std::vector<float> factors;
  if (layer.mixer != Mixer::kLightning) return factors;
  const int64_t heads = layer.recurrent.value_heads;
  for (int64_t h = 0; h < heads; h++) {
    const double slope = pow_f64(2.0, -8.0 * static_cast<double>(h + 1) / static_cast<double>(heads));
    factors.push_back(static_cast<float>(exp_f64(-slope * layer.recurrent.slope_factor)));
  }
  return factors;
}

// Points work_.states at a part of every sequence's state.
void ForwardPass::locate_states(uint64_t offset) {
  work_.states.clear();
  int64_t token = 0;
  for (const StepSlice& slice : slices_) {
    KL_CHECK(slice.state != nullptr, "a recurrent layer needs the sequence's state");
    const auto count = static_cast<int64_t>(slice.tokens.size());
    work_.states.push_back({token, count, reinterpret_cast<float*>(slice.state + offset)});
    token += count;
  }
}

// q, k and v of the layer, the recurrence over them: results [tokens][values]. `decay` and `beta` as DeltaRuleData
// says.
void ForwardPass::recur(size_t layer, const float* qkv, const float* decay, int64_t ld_decay, const float* beta,
                        float* results) {
  const LayerSpec& l = spec_.layers[layer];
  const RecurrentSpec& r = l.recurrent;
  const int64_t keys = r.key_heads * r.key_dim, values = r.value_heads * r.value_dim, all = 2 * keys + values;
  locate_states(model_.state_offsets[layer] + convolution_bytes(r));
  DeltaRuleData d;
  d.q = qkv;
  d.k = qkv + keys;
  d.v = qkv + 2 * keys;
  d.ldq = d.ldk = d.ldv = all;
  d.decay = decay;
  d.ld_decay = ld_decay;
  d.beta = beta;
  d.ld_beta = r.value_heads;
  d.out = results;
  d.ldo = values;
  delta_rule(compute_, rule_of(l), work_.states, d);
}

void ForwardPass::gated_delta_mixer(size_t layer) {
  const SlotWeights& w = weights(layer);
  const RecurrentSpec& r = spec_.layers[layer].recurrent;
  const int64_t keys = r.key_heads * r.key_dim, values = r.value_heads * r.value_dim, all = 2 * keys + values;
  float* qkv = work_.scratch.take(tokens_, all);
  float* gate = work_.scratch.take(tokens_, values);
  float* beta = work_.scratch.take(tokens_, r.value_heads);
  float* decay = work_.scratch.take(tokens_, r.value_heads);
  float* results = work_.scratch.take(tokens_, values);

  product(w.matrix(Slot::kRecurrentQkv), qkv);
  product(w.matrix(Slot::kRecurrentGate), gate);
  product(w.matrix(Slot::kRecurrentBeta), beta);
  product(w.matrix(Slot::kRecurrentAlpha), decay);
  locate_states(model_.state_offsets[layer]);
  causal_conv(compute_, convolution_of(r), work_.states, w.vector(Slot::kConvolution).data(), nullptr, qkv, all, qkv,
              all);
  const float q_factor = 1.0f / sqrt_f32(static_cast<float>(r.key_dim));
  l2_norm_heads(compute_, qkv, all, kL2Epsilon, q_factor, tokens_, r.key_heads, r.key_dim, qkv, all);
  l2_norm_heads(compute_, qkv + keys, all, kL2Epsilon, 1.0f, tokens_, r.key_heads, r.key_dim, qkv + keys, all);
  sigmoid(compute_, beta, r.value_heads, tokens_, r.value_heads);
  decay_gate(compute_, w.vector(Slot::kDecayRate).data(), w.vector(Slot::kDecayBias).data(), r.value_heads, 1, decay,
             r.value_heads, tokens_, decay, r.value_heads);
  recur(layer, qkv, decay, r.value_heads, beta, results);

  gated_rms_norm_heads(compute_, OutputGate::kSilu, results, values, w.vector(Slot::kRecurrentNorm).data(),
                       static_cast<float>(r.norm_epsilon), gate, values, tokens_, r.value_heads, r.value_dim, results,
                       values);
  set_input(results, values);
  product(w.matrix(Slot::kRecurrentOutput), branch());
}

void ForwardPass::lightning_mixer(size_t layer) {
  const SlotWeights& w = weights(layer);
  const RecurrentSpec& r = spec_.layers[layer].recurrent;
  const int64_t values = r.value_heads * r.value_dim, all = 2 * r.key_heads * r.key_dim + values;
  float* qkv = work_.scratch.take(tokens_, all);
  float* gate = work_.scratch.take(tokens_, values);
  float* results = work_.scratch.take(tokens_, values);

  product(w.matrix(Slot::kRecurrentQkv), qkv);
  product(w.matrix(Slot::kRecurrentGate), gate);
  kinglet::activate(compute_, Activation::kSilu, qkv, all, tokens_, all);
  recur(layer, qkv, model_.lightning_decay[layer].data(), 0, nullptr, results);

  gated_rms_norm_heads(compute_, OutputGate::kSigmoid, results, values, w.vector(Slot::kRecurrentNorm).data(),
                       static_cast<float>(r.norm_epsilon), gate, values, tokens_, 1, values, results, values);
  set_input(results, values);
  product(w.matrix(Slot::kRecurrentOutput), branch());
}

}  // namespace kinglet
