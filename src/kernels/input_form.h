// What a product reads its input as: floats, or one of the int8 forms that linear() and linear_many() make of them. Not
// for use outside these two.
#pragma once

#include "kernels/linear_kernels.h"
#include "kernels/ops.h"
#include "kernels/packed/layout.h"

namespace kinglet {

// kRuns..: with groups for the sums of that many columns; kBy256: of the K-quants.
enum class InputForm { kFloat, kBy256, kRuns16, kRuns32, kRuns64, kRuns128, kRuns256 };
constexpr size_t kInputForms = 7;

constexpr int64_t kGroupColumns = 256;
constexpr size_t kGroupBytes = sizeof(Activations256);
static_assert(sizeof(Activations32) == kGroupBytes);

inline InputForm input_form(ComputeMode mode, DType weights) {
  if (mode == ComputeMode::kF32 || packed::takes_floats(weights)) return InputForm::kFloat;
  switch (packed::layout_of(weights).run_columns) {
    case 16:
      return InputForm::kRuns16;
    case 32:
      return InputForm::kRuns32;
    case 64:
      return InputForm::kRuns64;
    case 128:
      return InputForm::kRuns128;
    case 256:
      return InputForm::kRuns256;
    default:
      return InputForm::kBy256;
  }
}
constexpr int run_columns(InputForm form) {
  return 16 << (static_cast<int>(form) - static_cast<int>(InputForm::kRuns16));
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
      kernels.quantise32(from, columns - column, run_columns(form), reinterpret_cast<Activations32*>(to));
    }
  }
}

inline MatrixRef matrix_ref(const PackedMatrix& w) {
  return {w.dtype(),
          w.rows(),
          w.columns(),
          reinterpret_cast<const uint8_t*>(w.data()),
          packed::row_block_bytes(w.dtype(), w.columns()),
          w.multiplier()};
}

inline int64_t row_block_count(const PackedMatrix& w) {
  return (w.rows() + packed::kRowsPerBlock - 1) / packed::kRowsPerBlock;
}

}  // namespace kinglet
