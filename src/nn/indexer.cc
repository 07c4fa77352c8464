// The lightning indexer: which positions a token's attention reads. Its keys lie behind the layer's own in every page;
// layers without an indexer go by the choice that the last one with one left behind. Sources: DeepSeek-V3.2 and
// transformers models/deepseek_v32; for blocks MiniMax-M3, transformers models/minimax_m3_vl.
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
  store_index_keys(layer, k);
  index_select(compute_, model_.index_layouts[layer], {x.heads, x.top_k}, work_.sequences, q, q_width, head_weights,
               x.heads, work_.chosen.as<uint64_t>(), work_.chosen_words);
}

// The same with a row of bits for each kv head. The input at hand is the normed residual stream.
void ForwardPass::choose_blocks(size_t layer) {
  const SlotWeights& w = weights(layer);
  const IndexerSpec& x = spec_.layers[layer].attention.indexer;
  const int64_t q_width = x.heads * x.key_dim;
  float* q = work_.scratch.take(tokens_, q_width);
  float* k = work_.scratch.take(tokens_, x.key_dim);

  product(w.matrix(Slot::kIndexQ), q);
  product(w.matrix(Slot::kIndexK), k);
  norm_heads(q, w.vector(Slot::kIndexQNorm), x.heads, x.key_dim);
  norm_heads(k, w.vector(Slot::kIndexKNorm), 1, x.key_dim);
  rotate(layer, q, q_width, x.heads, x.key_dim);
  rotate(layer, k, x.key_dim, 1, x.key_dim);
  store_index_keys(layer, k);
  index_select_blocks(compute_, model_.index_layouts[layer], {x.heads, x.top_k, x.block, x.local_blocks},
                      work_.sequences, q, q_width, work_.chosen.as<uint64_t>(), work_.chosen_words);
}

// Leaves work_.sequences at the indexer's part of the pages, and work_.chosen_words for what the step sees.
void ForwardPass::store_index_keys(size_t layer, const float* k) {
  int64_t end = 0;
  for (const StepSlice& slice : slices_) end = std::max(end, slice.first_position + std::ssize(slice.tokens));
  work_.chosen_words = words_of_bits(end);
  locate_pages(model_.index_offsets[layer]);
  const KvLayout& layout = model_.index_layouts[layer];
  kv_store(compute_, layout, work_.sequences, k, layout.head_dim, nullptr, 0);
}

void ForwardPass::read_chosen(const IndexerSpec& indexer, AttentionParams& params) {
  if (indexer.heads == 0) return;
  const bool by_head = indexer.block > 0;
  params.selected = work_.chosen.as<uint64_t>();
  params.selected_stride = work_.chosen_words * (by_head ? indexer.heads : 1);
  params.selected_head_stride = by_head ? work_.chosen_words : 0;
}

}  // namespace kinglet
