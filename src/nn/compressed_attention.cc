// Compressed attention (DeepSeek-V4; transformers models/deepseek_v4). One key/value head, whose keys are its values,
// for a window of tokens; and for all tokens behind a token entries that stand for blocks of them, in some layers those
// alone that an indexer chooses. The last dimensions of keys, and so of values, are rotated: a result is rotated back
// by its token's position. The running mixtures of blocks that have not ended are the sequence's state.
#include <algorithm>

#include "kernels/math.h"
#include "nn/forward_pass.h"
#include "nn/rope.h"

namespace kinglet {
namespace {

uint64_t pool_bytes(const PoolParams& pool) {
  return static_cast<uint64_t>(pool_state_floats(pool) + 15) / 16 * 16 * sizeof(float);
}

// As entry_pages() has them.
KvLayout readable(const EntryLayout& layout) {
  return layout.in_order() ? layout.keys : gathered_layout(layout);
}

constexpr Slot kEntrySlots[4] = {Slot::kCompressValue, Slot::kCompressGate, Slot::kCompressBias, Slot::kCompressNorm};
constexpr Slot kIndexSlots[4] = {Slot::kIndexCompressValue, Slot::kIndexCompressGate, Slot::kIndexCompressBias,
                                 Slot::kIndexCompressNorm};

}  // namespace

PoolParams pool_of(const AttentionSpec& a) {
  return {a.head_dim, a.compression.ratio, a.compression.overlaps};
}

PoolParams index_pool_of(const AttentionSpec& a) {
  return {a.indexer.key_dim, a.compression.ratio, a.compression.overlaps};
}

uint64_t compression_state_bytes(const LayerSpec& layer) {
  const AttentionSpec& a = layer.attention;
  if (a.compression.ratio == 0) return 0;
  return pool_bytes(pool_of(a)) + (a.indexer.chooses() ? pool_bytes(index_pool_of(a)) : 0);
}

void ForwardPass::compressed_attention_mixer(size_t layer) {
  const SlotWeights& w = weights(layer);
  const AttentionSpec& a = spec_.layers[layer].attention;
  const CompressionSpec& c = a.compression;
  const int64_t width = a.heads * a.head_dim, grouped_width = c.output_groups * c.output_rank;
  float* q = work_.scratch.take(tokens_, width);
  float* kv = work_.scratch.take(tokens_, a.head_dim);
  float* index_q = a.indexer.chooses() ? work_.scratch.take(tokens_, a.indexer.heads * a.indexer.key_dim) : nullptr;
  float* index_weights = a.indexer.chooses() ? work_.scratch.take(tokens_, a.indexer.heads) : nullptr;
  float* attended = work_.scratch.take(tokens_, width);
  float* grouped = work_.scratch.take(tokens_, grouped_width);

  latent_queries(layer, q);
  rms_norm(compute_, q, a.head_dim, nullptr, epsilon(), tokens_ * a.heads, a.head_dim, q, a.head_dim);
  rotate_last(layer, Rotation::kForward, q, width, a.heads, a.head_dim);
  if (index_q != nullptr) {
    product(w.matrix(Slot::kIndexQ), index_q);  // the input is the queries' bottleneck
    rotate_last(layer, Rotation::kForward, index_q, a.indexer.heads * a.indexer.key_dim, a.indexer.heads,
                a.indexer.key_dim);
  }
  set_input(normed(), spec_.width);
  product(w.matrix(Slot::kK), kv);
  norm(kv, w.vector(Slot::kKNorm), a.head_dim, kv);
  rotate_last(layer, Rotation::kForward, kv, a.head_dim, 1, a.head_dim);
  if (index_weights != nullptr) {
    product(w.matrix(Slot::kIndexWeights), index_weights);
    const float factor = 1.0f / sqrt_f32(static_cast<float>(a.indexer.heads * a.indexer.key_dim));
    scale(compute_, index_weights, a.indexer.heads, factor, tokens_, a.indexer.heads);
  }
  if (c.ratio > 0) make_entries(layer);
  locate_pages(model_.kv_offsets[layer]);
  kv_store(compute_, model_.kv_layouts[layer], work_.sequences, kv, a.head_dim, nullptr, 0);

  // Copies of entries are made for one sequence at a time.
  const EntryLayout& entries = model_.entry_layouts[layer];
  const size_t step = c.ratio == 0 || entries.in_order() ? slices_.size() : 1;
  for (size_t first = 0; first < slices_.size(); first += step)
    attend_with_entries(layer, first, step, q, index_q, index_weights, attended);
  rotate_last(layer, Rotation::kBack, attended, width, a.heads, a.head_dim);

  const int64_t group = width / c.output_groups;
  per_head_products(w.stack(Slot::kOutputDown), attended, width, group, grouped, grouped_width, c.output_rank);
  set_input(grouped, grouped_width);
  product(w.matrix(Slot::kAttentionOutput), branch());
}

void ForwardPass::rotate_last(size_t layer, Rotation rotation, float* x, int64_t ld, int64_t heads, int64_t head_dim) {
  const int rope = model_.rope_of_layer[layer];
  if (rope < 0) return;
  const RopeTable& table = model_.rope_tables[static_cast<size_t>(rope)];
  rope_pairs(compute_, table, work_.positions.data(), rotation, x + head_dim - table.rotated, ld, tokens_, heads,
             head_dim);
}

// ---- entries

// Those of the blocks that end in this step, into their pages. The input is the normed residual stream.
void ForwardPass::make_entries(size_t layer) {
  const AttentionSpec& a = spec_.layers[layer].attention;
  const EntryLayout& entries = model_.entry_layouts[layer];
  work_.entry_positions.clear();
  for (const StepSlice& slice : slices_) {
    const int64_t first = slice.first_position / entries.ratio;
    const int64_t count = entries_between(entries.ratio, slice.first_position, std::ssize(slice.tokens));
    for (int64_t i = first; i < first + count; i++)
      work_.entry_positions.push_back(static_cast<int32_t>(i * entries.ratio));
  }
  const PoolParams pool = pool_of(a);
  const uint64_t state = model_.state_offsets[layer];
  pool_entries(layer, pool, state, model_.entry_offsets[layer], entries, kEntrySlots);
  if (!a.indexer.chooses()) return;
  const EntryLayout index = {model_.index_layouts[layer], entries.ratio, entries.page_positions};
  pool_entries(layer, index_pool_of(a), state + pool_bytes(pool), model_.index_offsets[layer], index, kIndexSlots);
}

// `slots`: values, gates, their bias, and the norm over entries, which are rotated by their blocks' first positions.
void ForwardPass::pool_entries(size_t layer, const PoolParams& pool, uint64_t state, uint64_t offset,
                               const EntryLayout& layout, const Slot (&slots)[4]) {
  const SlotWeights& w = weights(layer);
  float* values = work_.scratch.take(tokens_, pool.columns());
  float* gates = work_.scratch.take(tokens_, pool.columns());
  float* entries = work_.scratch.take(std::ssize(work_.entry_positions), pool.dim);
  product(w.matrix(slots[0]), values);
  product(w.matrix(slots[1]), gates);
  locate_pages(offset);
  locate_states(state);
  work_.compressed.clear();
  for (size_t i = 0; i < slices_.size(); i++) {
    const SequenceSlice& s = work_.sequences[i];
    work_.compressed.push_back({s.first_token, s.tokens, s.first_position, work_.states[i].state, s.pages});
  }
  const int64_t count =
      pool_tokens(compute_, pool, work_.compressed, values, gates, pool.columns(), w.vector(slots[2]).data(), entries);
  if (count == 0) return;
  rms_norm(compute_, entries, pool.dim, w.vector(slots[3]).data(), epsilon(), count, pool.dim, entries, pool.dim);
  if (const int rope = model_.rope_of_layer[layer]; rope >= 0) {
    const RopeTable& table = model_.rope_tables[static_cast<size_t>(rope)];
    rope_pairs(compute_, table, work_.entry_positions.data(), Rotation::kForward, entries + pool.dim - table.rotated,
               pool.dim, count, 1, pool.dim);
  }
  store_entries(compute_, layout, work_.compressed, entries);
}

// The pages that attention reads entries from, a list for each of some slices: their own, or a copy of one slice's in
// order.
std::span<std::byte* const* const> ForwardPass::entry_pages(const EntryLayout& layout, uint64_t offset, size_t first,
                                                            size_t count, AlignedBuffer& copies) {
  work_.entry_pages.clear();
  work_.entry_lists.clear();
  for (size_t i = 0; i < count; i++)
    for (std::byte* page : slices_[first + i].pages) work_.entry_pages.push_back(page + offset);
  if (!layout.in_order()) {
    const StepSlice& slice = slices_[first];
    const int64_t entries = (slice.first_position + std::ssize(slice.tokens)) / layout.ratio;
    gather_entries(compute_, layout, work_.entry_pages.data(), entries, copies.data());
    const auto stride = static_cast<int64_t>(gathered_bytes(layout, 1));
    work_.entry_pages.clear();
    for (int64_t at = 0; at < static_cast<int64_t>(gathered_bytes(layout, entries)); at += stride)
      work_.entry_pages.push_back(copies.data() + at);
    work_.entry_lists.push_back(work_.entry_pages.data());
    return work_.entry_lists;
  }
  std::byte* const* at = work_.entry_pages.data();
  for (size_t i = 0; i < count; i++) {
    work_.entry_lists.push_back(at);
    at += slices_[first + i].pages.size();
  }
  return work_.entry_lists;
}

// ---- reading

// Fills work_.chosen for some slices.
void ForwardPass::choose_entries(size_t layer, size_t first, size_t count, const float* q, const float* head_weights) {
  const IndexerSpec& x = spec_.layers[layer].attention.indexer;
  const EntryLayout& entries = model_.entry_layouts[layer];
  const EntryLayout index = {model_.index_layouts[layer], entries.ratio, entries.page_positions};
  int64_t end = 0;
  for (const StepSlice& slice : slices_) end = std::max(end, slice.first_position + std::ssize(slice.tokens));
  work_.chosen_words = words_of_bits(end);
  const auto pages = entry_pages(index, model_.index_offsets[layer], first, count, work_.index_entries);
  work_.index_slices.assign(work_.sequences.begin() + static_cast<std::ptrdiff_t>(first),
                            work_.sequences.begin() + static_cast<std::ptrdiff_t>(first + count));
  for (size_t i = 0; i < count; i++) work_.index_slices[i].pages = pages[i];
  index_select_entries(compute_, readable(index), {x.heads, x.top_k}, entries.ratio, work_.index_slices, q,
                       x.heads * x.key_dim, head_weights, x.heads, work_.chosen.as<uint64_t>(), work_.chosen_words);
}

void ForwardPass::attend_with_entries(size_t layer, size_t first, size_t count, const float* q, const float* index_q,
                                      const float* index_weights, float* attended) {
  const AttentionSpec& a = spec_.layers[layer].attention;
  const int64_t width = a.heads * a.head_dim;
  AttentionParams params;
  params.heads = a.heads;
  params.scale = attention_scale(a);
  params.window = a.window;
  params.sinks = weights(layer).vector(Slot::kSinks).data();
  const auto slices = std::span(work_.sequences).subspan(first, count);
  const KvLayout& text = model_.kv_layouts[layer];
  const EntryLayout& layout = model_.entry_layouts[layer];
  if (layout.ratio == 0) return attention(compute_, text, params, slices, q, width, attended, width);
  if (index_q != nullptr) {
    choose_entries(layer, first, count, index_q, index_weights);
    read_chosen(a.indexer, params);
  }
  BlockKeys blocks;
  blocks.layout = readable(layout);
  blocks.ratio = layout.ratio;
  blocks.pages = entry_pages(layout, model_.entry_offsets[layer], first, count, work_.entries);
  attention_with_blocks(compute_, text, params, blocks, slices, q, width, attended, width);
}

}  // namespace kinglet
