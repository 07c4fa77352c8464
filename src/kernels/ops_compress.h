// Compressed keys and values (DeepSeek-V4): every block of `ratio` tokens becomes one entry, a mixture of what its
// tokens say, which later tokens attend to in the place of the block. Entries lie in the pages that their blocks end
// in; of a block that has not ended there is a running mixture in the sequence's state, so that neither the cut of a
// text nor the size of its pages can show. Each operation has one meaning for every instruction set and number of
// threads; these are plain code that no compiler contracts (docs/numerics-rows.md fixes the arithmetic).
#pragma once

#include <cstdint>
#include <span>

#include "kernels/ops.h"

namespace kinglet {

// One sequence's share of a batch, as of SequenceSlice and RecurrentSlice together.
struct CompressedSlice {
  int64_t first_token = 0, tokens = 0, first_position = 0;
  float* state = nullptr;             // all zeros before position 0
  std::byte* const* pages = nullptr;  // where the entries go; not read by pool_tokens
};

struct PoolParams {
  int64_t dim = 0;        // of an entry
  int64_t ratio = 0;      // tokens of a block
  bool overlaps = false;  // an entry is made of its block's tokens and of those of the block before
  // Values a token has: `dim`, or where entries overlap 2 dim, the first of them for the next block's entry.
  int64_t columns() const { return overlaps ? 2 * dim : dim; }
};
// The running mixtures of this block's entry and, where entries overlap, of the next one's: greatest logit, sum of
// exponentials and weighted sum of a channel each, [mixture][3][dim].
int64_t pool_state_floats(const PoolParams& params);

// Entries of the blocks that end among these tokens.
int64_t entries_between(int64_t ratio, int64_t first_position, int64_t tokens);

// entries[e] = per channel the mixture of values by the softmax over the entry's tokens of gates + bias[place in the
// block]. values and gates are [tokens][columns] (ld floats a token), bias [ratio][columns], entries [count][dim] in
// the order of the slices; returns their count.
int64_t pool_tokens(const Compute& compute, const PoolParams& params, std::span<const CompressedSlice> slices,
                    const float* values, const float* gates, int64_t ld, const float* bias, float* entries);

// How entries lie in pages: like the keys of KvLayout, at places of their own. Entry e stands in the page with the
// last position of its block, behind the entries of earlier blocks that end there.
struct EntryLayout {
  KvLayout keys;               // page_positions: entries that a page has room for; 0: none
  int64_t ratio = 0;           // positions of a block
  int64_t page_positions = 0;  // positions of a page
  // Whether entry e is in page e / keys.page_positions, so that attention() can read the pages as they are.
  bool in_order() const { return keys.page_positions * ratio == page_positions; }
};
// For entries like these keys of one position.
EntryLayout entry_layout(const KvLayout& keys, int64_t ratio);

// Stores the entries of the blocks that end in the slices, [count][head_dim], as pool_tokens gave them.
void store_entries(const Compute& compute, const EntryLayout& layout, std::span<const CompressedSlice> slices,
                   const float* entries);

// Copies the first `count` entries of a sequence to `to`, into pages of gathered_layout one behind the other, each
// gathered_bytes(layout, 1) long; all of them gathered_bytes(layout, count).
KvLayout gathered_layout(const EntryLayout& layout);
void gather_entries(const Compute& compute, const EntryLayout& layout, const std::byte* const* pages, int64_t count,
                    std::byte* to);
uint64_t gathered_bytes(const EntryLayout& layout, int64_t count);

// ---- reading entries

// What tokens see besides the positions of their text: one key for each block of `ratio` positions that ends at or
// before the token's own, numbered from the text's beginning.
struct BlockKeys {
  KvLayout layout;  // differs from the text's in the size of its pages alone
  int64_t ratio = 0;
  std::span<std::byte* const* const> pages;  // a list for each slice
};
// attention() over the text and over blocks, whose tiles come behind the text's. A selection is one among the blocks.
void attention_with_blocks(const Compute& compute, const KvLayout& layout, const AttentionParams& params,
                           const BlockKeys& blocks, std::span<const SequenceSlice> slices, const float* q, int64_t ldq,
                           float* out, int64_t ldo);

// index_select() among such keys: the slices' pages hold those.
void index_select_entries(const Compute& compute, const KvLayout& layout, const IndexParams& params, int64_t ratio,
                          std::span<const SequenceSlice> slices, const float* q, int64_t ldq, const float* weights,
                          int64_t ldw, uint64_t* selected, int64_t selected_stride);

}  // namespace kinglet
