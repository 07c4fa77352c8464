// The plain definition of linear(): straight from the file's blocks, one output at a time, no packing, no vectors. What
// every instruction set is compared with; docs/NUMERICS.md says the same in words. Not for use outside tests and tools.
#pragma once

#include <cstdint>

#include "kernels/ops.h"

namespace kinglet::ref {

// One group of int8 activations: 256 values for K-quants, 32 for the 32-value formats.
struct QuantisedGroup {
  int8_t q[256];
  float scale;
};
// `values` is 256 (with the bound on sums of 16 values) or 32.
QuantisedGroup quantise_group(const float* x, int values);

// A row of a type with a packed form, widened as f32 mode widens it.
void widen_row(DType type, const uint8_t* row, int64_t columns, float* out);

// y[t][r] for `rows` rows of `columns` values stored at `w`; x is [tokens][ldx], y [tokens][ldy].
void linear(ComputeMode mode, DType type, const uint8_t* w, int64_t rows, int64_t columns, const float* x,
            int64_t tokens, int64_t ldx, float* y, int64_t ldy);

}  // namespace kinglet::ref
