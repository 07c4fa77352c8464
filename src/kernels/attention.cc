// Storing keys and values in pages, and attention over them, on the pool.
//
// Work is cut into items: up to kMostRows query rows of one sequence that read one kv head. A worker walks an item's
// tiles in order and merges each into the rows' states. Where a few items are much longer than a fair share (decoding
// far into a text), their tiles are handed out separately; the partial results are stored and merged in the same order
// by the same formula. So neither the cut nor the number of workers can show in the bits.
#include <algorithm>
#include <bit>
#include <limits>
#include <vector>

#include "base/check.h"
#include "kernels/growing_buffer.h"
#include "kernels/kv_layout.h"
#include "kernels/ops_compress.h"
#include "kernels/table.h"

namespace kinglet {
namespace {

constexpr int64_t kMostRows =
    48;                           // of an item: a multiple of the kernels' register tile, small enough for the L2 cache
constexpr int64_t kFewRows = 24;  // where kMostRows gives too few items
constexpr int64_t kItemsPerWorker = 4;

// Rows [first_row, first_row + rows) of a slice and kv head; row = token * group + head within the group.
struct Item {
  const SequenceSlice* slice = nullptr;
  int64_t kv_head = 0, first_row = 0, rows = 0;
  int64_t first_tile = 0, text_tiles = 0;  // of the text; those of blocks follow
  int64_t tiles = 0;                       // of both
  std::byte* const* block_pages = nullptr;
  int64_t partials = -1;  // >= 0: its tiles are handed out separately; where their results lie
};

struct Job {
  const RowKernels& kernels;
  const KvLayout& layout;
  const AttentionParams& params;
  const BlockKeys* blocks;  // null: the text alone
  const float* q;
  int64_t ldq;
  float* out;
  int64_t ldo;
  int64_t group;  // query heads of a kv head

