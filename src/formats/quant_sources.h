// Rows of quantised matrices, put together from their stored parts. Shapes and ranges were checked by who makes a
// source (quant_matrices.cc): nothing is checked here. Internal to formats/.
#pragma once

#include <cstdint>
#include <vector>

#include "base/tensor_view.h"

namespace kinglet {

// Scales of a matrix [rows, columns], or of a stack of them with its rows one after another: a matrix is covered by
// tiles of tile_rows x tile_columns weights with a scale each. Strides count scales.
struct ScaleGrid {
  DType dtype = DType::kF32;
  const std::byte* data = nullptr;
  int64_t rows_per_matrix = 1, tile_rows = 1, tile_columns = 1;
  int64_t matrix_stride = 0, row_stride = 1, column_stride = 1;

  float at(int64_t r, int64_t tile_column) const;
};

// Small unsigned integers packed into bytes or 32-bit words along one of two dimensions ("packed"; the other one is
// "across"), least significant bits first.
struct PackedInts {
  const std::byte* data = nullptr;
  int64_t packed_stride = 1, across_stride = 1;  // in words
  int bits = 4, word_bytes = 4;
  bool awq_order = false;  // the lanes of a word in AWQ's order
  uint8_t flip = 0;        // 0x80 turns signed bytes into unsigned ones, 128 more

  uint8_t at(int64_t packed, int64_t across) const;
};

// Blocks of kFp8G128 from bytes in E4M3.
struct Fp8Source : RowSource {
  void row(int64_t r, std::byte* out) const override;
  int64_t columns = 0;
  const std::byte* values = nullptr;
  ScaleGrid scales;
};

// Blocks of kInt4* and kInt8*.
struct IntSource : RowSource {
  void row(int64_t r, std::byte* out) const override;

  int64_t columns = 0;
  DType block = DType::kInt4G128;
  PackedInts codes;
  bool packed_by_row = false;  // codes are packed along rows instead of columns
  ScaleGrid scales;
  bool has_zeros = false;
  PackedInts zeros;  // packed along rows, groups across
  int zero_offset = 0, zero_mask = 255, symmetric_zero = 8;
  // Act-order: stored position -> column, and the group of every column; empty: columns in order.
  std::vector<int32_t> order, group_of_column;
};

// Blocks of kMXFP4 and kNVFP4 from 4-bit floats that have neighbours in one byte, the low nibble first.
struct Fp4Source : RowSource {
  void row(int64_t r, std::byte* out) const override;
  int64_t columns = 0;
  DType block = DType::kMXFP4;
  const std::byte* values = nullptr;
  const std::byte* scales = nullptr;  // a byte for 32 (MXFP4) or 16 values (NVFP4)
};

// Blocks of kNf4G64 from nibbles, the high one first, in groups that run on from row to row.
struct Nf4Source : RowSource {
  void row(int64_t r, std::byte* out) const override;
  int64_t columns = 0, group = 64;
  const std::byte* values = nullptr;
  const std::byte* absmax = nullptr;  // floats, or bytes where these are quantised themselves:
  const std::byte* nested_absmax = nullptr;
  const std::byte* nested_levels = nullptr;  // 256 floats
  int64_t nested_group = 256;
  float nested_offset = 0.0f;
};

}  // namespace kinglet
