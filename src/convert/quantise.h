// Floats to the packed types of formats/decode.h: the other direction. Rows are cut into the type's blocks, and each
// block's scales are searched for so that sum w (x - decoded x)^2 becomes small (fit.h). The same bytes come out on
// every machine and for any split of a tensor into rows. It chooses no types (mix.h) and knows no files.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace kinglet::convert {

// The types that quantise_row can write.
bool can_quantise(DType type);

// Writes row_bytes(type, values) bytes. `values` is a multiple of the type's block. `importance` has one weight >= 0
// for every value, or is nullptr where all count the same; plain float types have no use for it. Values must be finite.
void quantise_row(DType type, const float* row, int64_t values, const float* importance, std::byte* out);

}  // namespace kinglet::convert
