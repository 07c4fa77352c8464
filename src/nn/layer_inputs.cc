// Per-layer embeddings (Gemma 4; transformers models/gemma4): beside the residual stream every layer reads a short
// vector of its own for each token, made before the layers run from a second embedding and a projection of the first.
#include "formats/decode.h"
#include "kernels/math.h"
#include "nn/forward_pass.h"

namespace kinglet {

// [token][layer][n] = (norm(projection of the embedding / sqrt(width)) + sqrt(n) * second embedding) / sqrt(2)
void ForwardPass::make_layer_inputs() {
  const SlotWeights& w = model_.weights.model;
  const int64_t n = spec_.layers[0].input_dim, layers = std::ssize(spec_.layers), columns = layers * n;
  constexpr float kHalf = 0.70710678118654752f;
  float* inputs = work_.layer_inputs.as<float>();
  work_.scratch.clear();
  float* embedded = work_.scratch.take(tokens_, columns);
  decode_tokens(*model_.weights.layer_embedding, embedded);
  set_input(residual(), spec_.width);
  linear(compute_, model_.options.compute, w.matrix(Slot::kLayerProjection), work_.input, inputs, columns);
  scale(compute_, inputs, columns, 1.0f / sqrt_f32(static_cast<float>(spec_.width)), tokens_, columns);
  rms_norm(compute_, inputs, n, w.vector(Slot::kLayerProjectionNorm).data(), epsilon(), tokens_ * layers, n, inputs, n);
  residual_mix(compute_, kHalf, inputs, columns, kHalf * sqrt_f32(static_cast<float>(n)), embedded, columns, tokens_,
               columns);
}

void ForwardPass::input_block(size_t layer) {
  const SlotWeights& w = weights(layer);
  const LayerSpec& l = spec_.layers[layer];
  const int64_t n = l.input_dim, columns = std::ssize(spec_.layers) * n;
  work_.scratch.clear();
  float* gate = work_.scratch.take(tokens_, n);
  set_input(residual(), spec_.width);
  product(w.matrix(Slot::kInputGate), gate);
  const float* inputs = work_.layer_inputs.as<float>() + static_cast<int64_t>(layer) * n;
  activate(l.ffn, gate, inputs, columns, tokens_, n);
  set_input(gate, n);
  product(w.matrix(Slot::kInputUp), branch());
  norm(branch(), w.vector(Slot::kPostInputNorm), spec_.width, branch());
  add(compute_, residual(), spec_.width, branch(), spec_.width, tokens_, spec_.width);
}

}  // namespace kinglet
