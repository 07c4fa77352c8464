// The lightning indexer: which positions a token's sparse attention reads. Scores of a stretch of tokens are computed
// tile by tile on the pool, then every token picks its best positions, or every head of it its best blocks. A score is
// a function of its token and position alone and the choice one of the scores alone, so neither the stretches nor the
// workers can show.
#include <algorithm>
#include <bit>
#include <functional>
#include <vector>

#include "base/check.h"
#include "kernels/growing_buffer.h"
#include "kernels/kv_layout.h"
#include "kernels/ops_compress.h"
#include "kernels/table.h"

namespace kinglet {
namespace {

constexpr int64_t kMostScores = int64_t{1} << 22;  // floats of a stretch of tokens, unless one token has more

struct IndexJob {
  const RowKernels& kernels;
  const KvLayout& layout;
  const IndexParams& params;
  const float* q;
  int64_t ldq;
  const float* weights;  // null: blocks
  int64_t ldw;
  uint64_t* selected;
  int64_t selected_stride;  // of a row
  int64_t ratio = 1;        // positions that a key stands for

  // Rows of scores, and of bits, that a token has.
  int64_t rows() const { return weights == nullptr ? params.heads : 1; }
  uint64_t* row(int64_t token, int64_t head) const { return selected + (token * rows() + head) * selected_stride; }
};

struct IndexToken {
  const SequenceSlice* slice = nullptr;
  int64_t row = 0;      // of the batch
  int64_t visible = 0;  // positions
};

// A worker's queries of one token.
class IndexQueries {
 public:
  explicit IndexQueries(const IndexJob& job) : job_(job) {
    static thread_local GrowingBuffer memory;
    const int64_t rows = job.params.heads, stride = query_stride(job.layout), groups = stride / kKvGroup;
    const int64_t scalars = round_up(rows * groups, 16), bytes = round_up(rows * stride / 4, 16);
    q_ = memory.reserve(rows * stride + bytes + 2 * scalars + attention_scratch_floats(job.layout, rows));
    q8_ = reinterpret_cast<int8_t*>(q_ + rows * stride);
    q8_scale_ = q_ + rows * stride + bytes;
    q8_offset_ = reinterpret_cast<int32_t*>(q8_scale_ + scalars);
    tile_.layout = &job.layout;
    tile_.rows = rows;
    tile_.q = q_;
    tile_.q8 = q8_;
    tile_.q8_scale = q8_scale_;
    tile_.q8_offset = q8_offset_;
    tile_.scratch = q8_scale_ + 2 * scalars;
  }

  // scores[position] of one tile of a token; for blocks, `stride` floats behind, the next head's.
  void score(const IndexToken& token, int64_t tile, float* scores, int64_t stride) {
    if (&token != prepared_) prepare(token);
    tile_.tile = tile;
    const int64_t first = tile * kAttentionTile, positions = std::min(kAttentionTile, token.visible - first);
    if (job_.weights != nullptr) {
      job_.kernels.index_tile(tile_, positions, job_.weights + token.row * job_.ldw, scores + first);
      return;
    }
    job_.kernels.tile_scores(tile_, positions);
    for (int64_t h = 0; h < job_.params.heads; ++h)
      std::copy_n(tile_.scratch + h * kAttentionTile, positions, scores + h * stride + first);
  }

 private:
  void prepare(const IndexToken& token) {
    const int64_t stride = query_stride(job_.layout), groups = stride / kKvGroup;
    for (int64_t h = 0; h < job_.params.heads; ++h) {
      job_.kernels.attention_query(job_.layout, job_.q + token.row * job_.ldq + h * job_.layout.head_dim, 1.0f,
                                   q_ + h * stride, q8_ + h * stride, q8_scale_ + h * groups, q8_offset_ + h * groups);
    }
    tile_.pages = token.slice->pages;
    prepared_ = &token;
  }

