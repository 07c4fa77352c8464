// Where a value lies in a KV page: the arithmetic of KvLayout (ops.h). Not for users of attention.
//
// A page holds `page_positions` positions (P, a multiple of 16) of one layer: for each kv head its K area, then its V
// area.
//
//   K area: P / 16 blocks of 16 positions, lane = position, so that scores need no horizontal sums.
//     f32, f16  [head_dim][16]
//     q8_0      uint8 [D / 4][16][4], value + 128, then f16 scales [D / 32][16]   (D: head_dim rounded up to 32)
//   V area: lane = dimension.
//     f32, f16  [P][value_dim rounded up to 16]
//     q8_0      int8 [P][D], then f16 scales [D / 32][P]                          (D: value_dim rounded up to 32)
//
// With values_in_keys there is no V area: a value is the first value_dim dimensions of the key. Nor is there one with
// value_dim 0: the keys of an indexer.
//
// q8_0 has one scale a position for each 32 dimensions: scale = half(max |x| / 127), value = round(x / scale). Padding
// stays zero: pages are zeroed when they are handed out.
#pragma once

#include <cstdint>

#include "kernels/ops.h"

namespace kinglet {

inline constexpr int64_t kAttentionTile = 256;              // positions; bits depend on it
inline constexpr int64_t kTileWords = kAttentionTile / 64;  // of a row of bits
inline constexpr int64_t kKvBlock = 16;                     // positions of a K block
inline constexpr int64_t kKvGroup = 32;                     // dimensions that share a scale in q8_0

constexpr int64_t round_up(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

inline int64_t kv_element_bytes(KvType type) {
  return type == KvType::kF32 ? 4 : type == KvType::kF16 ? 2 : 1;
}

// Whether a page has V areas.
inline bool stores_values(const KvLayout& layout) {
  return !layout.values_in_keys && layout.value_dim > 0;
}

// Bytes of a K block of 16 positions.
inline int64_t k_block_bytes(const KvLayout& layout) {
  if (layout.type != KvType::kQ8_0) return layout.head_dim * kKvBlock * kv_element_bytes(layout.type);
  const int64_t dims = round_up(layout.head_dim, kKvGroup);
  return dims * kKvBlock + dims / kKvGroup * kKvBlock * 2;
}

// Elements from one position's V row to the next.
inline int64_t v_row_stride(const KvLayout& layout) {
  return round_up(layout.value_dim, layout.type == KvType::kQ8_0 ? kKvGroup : kKvBlock);
}

// Where the scales of a q8_0 V area begin; [group][page_positions] f16.
inline int64_t v_scales_offset(const KvLayout& layout) {
  return layout.page_positions * v_row_stride(layout);
}

inline int64_t k_area_offset(const KvLayout& layout, int64_t kv_head) {
  return kv_head * static_cast<int64_t>(layout.k_bytes_per_head() + layout.v_bytes_per_head());
}
inline int64_t v_area_offset(const KvLayout& layout, int64_t kv_head) {
  return k_area_offset(layout, kv_head) + static_cast<int64_t>(layout.k_bytes_per_head());
}

// The K block that holds `position`, and the V area of its page.
inline const std::byte* k_block(const KvLayout& layout, const std::byte* const* pages, int64_t kv_head,
                                int64_t position) {
  const int64_t page = position / layout.page_positions, slot = position % layout.page_positions;
  return pages[page] + k_area_offset(layout, kv_head) + slot / kKvBlock * k_block_bytes(layout);
}
inline const std::byte* v_area(const KvLayout& layout, const std::byte* const* pages, int64_t kv_head,
                               int64_t position) {
  return pages[position / layout.page_positions] + v_area_offset(layout, kv_head);
}

// Floats from one row to the next in the buffers of attention: queries (and their int8 form) and sums of values.
inline int64_t query_stride(const KvLayout& layout) {
  return round_up(layout.head_dim, kKvGroup);
}
inline int64_t value_stride(const KvLayout& layout) {
  return round_up(layout.value_dim, kKvGroup);
}

// Scratch of RowKernels::attention_tile: scores of a tile, 64 positions of K or V as floats, scores times scales of V.
inline constexpr int64_t kAttentionChunk = 64;
inline int64_t attention_scratch_floats(const KvLayout& layout, int64_t rows) {
  const int64_t k = query_stride(layout), v = value_stride(layout);
  return rows * (kAttentionTile + kAttentionChunk) + kAttentionChunk * (k > v ? k : v);
}

}  // namespace kinglet
