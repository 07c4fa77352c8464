// Plain decoders: rows of any stored type to float, the definition that every packed kernel's weights must equal.
// Bit for bit gguf-py's `dequantize`.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/tensor_view.h"

namespace kinglet {

// True for the types decode_row accepts (all floating and quantised types; not the integer types).
bool can_decode(DType type);

// Decodes `values` elements (a multiple of the type's block, but for padded rows) from `blocks` into `out`. KL_CHECKs
// can_decode(type).
void decode_row(DType type, const std::byte* blocks, int64_t values, float* out);

// A row of a tensor, wherever its blocks come from, its columns in their own order.
void decode_row(const TensorView& tensor, int64_t row, std::span<float> out);

// Indices out of a tensor of I32 or I64, each in [0, count); of others the error names the tensor.
Result<std::vector<int32_t>> decode_indices(const TensorView& tensor, int64_t count);

// The whole tensor, row-major.
void decode_tensor(const TensorView& tensor, std::span<float> out);

}  // namespace kinglet
