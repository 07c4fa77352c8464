// Layers that remember in a matrix a head instead of a cache: gated delta rule (Yang et al. 2024, Gated Delta Networks;
// Qwen3-Next; with a decay a key channel, Kimi Linear) and lightning attention (MiniMax-01, arXiv 2501.08313). Their
// state comes with the slice.
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
  p.decay_per_key = layer.mixer == Mixer::kKimiDelta;
  p.delta = layer.mixer != Mixer::kLightning;
  return p;
}

// One convolution over q, k and v, or one over each, all as wide as the others (Kimi Linear).
int64_t convolutions(const LayerSpec& layer) {
  if (layer.recurrent.conv_kernel == 0) return 0;
  return layer.mixer == Mixer::kKimiDelta ? 3 : 1;
}
CausalConvParams convolution_of(const LayerSpec& layer) {
  const RecurrentSpec& r = layer.recurrent;
  const int64_t channels = 2 * r.key_heads * r.key_dim + r.value_heads * r.value_dim;
  return {channels / convolutions(layer), r.conv_kernel, true};
}
uint64_t convolution_bytes(const LayerSpec& layer) {
  return static_cast<uint64_t>(causal_conv_state_floats(convolution_of(layer)) + 15) / 16 * 16 * sizeof(float);
}

// Bytes of the convolutions' part of a layer's state, which stands first.
uint64_t convolutions_bytes(const LayerSpec& layer) {
  const int64_t count = convolutions(layer);
  return count == 0 ? 0 : static_cast<uint64_t>(count) * convolution_bytes(layer);
}

}  // namespace

uint64_t recurrent_state_bytes(const LayerSpec& layer) {
  if (layer.mixer == Mixer::kCompressedAttention) return compression_state_bytes(layer);
  if (!layer.recurs()) return 0;
  return convolutions_bytes(layer) +
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

// x = silu(convolution(x)), with part `part` of the layer's convolution state.
void ForwardPass::convolve(size_t layer, int64_t part, Slot taps, float* x, int64_t ld) {
  const LayerSpec& l = spec_.layers[layer];
  locate_states(model_.state_offsets[layer] + static_cast<uint64_t>(part) * convolution_bytes(l));
  causal_conv(compute_, convolution_of(l), work_.states, weights(layer).vector(taps).data(), nullptr, x, ld, x, ld);
}

// q, k and v of the layer, the recurrence over them: results [tokens][values]. `decay` and `beta` as DeltaRuleData
// says.
void ForwardPass::recur(size_t layer, const float* qkv, const float* decay, int64_t ld_decay, const float* beta,
                        float* results) {
  const LayerSpec& l = spec_.layers[layer];
  const RecurrentSpec& r = l.recurrent;
  const int64_t keys = r.key_heads * r.key_dim, values = r.value_heads * r.value_dim, all = 2 * keys + values;
  locate_states(model_.state_offsets[layer] + convolutions_bytes(l));
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
  convolve(layer, 0, Slot::kConvolution, qkv, all);
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

// y = up · down · normed
void ForwardPass::through_bottleneck(const PackedMatrix& down, const PackedMatrix& up, float* y) {
  float* narrow = work_.scratch.take(tokens_, down.rows());
  set_input(normed(), spec_.width);
  product(down, narrow);
  set_input(narrow, down.rows());
  product(up, y);
}

void ForwardPass::kimi_delta_mixer(size_t layer) {
  const SlotWeights& w = weights(layer);
  const RecurrentSpec& r = spec_.layers[layer].recurrent;
  const int64_t heads = r.value_heads, dim = r.value_dim, width = heads * dim, all = 3 * width;
  float* qkv = work_.scratch.take(tokens_, all);
  float* beta = work_.scratch.take(tokens_, heads);
  float* decay = work_.scratch.take(tokens_, width);
  float* gate = work_.scratch.take(tokens_, width);
  float* results = work_.scratch.take(tokens_, width);

  constexpr Slot kProjections[] = {Slot::kDeltaQ, Slot::kDeltaK, Slot::kDeltaV};
  constexpr Slot kConvolutions[] = {Slot::kConvolutionQ, Slot::kConvolutionK, Slot::kConvolutionV};
  for (int i = 0; i < 3; i++) {
    linear(compute_, model_.options.compute, w.matrix(kProjections[i]), work_.input, qkv + i * width, all);
    convolve(layer, i, kConvolutions[i], qkv + i * width, all);
  }
  product(w.matrix(Slot::kRecurrentBeta), beta);
  through_bottleneck(w.matrix(Slot::kDecayDown), w.matrix(Slot::kDecayUp), decay);
  through_bottleneck(w.matrix(Slot::kGateDown), w.matrix(Slot::kGateUp), gate);
  const float q_factor = 1.0f / sqrt_f32(static_cast<float>(dim));
  l2_norm_heads(compute_, qkv, all, kL2Epsilon, q_factor, tokens_, heads, dim, qkv, all);
  l2_norm_heads(compute_, qkv + width, all, kL2Epsilon, 1.0f, tokens_, heads, dim, qkv + width, all);
  sigmoid(compute_, beta, heads, tokens_, heads);
  decay_gate(compute_, w.vector(Slot::kDecayRate).data(), w.vector(Slot::kDecayBias).data(), heads, dim, decay, width,
             tokens_, decay, width);
  recur(layer, qkv, decay, width, beta, results);

  gated_rms_norm_heads(compute_, OutputGate::kSigmoid, results, width, w.vector(Slot::kRecurrentNorm).data(),
                       static_cast<float>(r.norm_epsilon), gate, width, tokens_, heads, dim, results, width);
  set_input(results, width);
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
