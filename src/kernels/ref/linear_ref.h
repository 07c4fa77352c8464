// The plain definition of linear(): straight from the file's blocks, one output at a time, no packing, no vectors. What
// every instruction set is compared with; docs/NUMERICS.md says the same in words. Not for use outside tests and tools.
#pragma once

#include <cstdint>

#include "kernels/ops.h"

namespace kinglet::ref {

// One group of int8 activations: 32 to 256 values (docs/NUMERICS.md says how many a type has).
struct QuantisedGroup {
  int8_t q[256];
  float scale;
};
// `bound_sums`: with the bound on sums of 16 values.
QuantisedGroup quantise_group(const float* x, int values, bool bound_sums);

// A row of a type with a packed form, widened as f32 mode widens it.
void widen_row(DType type, const uint8_t* row, int64_t columns, float* out);

// y[t][r] for `rows` rows of `columns` values stored at `w`; x is [tokens][ldx], y [tokens][ldy].
void linear(ComputeMode mode, DType type, const uint8_t* w, int64_t rows, int64_t columns, const float* x,
            int64_t tokens, int64_t ldx, float* y, int64_t ldy, float multiplier = 1.0f);

}  // namespace kinglet::ref
