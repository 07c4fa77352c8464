// What a product reads its input as: floats, or one of the int8 forms that linear() and linear_many() make of them. Not
// for use outside these two.
#pragma once

#include "kernels/linear_kernels.h"
#include "kernels/ops.h"
#include "kernels/packed/layout.h"

namespace kinglet {

enum class InputForm { kFloat, kBy256, kBy32 };

constexpr int64_t kGroupColumns = 256;
constexpr size_t kGroupBytes = sizeof(Activations256);
static_assert(sizeof(Activations32) == kGroupBytes);

inline InputForm input_form(ComputeMode mode, DType weights) {
  if (mode == ComputeMode::kF32 || packed::is_float(weights)) return InputForm::kFloat;
  return packed::block_columns(weights) == kGroupColumns ? InputForm::kBy256 : InputForm::kBy32;
}

inline int64_t group_count(int64_t columns) {
  return (columns + kGroupColumns - 1) / kGroupColumns;
}

// Entries [first, last) of the quantised form [group][tokens] of x [tokens][ld], to `out`, where entry 0 lies.
inline void quantise_entries(const LinearKernels& kernels, InputForm form, const FloatRows& x, int64_t columns,
                             int64_t first, int64_t last, std::byte* out) {
  for (int64_t i = first; i < last; ++i) {
    const int64_t column = i / x.tokens * kGroupColumns;
    const float* from = x.x + i % x.tokens * x.ld + column;
    std::byte* to = out + static_cast<size_t>(i) * kGroupBytes;
    if (form == InputForm::kBy256) {
      kernels.quantise256(from, reinterpret_cast<Activations256*>(to));
    } else {
      kernels.quantise32(from, columns - column, reinterpret_cast<Activations32*>(to));
    }
  }
}

inline MatrixRef matrix_ref(const PackedMatrix& w) {
  return {w.dtype(), w.rows(), w.columns(), reinterpret_cast<const uint8_t*>(w.data()),
          packed::row_block_bytes(w.dtype(), w.columns())};
}

inline int64_t row_block_count(const PackedMatrix& w) {
  return (w.rows() + packed::kRowsPerBlock - 1) / packed::kRowsPerBlock;
}

}  // namespace kinglet
