// The functions of one instruction set behind linear(): products over a range of row blocks, and the activation
// quantiser; and the quantised activations' layout. docs/NUMERICS.md fixes what they compute.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace kinglet {

// int8 activations of one token, 256 of its columns, one scale: for the K-quants. The scale is amax / 127, or larger
// where needed so that the sum of |q| over every aligned 16 values is <= 1023.
struct alignas(64) Activations256 {
  int8_t q[256];
  int32_t start32[16];     // what a sum of Q6_K (offset 32) over 16 values starts from, in the level's own form
  int32_t sum_pairs[4];    // sums of 32 values as int16 pairs: (0,2) (1,3) (4,6) (5,7)
  int32_t sum16_pairs[8];  // sums of 16 values as int16 pairs: (0,2) (1,3) (4,6) (5,7) (8,10) ..
  float scale;
  int32_t unused[3];
  int32_t zeros[16];  // where sums of formats without an offset start from
};
static_assert(sizeof(Activations256) == 448);

// The same for formats whose integer sums end within 256 columns: groups of 32 columns, or of the 64, 128 or 256 that a
// sum runs over; each of their pieces of 32 columns names the scale. Columns past the last are zero.
struct alignas(64) Activations32 {
  int8_t q[256];
  float scale[8];
  float scaled_sum[8];  // scale * float(sum of q)
  // What a sum starts from, in the level's own form: -8 times the sum of q of each piece, then -16 times; for runs of
  // 16 columns, -16 times the sum of q of each run; for runs of 256, -128 times the sum of every 16 q, an int32.
  int32_t starts[16];
  int32_t minus_128[8];  // -128 times the sum of q
  int32_t zeros[8];      // where sums of formats without an offset start from
};
static_assert(sizeof(Activations32) == 448);

// A packed matrix as the kernels see it (packed/layout.h).
struct MatrixRef {
  DType dtype;
  int64_t rows, columns;
  const uint8_t* data;
  uint64_t block_bytes;  // of 16 rows
  float multiplier;      // of every output
};

// Float activations x[tokens][ld].
struct FloatRows {
  const float* x;
  int64_t tokens, ld;
};

// Quantised activations [group of 256 columns][tokens], at least kQuantisedSlack readable entries after the last.
struct QuantisedRows {
  const void* data;  // Activations256 or Activations32
  int64_t tokens;
};
constexpr int64_t kQuantisedSlack = 8;

struct LinearKernels {
  // y[t][r] for the rows of row blocks [first, last), y being [tokens][ldy].
  void (*int8)(const MatrixRef& w, const QuantisedRows& x, float* y, int64_t ldy, int64_t first, int64_t last);
  void (*f32)(const MatrixRef& w, const FloatRows& x, float* y, int64_t ldy, int64_t first, int64_t last);
  // One token's group of 256 columns, `columns` of which are left; quantise256: all. `run`: columns of a sum.
  void (*quantise256)(const float* x, Activations256* out);
  void (*quantise32)(const float* x, int64_t columns, int run, Activations32* out);
  int64_t row_blocks_at_once;  // ranges should begin and end at multiples of it
};

}  // namespace kinglet
