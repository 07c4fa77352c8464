// How files hold the weights of a slot: rows of fused tensors, rotary pairs in another order, transposed stacks.
#include <numeric>

#include "base/check.h"
#include "families/slots.h"

namespace kinglet {
namespace {

using Rows = std::vector<int32_t>;

// Row of a file for each row of heads whose rotated dimensions [first, first + rotated) stand as interleaved pairs:
// half-split row (s, p) is interleaved row 2p + s.
Rows half_split_rows(int64_t heads, int64_t head_dim, int64_t first, int64_t rotated) {
  Rows order(static_cast<size_t>(heads * head_dim));
  std::iota(order.begin(), order.end(), 0);
  const int64_t half = rotated / 2;
  for (int64_t h = 0; h < heads; h++)
    for (int64_t p = 0; p < half; p++) {
      const int64_t at = h * head_dim + first;
      order[static_cast<size_t>(at + p)] = static_cast<int32_t>(at + 2 * p);
      order[static_cast<size_t>(at + half + p)] = static_cast<int32_t>(at + 2 * p + 1);
    }
  return order;
}

// Rows [first, first + count) of every one of `groups` groups of `stride` rows.
void append_groups(Rows& order, int64_t groups, int64_t stride, int64_t first, int64_t count) {
  for (int64_t g = 0; g < groups; g++)
    for (int64_t i = 0; i < count; i++) order.push_back(static_cast<int32_t>(g * stride + first + i));
}
Rows grouped(int64_t groups, int64_t stride, int64_t first, int64_t count) {
  Rows order;
  append_groups(order, groups, stride, first, count);
  return order;
}

// `rows` of the slot are a stretch of the tensor's, from `offset` of `stride` on.
StoredLayout stretch(const SlotShape& s, int64_t stride, int64_t offset) {
  return {stride, offset, s.rows, s.columns, false, {}, {}};
}
StoredLayout reordered(const SlotShape& s, int64_t stride, Rows order) {
  return {stride, 0, stride, s.columns, false, std::move(order), {}};
}
StoredLayout turned(const SlotShape& s, int64_t columns, Rows order) {
  return {s.columns, 0, s.columns, columns, true, std::move(order), {}};
}

StoredLayout packed_attention(Transform transform, const SlotShape& s, const AttentionSpec& a) {
  const int64_t q = a.heads * a.head_dim, k = a.kv_heads * a.head_dim, v = a.kv_heads * a.value_dim;
  const int64_t stride = q + k + v;
  switch (transform) {
    case Transform::kPackedQ:
      return stretch(s, stride, 0);
    case Transform::kPackedRotatedQ:
      return {stride, 0, q, s.columns, false, half_split_rows(a.heads, a.head_dim, 0, a.rope.rotated), {}};
    case Transform::kPackedK:
      return stretch(s, stride, q);
    case Transform::kPackedRotatedK:
      return {stride, q, k, s.columns, false, half_split_rows(a.kv_heads, a.head_dim, 0, a.rope.rotated), {}};
    default:
      return stretch(s, stride, q + k);
  }
}

StoredLayout rotated_rows(Transform transform, const SlotShape& s, const AttentionSpec& a) {
  const bool query = transform == Transform::kHalfSplitQ || transform == Transform::kRotatedQ;
  // llama.cpp's converter permutes whole heads, in layers without rotary embedding too.
  const bool whole = transform == Transform::kHalfSplitQ || transform == Transform::kHalfSplitK;
  return reordered(s, s.rows,
                   half_split_rows(query ? a.heads : a.kv_heads, a.head_dim, 0, whole ? a.head_dim : a.rope.rotated));
}

StoredLayout latent_rows(Transform transform, const SlotShape& s, const AttentionSpec& a) {
  const LatentSpec& l = a.latent;
  const int64_t pair = l.nope_dim + a.value_dim;  // rows of a head in the joint key/value up-projection
  switch (transform) {
    case Transform::kLatentKeyUp:
      return {pair, 0, l.nope_dim, l.kv_rank, true, {}, {}};
    case Transform::kLatentValueUp:
      return stretch(s, pair, l.nope_dim);
    case Transform::kLatentQ:
      if (!l.interleaved) return stretch(s, s.rows, 0);
      return reordered(s, s.rows, half_split_rows(a.heads, a.head_dim, l.nope_dim, l.shared_dim));
    default:
      if (!l.interleaved) return stretch(s, s.rows, 0);
      return reordered(s, s.rows, half_split_rows(1, s.rows, l.kv_rank, l.shared_dim));
  }
}

StoredLayout index_rows(Slot slot, const SlotShape& s, const AttentionSpec& a) {
  const IndexerSpec& x = a.indexer;
  if (!x.interleaved) return stretch(s, s.rows, 0);
  return reordered(s, s.rows, half_split_rows(slot == Slot::kIndexQ ? x.heads : 1, x.key_dim, 0, a.rope.rotated));
}

StoredLayout recurrent_rows(Transform transform, const SlotShape& s, const RecurrentSpec& r) {
  const int64_t share = r.value_heads / r.key_heads;  // value heads of a key head
  const int64_t values = share * r.value_dim, group = 2 * r.key_dim + 2 * values;
  Rows order;
  switch (transform) {
    case Transform::kPerHeadQkv: {
      const int64_t head = 2 * r.key_dim + r.value_dim;
      append_groups(order, r.key_heads, head, 0, r.key_dim);
      append_groups(order, r.key_heads, head, r.key_dim, r.key_dim);
      append_groups(order, r.key_heads, head, 2 * r.key_dim, r.value_dim);
      return reordered(s, r.key_heads * head, std::move(order));
    }
    case Transform::kGroupedQkv:
      append_groups(order, r.key_heads, group, 0, r.key_dim);
      append_groups(order, r.key_heads, group, r.key_dim, r.key_dim);
      append_groups(order, r.key_heads, group, 2 * r.key_dim, values);
      return reordered(s, r.key_heads * group, std::move(order));
    case Transform::kGroupedGate:
      return reordered(s, r.key_heads * group, grouped(r.key_heads, group, 2 * r.key_dim + values, values));
    case Transform::kGroupedBeta:
      return reordered(s, 2 * r.value_heads, grouped(r.key_heads, 2 * share, 0, share));
    default:
      return reordered(s, 2 * r.value_heads, grouped(r.key_heads, 2 * share, share, share));
  }
}

// `per_head` rows a value head behind `first` others: tiled head i is grouped head (i % key heads) * share + i / key
// heads.
Rows tiled_rows(const RecurrentSpec& r, int64_t first, int64_t per_head) {
  const int64_t share = r.value_heads / r.key_heads;
  Rows order(static_cast<size_t>(first));
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = 0; i < r.value_heads; i++)
    append_groups(order, 1, 0, first + (i % r.key_heads * share + i / r.key_heads) * per_head, per_head);
  return order;
}

StoredLayout tiled_heads(Transform transform, const SlotShape& s, const RecurrentSpec& r) {
  StoredLayout stored = stretch(s, s.rows, 0);
  if (r.key_heads == 1 || r.key_heads == r.value_heads) return stored;  // the orders are the same
  if (transform == Transform::kTiledQkv)
    stored.order = tiled_rows(r, 2 * r.key_heads * r.key_dim, r.value_dim);
  else if (transform == Transform::kTiledColumns)
    stored.column_order = tiled_rows(r, 0, r.value_dim);
  else
    stored.order = tiled_rows(r, 0, s.rows / r.value_heads);
  return stored;
}

}  // namespace

