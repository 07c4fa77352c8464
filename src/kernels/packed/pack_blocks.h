// Packing of one row's blocks into its lane of a row block. Not for use outside packed/.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace kinglet::packed {

// Writes the `columns` values of one row, stored at `row` as the file has them, into lane `lane` (0..15) of the zeroed
// row block at `block`. The type must have a packed form.
void pack_row(DType type, const uint8_t* row, int64_t columns, int lane, uint8_t* block);

}  // namespace kinglet::packed
