// One instruction set's functions for everything but the products: rows, rotary embeddings, the KV cache, attention,
// logits. Each works on one row (or one tile of attention) on the calling thread; ops-level wrappers (rows.cc,
// attention.cc, …) check shapes and spread rows over the pool. ref/ holds the plain definitions, simd/*.inc the vector
// forms; both have the same bits (docs/NUMERICS.md). NaNs count as equal to each other.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kinglet {

struct KvLayout;
enum class Activation;
struct ActivationParams;

// Rows of one tile of attention (kAttentionTile absolute positions) against one kv head.
struct AttentionTile {
  const KvLayout* layout = nullptr;
  const std::byte* const* pages = nullptr;  // of the sequence
  int64_t kv_head = 0;
  int64_t tile = 0;  // positions [tile, tile + 1) * kAttentionTile
  int64_t rows = 0;  // query rows: (token, head) pairs that read this kv head
  // Queries as attention_query left them: `q` [rows][query_stride] for float KV types; `q8` the same shape and
  // `q8_scale` [rows][query_stride / 32] for q8_0.
  const float* q = nullptr;
  const int8_t* q8 = nullptr;
  const float* q8_scale = nullptr;
  const int32_t* q8_offset =
      nullptr;  // like q8_scale: -128 * (sum of the group), for products with keys stored as k + 128
  // Visible positions of each row in this tile, relative to its start: [first, last), 0 <= first <= last <= 256. Rows
  // with first == last see nothing; their outputs are not written.
  const int32_t* first = nullptr;
  const int32_t* last = nullptr;
  // Null, or [rows][kTileWords]: bit i of a row says that position i of the tile is seen; none outside [first, last).
  const uint64_t* selected = nullptr;
  float soft_cap = 0.0f;     // 0: none
  bool more = false;         // the next tile follows: its keys may be fetched ahead
  float* scratch = nullptr;  // attention_scratch_floats(layout, rows), aligned to 64 bytes
  // Results: maximum of the scores, sum of exp(score - maximum), the same sum weighted by v: `acc`
  // [rows][value_stride].
  float* max = nullptr;
  float* sum = nullptr;
  float* acc = nullptr;
};

// Elements that exp_sum adds up before it adds the result to the total: a vocabulary is too long for one running sum.
inline constexpr int64_t kSumBlock = 4096;

struct RowKernels {
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* y);
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* y);
  void (*add)(float* x, const float* y, int64_t n);
  void (*mix)(float alpha, float* x, float beta, const float* y, int64_t n);
  void (*scale)(float* x, float factor, int64_t n);
  void (*soft_cap)(float* x, float cap, int64_t n);
  void (*activate)(Activation act, float* x, int64_t n);
  void (*gated_activation)(Activation act, const ActivationParams& params, float* gate, const float* up, int64_t n);
  // out[i] = sum over slots, in order, of weights[s] * rows[row_of[s] * ld + i].
  void (*combine)(const float* rows, int64_t ld, const int32_t* row_of, const float* weights, int64_t slots, int64_t n,
                  float* out);
  // One head: pairs (x[p], x[p + half]).
  void (*rope_half_split)(const float* cos, const float* sin, int64_t half, float* x);

  // One token's k or v of one kv head into its page: `area` is that head's K (V) area of the page, `slot` the position
  // in it.
  void (*store_k)(const KvLayout& layout, const float* k, std::byte* area, int64_t slot);
  void (*store_v)(const KvLayout& layout, const float* v, std::byte* area, int64_t slot);

  // A query row as attention_tile wants it: q * scale, padded with zeros to query_stride; for q8_0 quantised by groups
  // of 32.
  void (*attention_query)(const KvLayout& layout, const float* q, float scale, float* out, int8_t* q8, float* q8_scale,
                          int32_t* q8_offset);
  void (*attention_tile)(const AttentionTile& tile);
  // Adds the tile (max, sum, acc) to the state (m, l, a), both of `n` values: see docs/NUMERICS.md.
  void (*attention_merge)(float* m, float* l, float* a, float max, float sum, const float* acc, int64_t n);
  // out[i] = a[i] / l; zeros where nothing was merged (l = 0).
  void (*attention_finish)(const float* a, float l, int64_t n, float* out);
  // scores[i] = sum over the rows in order of weights[r] * relu(score of row r with the tile's position i), for i <
  // positions; up to a multiple of 16 is written. Reads neither `first` and `last` nor `selected`.
  void (*index_tile)(const AttentionTile& tile, int64_t positions, const float* weights, float* scores);
  // scratch[r * kAttentionTile + i] = score of row r with the tile's position i, likewise.
  void (*tile_scores)(const AttentionTile& tile, int64_t positions);

  float (*row_max)(const float* x, int64_t n);
  // p[i] = exp(x[i] - max), max >= every x[i]; returns the sum, by blocks of kSumBlock. p may be x or null.
  float (*exp_sum)(const float* x, float max, int64_t n, float* p);
};

// The plain definitions (ref/).
const RowKernels& ref_row_kernels();

}  // namespace kinglet
