// A named tensor as it lies in a file or buffer: type, shape, bytes. It owns nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace kinglet {

struct TensorView {
  std::string name;
  DType dtype = DType::kF32;
  // Outermost dimension first (row-major): a linear layer is [out, in]. GGUF's reversed lists are turned around by its
  // reader. Readers guarantee: every dimension >= 0, the product fits int64, the last one is a multiple of the block.
  std::vector<int64_t> shape;
  std::span<const std::byte> data;  // exactly the bytes of the tensor; alignment as the file has it

  int64_t columns() const { return shape.empty() ? 1 : shape.back(); }
  int64_t elements() const {
    int64_t n = 1;
    for (int64_t d : shape) n *= d;
    return n;
  }
  int64_t rows() const { return columns() == 0 ? 0 : elements() / columns(); }
  const std::byte* row(int64_t r) const {
    return data.data() + static_cast<uint64_t>(r) * row_bytes(dtype, static_cast<uint64_t>(columns()));
  }
};

}  // namespace kinglet