  int64_t token(const Item& item, int64_t r) const { return (item.first_row + r) / group; }
  int64_t head(const Item& item, int64_t r) const { return item.kv_head * group + (item.first_row + r) % group; }
  int64_t position(const Item& item, int64_t r) const { return item.slice->first_position + token(item, r); }
  int64_t first_visible(int64_t position) const {
    return params.window > 0 ? std::max<int64_t>(0, position - params.window + 1) : 0;
  }
  int64_t end_visible(const Item& item, int64_t r) const {
    const int64_t position = this->position(item, r);
    if (params.causal) return position + 1;
    const int64_t end = item.slice->first_position + item.slice->tokens;
    return params.window > 0 ? std::min(end, position + params.window) : end;
  }
  int64_t blocks_visible(int64_t position) const { return blocks == nullptr ? 0 : (position + 1) / blocks->ratio; }
  // Floats of one row's partial result of a tile: max, sum, values.
  int64_t partial_row() const { return value_stride(layout) + 16; }
};

// A worker's memory for one item.
struct Workspace {
  float *q = nullptr, *q8_scale = nullptr, *max = nullptr, *sum = nullptr, *acc = nullptr, *scratch = nullptr;
  float *m = nullptr, *l = nullptr, *a = nullptr;
  int8_t* q8 = nullptr;
  int32_t *q8_offset = nullptr, *first = nullptr, *last = nullptr;
  uint64_t* selected = nullptr;
};

Workspace reserve_workspace(const KvLayout& layout, int64_t rows) {
  static thread_local GrowingBuffer memory;
  const int64_t qs = query_stride(layout), vs = value_stride(layout), scalars = round_up(rows, 16);
  const int64_t scratch = round_up(attention_scratch_floats(layout, rows), 16);
  float* next =
      memory.reserve(rows * (qs + 2 * vs) + round_up(rows * qs / 4, 16) + 2 * round_up(rows * qs / kKvGroup, 16) +
                     6 * scalars + scratch + 2 * kTileWords * scalars);
  const auto take = [&next](int64_t floats) {
    float* p = next;
    next += floats;
    return p;
  };
  Workspace w;
  w.q = take(rows * qs);
  w.q8 = reinterpret_cast<int8_t*>(take(round_up(rows * qs / 4, 16)));
  w.acc = take(rows * vs);
  w.a = take(rows * vs);
  w.scratch = take(scratch);
  w.q8_scale = take(round_up(rows * qs / kKvGroup, 16));
  w.q8_offset = reinterpret_cast<int32_t*>(take(round_up(rows * qs / kKvGroup, 16)));
  w.max = take(scalars);
  w.sum = take(scalars);
  w.m = take(scalars);
  w.l = take(scalars);
  w.first = reinterpret_cast<int32_t*>(take(scalars));
  w.last = reinterpret_cast<int32_t*>(take(scalars));
  w.selected = reinterpret_cast<uint64_t*>(take(2 * kTileWords * scalars));
  return w;
}

AttentionTile prepare_rows(const Job& job, const Item& item, const Workspace& w) {
  const int64_t qs = query_stride(job.layout);
  for (int64_t r = 0; r < item.rows; ++r) {
    const int64_t t = item.slice->first_token + job.token(item, r);
    job.kernels.attention_query(job.layout, job.q + t * job.ldq + job.head(item, r) * job.layout.head_dim,
                                job.params.scale, w.q + r * qs, w.q8 + r * qs, w.q8_scale + r * (qs / kKvGroup),
                                w.q8_offset + r * (qs / kKvGroup));
  }
  AttentionTile tile;
  tile.kv_head = item.kv_head;
  tile.rows = item.rows;
  tile.q = w.q;
  tile.q8 = w.q8;
  tile.q8_scale = w.q8_scale;
  tile.q8_offset = w.q8_offset;
  tile.first = w.first;
  tile.last = w.last;
  tile.soft_cap = job.params.soft_cap;
  tile.scratch = w.scratch;
  tile.max = w.max;
  tile.sum = w.sum;
  tile.acc = w.acc;
  return tile;
}

// Bits [0, n) of a word.
uint64_t low_bits(int64_t n) {
  return n <= 0 ? 0 : n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
}

// Narrows what row r may see of a tile to what is selected.
void select_visible(const Job& job, const Item& item, int64_t r, int64_t tile, const Workspace& w) {
  const AttentionParams& params = job.params;
  const int64_t t = item.slice->first_token + job.token(item, r);
  const uint64_t* from =
      params.selected + t * params.selected_stride + item.kv_head * params.selected_head_stride + tile * kTileWords;
  uint64_t* to = w.selected + r * kTileWords;
  int64_t first = kAttentionTile, last = 0;
  for (int64_t i = 0; i < kTileWords; ++i) {
    const uint64_t visible = low_bits(w.last[r] - 64 * i) & ~low_bits(w.first[r] - 64 * i);
    to[i] = visible == 0 ? 0 : from[i] & visible;  // rows end with the slice, which may be in the middle of a tile
    if (to[i] == 0) continue;
    first = std::min<int64_t>(first, 64 * i + std::countr_zero(to[i]));
    last = 64 * i + 64 - std::countl_zero(to[i]);
  }
  w.first[r] = static_cast<int32_t>(std::min(first, last));
  w.last[r] = static_cast<int32_t>(last);
}

// Turns to tile `i` of an item, `more` of which follow, and to what each row sees of it: a function of its position and
// the window (and the text's end, if not causal) alone.
void enter_tile(const Job& job, const Item& item, int64_t i, int64_t more, const Workspace& w, AttentionTile& tile) {
  const bool of_blocks = i >= item.text_tiles;
  const bool selected = job.params.selected != nullptr && of_blocks == (job.blocks != nullptr);
  tile.layout = of_blocks ? &job.blocks->layout : &job.layout;
  tile.pages = of_blocks ? item.block_pages : item.slice->pages;
  tile.tile = of_blocks ? i - item.text_tiles : item.first_tile + i;
  tile.selected = selected ? w.selected : nullptr;
  tile.more = more > 0 && i + 1 != item.text_tiles;
  const int64_t base = tile.tile * kAttentionTile;
  for (int64_t r = 0; r < item.rows; ++r) {
    const int64_t position = job.position(item, r);
    const int64_t first = of_blocks ? 0 : job.first_visible(position);
    const int64_t last = of_blocks ? job.blocks_visible(position) : job.end_visible(item, r);
    const int64_t begin = std::clamp<int64_t>(first - base, 0, kAttentionTile);
    const int64_t end = std::clamp<int64_t>(last - base, 0, kAttentionTile);
    w.first[r] = static_cast<int32_t>(begin);
    w.last[r] = static_cast<int32_t>(std::max(begin, end));
    if (selected) select_visible(job, item, r, tile.tile, w);
  }
}

void finish_row(const Job& job, const Item& item, int64_t r, const float* a, float l) {
  const int64_t t = item.slice->first_token + job.token(item, r), dims = job.layout.value_dim;
  job.kernels.attention_finish(a, l, dims, job.out + t * job.ldo + job.head(item, r) * dims);
}

// The state that the tiles of row r are merged into: nothing yet, or the head's sink as a logit without a value.
void start_row(const Job& job, const Item& item, int64_t r, float& m, float& l, float* a) {
  const float* sinks = job.params.sinks;
  m = sinks != nullptr ? sinks[job.head(item, r)] : -std::numeric_limits<float>::infinity();
  l = sinks != nullptr ? 1.0f : 0.0f;
  std::fill_n(a, value_stride(job.layout), 0.0f);
}

// A whole item on one worker.
void attend_item(const Job& job, const Item& item) {
  const Workspace w = reserve_workspace(job.layout, item.rows);
  AttentionTile tile = prepare_rows(job, item, w);
  const int64_t stride = value_stride(job.layout);
  for (int64_t r = 0; r < item.rows; ++r) start_row(job, item, r, w.m[r], w.l[r], w.a + r * stride);
  for (int64_t i = 0; i < item.tiles; ++i) {
    enter_tile(job, item, i, item.tiles - i - 1, w, tile);
    job.kernels.attention_tile(tile);
    for (int64_t r = 0; r < item.rows; ++r) {
      if (w.first[r] == w.last[r]) continue;
      job.kernels.attention_merge(w.m + r, w.l + r, w.a + r * stride, w.max[r], w.sum[r], w.acc + r * stride, stride);
    }
  }
  for (int64_t r = 0; r < item.rows; ++r) finish_row(job, item, r, w.a + r * stride, w.l[r]);
}

// Some tiles of an item, results stored as [tile][row]{max, sum, ..., acc}.
void attend_partial(const Job& job, const Item& item, int64_t begin, int64_t end, float* partials) {
  const Workspace w = reserve_workspace(job.layout, item.rows);
  AttentionTile tile = prepare_rows(job, item, w);
  const int64_t stride = value_stride(job.layout);
  for (int64_t i = begin; i < end; ++i) {
    enter_tile(job, item, i, end - i - 1, w, tile);
    job.kernels.attention_tile(tile);
    for (int64_t r = 0; r < item.rows; ++r) {
      float* to = partials + item.partials + (i * item.rows + r) * job.partial_row();
      to[1] = 0.0f;
      if (w.first[r] == w.last[r]) continue;
      to[0] = w.max[r];
      to[1] = w.sum[r];
      std::copy_n(w.acc + r * stride, stride, to + 16);
    }
  }
}

void merge_partials(const Job& job, const Item& item, const float* partials) {
  const Workspace w = reserve_workspace(job.layout, item.rows);
  const int64_t stride = value_stride(job.layout);
  for (int64_t r = 0; r < item.rows; ++r) {
    start_row(job, item, r, w.m[r], w.l[r], w.a);
    for (int64_t i = 0; i < item.tiles; ++i) {
      const float* from = partials + item.partials + (i * item.rows + r) * job.partial_row();
      if (from[1] == 0.0f) continue;  // not seen: its maximum alone would have added exp(0)
      job.kernels.attention_merge(w.m + r, w.l + r, w.a, from[0], from[1], from + 16, stride);
    }
    finish_row(job, item, r, w.a, w.l[r]);
  }
}

void list_items(const Job& job, std::span<const SequenceSlice> slices, int64_t most_rows, std::vector<Item>& items) {
  items.clear();
  for (const SequenceSlice& slice : slices) {
    const int64_t rows = slice.tokens * job.group;
    for (int64_t kv_head = 0; kv_head < job.layout.kv_heads; ++kv_head) {
      for (int64_t row = 0; row < rows; row += most_rows) {
        Item item;
        item.slice = &slice;
        item.kv_head = kv_head;
        item.first_row = row;
        item.rows = std::min(most_rows, rows - row);
        item.first_tile = job.first_visible(job.position(item, 0)) / kAttentionTile;
        item.text_tiles = (job.end_visible(item, item.rows - 1) - 1) / kAttentionTile + 1 - item.first_tile;
        const int64_t blocks = job.blocks_visible(job.position(item, item.rows - 1));
        item.tiles = item.text_tiles + (blocks + kAttentionTile - 1) / kAttentionTile;
        if (job.blocks != nullptr) item.block_pages = job.blocks->pages[static_cast<size_t>(&slice - slices.data())];
        items.push_back(item);
      }
    }
  }
}

// Multiply-adds worth waking another worker for.
constexpr int64_t kGrainWork = 200'000;

// A stretch of an item's tiles that is handed out by itself.
struct Part {
  const Item* item = nullptr;
  int64_t begin = 0, end = 0;
};

// (Row, tile) pairs of all items: what their cost is proportional to.
int64_t total_cost(const std::vector<Item>& items) {
  int64_t total = 0;
  for (const Item& item : items) total += item.tiles * item.rows;
  return total;
}

// Cuts items that cost more than two shares into parts; returns the floats their partial results need.
int64_t list_parts(const Job& job, std::vector<Item>& items, int64_t share, bool cut, std::vector<Part>& parts) {
  int64_t partial_floats = 0;
  parts.clear();
  for (Item& item : items) {
    if (!cut || item.tiles < 2 || item.tiles * item.rows <= 2 * share) {
      parts.push_back({&item, 0, item.tiles});
      continue;
    }
    item.partials = partial_floats;
    partial_floats += item.tiles * item.rows * job.partial_row();
    const int64_t step = std::max<int64_t>(1, share / item.rows);
    for (int64_t i = 0; i < item.tiles; i += step) parts.push_back({&item, i, std::min(i + step, item.tiles)});
  }
  return partial_floats;
}

void check_blocks(const Job& job, std::span<const SequenceSlice> slices) {
  if (job.blocks == nullptr) return;
  const KvLayout &layout = job.layout, &alike = job.blocks->layout;
  KL_CHECK(job.params.causal && job.blocks->ratio > 0 && job.blocks->pages.size() == slices.size(),
           "malformed blocks beside a text");
  KL_CHECK(alike.page_positions > 0 && alike.page_positions % kKvBlock == 0, "pages hold a multiple of 16 positions");
  KL_CHECK(alike.type == layout.type && alike.kv_heads == layout.kv_heads && alike.head_dim == layout.head_dim &&
               alike.value_dim == layout.value_dim && alike.values_in_keys == layout.values_in_keys,
           "blocks whose keys are of another form than the text's");
}

void check_slices(std::span<const SequenceSlice> slices, const KvLayout& layout) {
  KL_CHECK(layout.page_positions > 0 && layout.page_positions % kKvBlock == 0, "pages hold a multiple of 16 positions");
  KL_CHECK(!layout.values_in_keys || layout.value_dim <= layout.head_dim, "values are a part of the keys");
  for (const SequenceSlice& slice : slices) {
    KL_CHECK(slice.tokens >= 0 && slice.first_position >= 0 && slice.pages != nullptr, "a malformed slice");
  }
}

Job job_of(const Compute& compute, const KvLayout& layout, const AttentionParams& params, const BlockKeys* blocks,
           const float* q, int64_t ldq, float* out, int64_t ldo) {
  KL_CHECK(layout.kv_heads > 0 && params.heads > 0 && params.heads % layout.kv_heads == 0,
           "heads must share kv heads evenly");
  return {compute.kernels->rows, layout, params, blocks, q, ldq, out, ldo, params.heads / layout.kv_heads};
}

// `job` has everything but the layout's check.
void attend(const Compute& compute, const Job& job, std::span<const SequenceSlice> slices) {
  const KvLayout& layout = job.layout;
  check_slices(slices, layout);
  check_blocks(job, slices);
  // Of the calling thread, so that calls of other engines do not meet.
  static thread_local std::vector<Item> items;
  static thread_local std::vector<Part> parts;
  static thread_local GrowingBuffer partial_memory;
  list_items(job, slices, kMostRows, items);
  const int workers = compute.pool->size();
  if (static_cast<int64_t>(items.size()) < workers * kItemsPerWorker) list_items(job, slices, kFewRows, items);
  const int64_t cost = total_cost(items), share = std::max<int64_t>(1, cost / (workers * kItemsPerWorker));
  const int64_t partial_floats = list_parts(job, items, share, workers > 1, parts);
  float* partials = partial_memory.reserve(partial_floats);
  const int64_t work = cost * kAttentionTile * (layout.head_dim + layout.value_dim);
  const int64_t count = static_cast<int64_t>(parts.size());
  const int64_t grain = work <= kGrainWork ? count : std::max<int64_t>(1, kGrainWork * count / work);
  const std::vector<Part>& shared_parts = parts;  // the caller's, not each worker's thread_local
  compute.pool->parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Part& part = shared_parts[static_cast<size_t>(i)];
      if (part.item->partials < 0) {
        attend_item(job, *part.item);
      } else {
        attend_partial(job, *part.item, part.begin, part.end, partials);
      }
    }
  });
  if (partial_floats == 0) return;
  const std::vector<Item>& shared_items = items;
  compute.pool->parallel_for(static_cast<int64_t>(shared_items.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Item& item = shared_items[static_cast<size_t>(i)];
      if (item.partials >= 0) merge_partials(job, item, partials);
    }
  });
}

}  // namespace

