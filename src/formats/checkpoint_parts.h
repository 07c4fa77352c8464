// Pieces that the readers of all containers share. Internal to formats/.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"
#include "formats/checkpoint.h"

namespace kinglet {

// Elements of a shape; nothing where a dimension is negative or the product leaves int64.
std::optional<int64_t> shape_elements(const std::vector<int64_t>& shape);

// Bytes of a tensor whose last dimension is a multiple of the type's block; nothing where they leave int64.
std::optional<uint64_t> tensor_bytes(DType dtype, int64_t elements);

std::string shape_text(const std::vector<int64_t>& shape);  // "[2, 3]"

// Fills `index` and `total_bytes`; an error where two tensors share a name. The list of tensors must not change
// afterwards.
Status index_tensors(Checkpoint& checkpoint);

}  // namespace kinglet
