// The lightning indexer (DeepSeek-V3.2): which positions a token's latent attention reads. Its keys lie behind the
// layer's own in every page; layers without an indexer go by the choice that the last one with one left behind.
#include <algorithm>

#include "kernels/math.h"
#include "nn/forward_pass.h"

namespace kinglet {
namespace {

constexpr float kKeyNormEpsilon = 1e-6f;

}  // namespace

// Fills work_.chosen. The input at hand is the queries' bottleneck.
void ForwardPass::choose_positions(size_t layer) {
  const SlotWeights& w = weights(layer);
  const IndexerSpec& x = spec_.layers[layer].attention.indexer;
  const int64_t q_width = x.heads * x.key_dim;
  float* q = work_.scratch.take(tokens_, q_width);
  float* k = work_.scratch.take(tokens_, x.key_dim);
  float* head_weights = work_.scratch.take(tokens_, x.heads);

  product(w.matrix(Slot::kIndexQ), q);
  set_input(normed(), spec_.width);
  product(w.matrix(Slot::kIndexK), k);
  product(w.matrix(Slot::kIndexWeights), head_weights);
  layer_norm(compute_, k, x.key_dim, w.vector(Slot::kIndexKNorm).data(), w.vector(Slot::kIndexKNormBias).data(),
             kKeyNormEpsilon, tokens_, x.key_dim, k, x.key_dim);
  rotate(layer, q, q_width, x.heads, x.key_dim);
  rotate(layer, k, x.key_dim, 1, x.key_dim);
  scale(compute_, head_weights, x.heads, 1.0f / sqrt_f32(static_cast<float>(q_width)), tokens_, x.heads);

  int64_t end = 0;  // of the positions that the step sees
  for (const StepSlice& slice : slices_) end = std::max(end, slice.first_position + std::ssize(slice.tokens));
  work_.chosen_stride = chosen_words(end);
  locate_pages(model_.index_offsets[layer]);
  const KvLayout& layout = model_.index_layouts[layer];
  kv_store(compute_, layout, work_.sequences, k, x.key_dim, nullptr, 0);
  index_select(compute_, layout, {x.heads, x.top_k}, work_.sequences, q, q_width, head_weights, x.heads,
               work_.chosen.as<uint64_t>(), work_.chosen_stride);
}

}  // namespace kinglet