void kv_store(const Compute& compute, const KvLayout& layout, std::span<const SequenceSlice> slices, const float* k,
              int64_t ldk, const float* v, int64_t ldv) {
  check_slices(slices, layout);
  const RowKernels& kernels = compute.kernels->rows;
  const auto store = [&](const SequenceSlice& slice, int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t position = slice.first_position + t, slot = position % layout.page_positions;
      std::byte* page = slice.pages[position / layout.page_positions];
      const float* k_row = k + (slice.first_token + t) * ldk;
      for (int64_t h = 0; h < layout.kv_heads; ++h) {
        kernels.store_k(layout, k_row + h * layout.head_dim, page + k_area_offset(layout, h), slot);
      }
      if (!stores_values(layout)) continue;
      const float* v_row = v + (slice.first_token + t) * ldv;
      for (int64_t h = 0; h < layout.kv_heads; ++h) {
        kernels.store_v(layout, v_row + h * layout.value_dim, page + v_area_offset(layout, h), slot);
      }
    }
  };
  // Tokens that share a block of 16 positions share cache lines: the grain keeps most of them on one worker.
  const int64_t count = static_cast<int64_t>(slices.size());
  if (count >= 2 * compute.pool->size()) {
    compute.pool->parallel_for(count, 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        store(slices[static_cast<size_t>(i)], 0, slices[static_cast<size_t>(i)].tokens);
    });
    return;
  }
  for (const SequenceSlice& slice : slices) {
    compute.pool->parallel_for(slice.tokens, kKvBlock, [&](int64_t begin, int64_t end) { store(slice, begin, end); });
  }
}

void attention(const Compute& compute, const KvLayout& layout, const AttentionParams& params,
               std::span<const SequenceSlice> slices, const float* q, int64_t ldq, float* out, int64_t ldo) {
  attend(compute, job_of(compute, layout, params, nullptr, q, ldq, out, ldo), slices);
}

void attention_with_blocks(const Compute& compute, const KvLayout& layout, const AttentionParams& params,
                           const BlockKeys& blocks, std::span<const SequenceSlice> slices, const float* q, int64_t ldq,
                           float* out, int64_t ldo) {
  attend(compute, job_of(compute, layout, params, &blocks, q, ldq, out, ldo), slices);
}

}  // namespace kinglet