StoredLayout stored_layout(Transform transform, Slot slot, const ModelSpec& spec, const LayerSpec* layer) {
  const SlotShape s = slot_shape(slot, spec, layer);
  switch (transform) {
    case Transform::kNone:
    case Transform::kAddOne:
    case Transform::kNegativeExp:
      return stretch(s, s.rows, 0);
    case Transform::kPackedGate:
      return stretch(s, 2 * s.rows, 0);
    case Transform::kPackedUp:
      return stretch(s, 2 * s.rows, s.rows);
    case Transform::kPairedGate:
      return reordered(s, 2 * s.rows, grouped(s.rows, 2, 0, 1));
    case Transform::kPairedUp:
      return reordered(s, 2 * s.rows, grouped(s.rows, 2, 1, 1));
    case Transform::kTransposed:
      return turned(s, s.rows, {});
    case Transform::kTransposedPairedGate:
      return turned(s, 2 * s.rows, grouped(s.rows, 2, 0, 1));
    case Transform::kTransposedPairedUp:
      return turned(s, 2 * s.rows, grouped(s.rows, 2, 1, 1));
    default:
      break;
  }
  KL_CHECK(layer != nullptr, "a transform of layers on a tensor of the whole model");
  const AttentionSpec& a = layer->attention;
  switch (transform) {
    case Transform::kHalfSplitQ:
    case Transform::kHalfSplitK:
    case Transform::kRotatedQ:
    case Transform::kRotatedK:
      return rotated_rows(transform, s, a);
    case Transform::kPackedQ:
    case Transform::kPackedK:
    case Transform::kPackedV:
    case Transform::kPackedRotatedQ:
    case Transform::kPackedRotatedK:
      return packed_attention(transform, s, a);
    case Transform::kGatedQ:
      return reordered(s, 2 * s.rows, grouped(a.heads, 2 * a.head_dim, 0, a.head_dim));
    case Transform::kGatedGate:
      return reordered(s, 2 * s.rows, grouped(a.heads, 2 * a.head_dim, a.head_dim, a.head_dim));
    case Transform::kLatentQ:
    case Transform::kLatentKv:
    case Transform::kLatentKeyUp:
    case Transform::kLatentValueUp:
      return latent_rows(transform, s, a);
    case Transform::kIndexRows:
      return index_rows(slot, s, a);
    case Transform::kTiled:
    case Transform::kTiledNegativeExp:
    case Transform::kTiledQkv:
    case Transform::kTiledColumns:
      return tiled_heads(transform, s, layer->recurrent);
    default:
      return recurrent_rows(transform, s, layer->recurrent);
  }
}

}  // namespace kinglet
