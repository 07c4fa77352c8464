// A named tensor as it lies in a file or buffer: type, shape, bytes. It owns nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/dtype.h"

namespace kinglet {

// Puts the rows of a tensor together whose parts (packed integers here, scales there) a file holds apart.
class RowSource {
 public:
  virtual ~RowSource() = default;
  // Writes the blocks of row r: row_bytes(dtype, columns) bytes. Any thread may call it at any time.
  virtual void row(int64_t r, std::byte* out) const = 0;

  uint64_t stored_bytes = 0;  // of the parts, in the file
};

struct TensorView {
  std::string name;
  DType dtype = DType::kF32;
  // Outermost dimension first (row-major): a linear layer is [out, in]. GGUF's reversed lists are turned around by its
  // reader. Readers guarantee: every dimension >= 0, the product fits int64, the last one is a multiple of
  // the block where there is `data`.
  std::vector<int64_t> shape;
  std::span<const std::byte> data;  // exactly the bytes of the tensor; alignment as the file has it
  // In place of `data`: rows are put together on demand. Owned by the checkpoint.
  const RowSource* source = nullptr;
  int64_t first_row = 0;    // the source's row that is this tensor's first
  float multiplier = 1.0f;  // of every value, besides what its block says
  // Position in a stored row -> column, where a row's blocks hold the columns in another order; empty: the same order.
  std::span<const int32_t> column_order = {};

  int64_t columns() const { return shape.empty() ? 1 : shape.back(); }
  int64_t elements() const {
    int64_t n = 1;
    for (int64_t d : shape) n *= d;
    return n;
  }
  int64_t rows() const { return columns() == 0 ? 0 : elements() / columns(); }
  uint64_t stored_bytes() const { return source ? source->stored_bytes : data.size(); }
  // The blocks of a row where they lie; only of tensors without a source.
  const std::byte* row(int64_t r) const {
    KL_CHECK(source == nullptr, "the rows of this tensor lie nowhere");
    return data.data() + static_cast<uint64_t>(r) * row_bytes(dtype, static_cast<uint64_t>(columns()));
  }
  // The blocks of a row where they lie, or else put together in `scratch`.
  const std::byte* row(int64_t r, std::vector<std::byte>& scratch) const;
  // What decoding a row's blocks leaves to be done: the multiplier, and every value to its column.
  void finish_row(std::span<float> row) const;
};

}  // namespace kinglet