  const IndexJob& job_;
  const IndexToken* prepared_ = nullptr;
  AttentionTile tile_;
  float *q_ = nullptr, *q8_scale_ = nullptr;
  int8_t* q8_ = nullptr;
  int32_t* q8_offset_ = nullptr;
};

// Integers in the order of the scores; zeros of either sign are equal, NaN is below everything.
uint32_t ordered(float score) {
  if (score != score) return 0;
  const uint32_t bits = std::bit_cast<uint32_t>(score + 0.0f);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

void select_all(int64_t positions, uint64_t* row) {
  std::fill_n(row, positions / 64, ~uint64_t{0});
  if (positions % 64 != 0) row[positions / 64] = (uint64_t{1} << positions % 64) - 1;
}

// Of `keys`, each a score in its upper half and the complement of an index in its lower, calls `chosen` with the
// indices of the `count` highest. Equal scores: the lower index first.
template <class Chosen>
void take_best(std::vector<uint64_t>& keys, int64_t count, Chosen chosen) {
  std::nth_element(keys.begin(), keys.begin() + count, keys.end(), std::greater<>());
  for (int64_t i = 0; i < count; ++i)
    chosen(int64_t{0xffffffffu - static_cast<uint32_t>(keys[static_cast<size_t>(i)])});
}

uint64_t key_of(uint32_t score, int64_t index) {
  return uint64_t{score} << 32 | (0xffffffffu - static_cast<uint32_t>(index));
}

// Sets the bits of the `count` < `positions` highest scores.
void select_best(const float* scores, int64_t positions, int64_t count, uint64_t* row) {
  static thread_local std::vector<uint64_t> keys;
  keys.resize(static_cast<size_t>(positions));
  for (int64_t i = 0; i < positions; ++i) keys[static_cast<size_t>(i)] = key_of(ordered(scores[i]), i);
  take_best(keys, count, [&](int64_t position) { row[position / 64] |= uint64_t{1} << position % 64; });
}

// Blocks that `positions` positions reach into.
int64_t blocks_of(int64_t positions, const IndexParams& params) {
  return (positions - 1) / params.block + 1;
}

// Sets the bits of the positions in the best blocks, fewer than there are.
void select_best_blocks(const float* scores, int64_t positions, const IndexParams& params, uint64_t* row) {
  static thread_local std::vector<uint64_t> keys;
  const int64_t blocks = blocks_of(positions, params);
  keys.resize(static_cast<size_t>(blocks));
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t end = std::min(positions, (b + 1) * params.block);
    uint32_t best = b >= blocks - params.local_blocks ? 0xffffffffu : 0;
    for (int64_t i = b * params.block; i < end; ++i) best = std::max(best, ordered(scores[i]));
    keys[static_cast<size_t>(b)] = key_of(best, b);
  }
  take_best(keys, params.top_k, [&](int64_t block) {
    const int64_t end = std::min(positions, (block + 1) * params.block);
    for (int64_t i = block * params.block; i < end; ++i) row[i / 64] |= uint64_t{1} << i % 64;
  });
}

// Clears the tokens' rows of bits; those of tokens that see no more than they may read are finished. Returns the
// others.
std::vector<IndexToken>& tokens_that_choose(const IndexJob& job, std::span<const SequenceSlice> slices) {
  static thread_local std::vector<IndexToken> tokens;
  tokens.clear();
  for (const SequenceSlice& slice : slices) {
    const int64_t ratio = job.ratio;
    KL_CHECK((slice.first_position + slice.tokens) / ratio <= job.selected_stride * 64, "rows of bits too short");
    for (int64_t t = 0; t < slice.tokens; ++t) {
      const int64_t row = slice.first_token + t, visible = (slice.first_position + t + 1) / ratio;
      const bool all = (job.weights == nullptr ? blocks_of(visible, job.params) : visible) <= job.params.top_k;
      std::fill_n(job.row(row, 0), job.rows() * job.selected_stride, uint64_t{0});
      for (int64_t h = 0; all && h < job.rows(); ++h) select_all(visible, job.row(row, h));
      if (!all) tokens.push_back({&slice, row, visible});
    }
  }
  return tokens;
}

void choose(const Compute& compute, const IndexJob& job, std::span<const SequenceSlice> slices) {
  KL_CHECK(job.layout.kv_heads == 1 && job.params.heads > 0 && job.params.top_k > 0, "a malformed indexer");
  const std::vector<IndexToken>& tokens = tokens_that_choose(job, slices);  // the caller's, not each worker's own
  if (tokens.empty()) return;
  int64_t most = 0;
  for (const IndexToken& token : tokens) most = std::max(most, token.visible);
  const int64_t tiles = (most + kAttentionTile - 1) / kAttentionTile, stride = tiles * kAttentionTile;
  const int64_t count = static_cast<int64_t>(tokens.size()), rows = job.rows();
  const int64_t stretch = std::min(count, std::max<int64_t>(1, kMostScores / (rows * stride)));
  static thread_local GrowingBuffer memory;
  float* scores = memory.reserve(stretch * rows * stride);
  for (int64_t first = 0; first < count; first += stretch) {
    const int64_t n = std::min(stretch, count - first);
    const IndexToken* some = tokens.data() + first;
    compute.pool->parallel_for(n * tiles, 1, [&](int64_t begin, int64_t end) {
      IndexQueries queries(job);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t tile = i % tiles;
        if (tile * kAttentionTile < some[i / tiles].visible)
          queries.score(some[i / tiles], tile, scores + i / tiles * rows * stride, stride);
      }
    });
    compute.pool->parallel_for(n * rows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const IndexToken& token = some[i / rows];
        if (job.weights == nullptr)
          select_best_blocks(scores + i * stride, token.visible, job.params, job.row(token.row, i % rows));
        else
          select_best(scores + i * stride, token.visible, job.params.top_k, job.row(token.row, 0));
      }
    });
  }
}

}  // namespace

void index_select(const Compute& compute, const KvLayout& layout, const IndexParams& params,
                  std::span<const SequenceSlice> slices, const float* q, int64_t ldq, const float* weights, int64_t ldw,
                  uint64_t* selected, int64_t selected_stride) {
  KL_CHECK(weights != nullptr, "an indexer without weights");
  choose(compute, {compute.kernels->rows, layout, params, q, ldq, weights, ldw, selected, selected_stride}, slices);
}

void index_select_entries(const Compute& compute, const KvLayout& layout, const IndexParams& params, int64_t ratio,
                          std::span<const SequenceSlice> slices, const float* q, int64_t ldq, const float* weights,
                          int64_t ldw, uint64_t* selected, int64_t selected_stride) {
  KL_CHECK(weights != nullptr && ratio > 0, "an indexer without weights or entries");
  choose(compute, {compute.kernels->rows, layout, params, q, ldq, weights, ldw, selected, selected_stride, ratio},
         slices);
}

void index_select_blocks(const Compute& compute, const KvLayout& layout, const IndexParams& params,
                         std::span<const SequenceSlice> slices, const float* q, int64_t ldq, uint64_t* selected,
                         int64_t selected_stride) {
  KL_CHECK(params.block > 0 && params.local_blocks >= 0, "an indexer without blocks");
  choose(compute, {compute.kernels->rows, layout, params, q, ldq, nullptr, 0, selected, selected_stride}, slices);
}

}  // namespace kinglet
