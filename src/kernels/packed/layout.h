// How a packed matrix lies in memory: blocks of 16 rows, one after the other. Within one, a 64-byte line holds 4 bytes
// of every row (32-bit lane r = row r), so that a vector lane owns an output row and no kernel needs a horizontal sum.
// A row block is as large as its 16 rows are in the file. Rows past the last are zeros.
//
//   Q4_K (2304 bytes a 256 columns)  d[16] f16 | dmin[16] f16 | P0 P1 P2 | 32 lines of nibbles
//     P0 = scales 0..3 in bits 0-5, P1 = scales 4..7, P2 = mins 0..3; bits 6-7 of P0, P1, P2 = bits 0-1, 2-3, 4-5 of
//     mins 4..7 line 8c + i: low nibbles = columns 64c + 4i .., high nibbles = 32 more
//   Q5_K (2816)  as Q4_K with 8 lines of fifth bits before the nibbles: line j, byte b, bit i = column 32j + 4i + b
//   Q6_K (3360)  4 lines of int8 scales | 16 x { L[h], L[h+16], H[h] }
//     columns 4v ..: low 4 bits in L[v % 32] (nibble v / 32), high 2 bits in H[v % 16] (pair v / 16)
//   Q4_0 (288 bytes a 32 columns)  4 lines of nibbles as in the file (line i: columns 4i .. low, 16 + 4i .. high)
//   Q5_0 (352)  a line of fifth bits (byte b, bit i = column 4i + b) | nibbles as Q4_0
//   Q4_1 (320), Q5_1 (384)  d[16] f16 | m[16] f16 | as Q4_0, Q5_0
//   Q8_0 (544)  8 lines of weight + 128
//   F32, F16, BF16  [column][16]
// In Q6_K, Q4_0, Q5_0, Q8_0, a line with the d[16] of blocks 2p and 2p + 1 stands before each pair of bodies.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace kinglet::packed {

constexpr int64_t kRowsPerBlock = 16;

// Bytes of a block of 16 rows without the paired d line; 0 for types that have no packed form.
constexpr uint64_t body_bytes(DType type) {
  switch (type) {
    case DType::kQ4_0:
      return 256;
    case DType::kQ5_0:
      return 320;
    case DType::kQ4_1:
      return 320;
    case DType::kQ5_1:
      return 384;
    case DType::kQ8_0:
      return 512;
    case DType::kQ4_K:
      return 2304;
    case DType::kQ5_K:
      return 2816;
    case DType::kQ6_K:
      return 3328;
    case DType::kF16:
    case DType::kBF16:
      return 32;
    case DType::kF32:
      return 64;
    default:
      return 0;
  }
}
constexpr bool has_paired_line(DType type) {
  return type == DType::kQ4_0 || type == DType::kQ5_0 || type == DType::kQ8_0 || type == DType::kQ6_K;
}
constexpr bool is_packed(DType type) {
  return body_bytes(type) != 0;
}
constexpr bool is_float(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}
constexpr int64_t block_columns(DType type) {
  return type == DType::kQ4_K || type == DType::kQ5_K || type == DType::kQ6_K ? 256 : is_float(type) ? 1 : 32;
}

// Offset of block b's body, and of its d[16], within a row block.
constexpr uint64_t body_offset(DType type, uint64_t b) {
  const uint64_t body = body_bytes(type);
  return has_paired_line(type) ? b / 2 * (2 * body + 64) + 64 + b % 2 * body : b * body;
}
constexpr uint64_t scale_offset(DType type, uint64_t b) {
  return has_paired_line(type) ? b / 2 * (2 * body_bytes(type) + 64) + b % 2 * 32 : b * body_bytes(type);
}
// Bytes of 16 rows.
constexpr uint64_t row_block_bytes(DType type, int64_t columns) {
  const auto blocks = static_cast<uint64_t>(columns / block_columns(type));
  const uint64_t body = body_bytes(type);
  return has_paired_line(type) ? blocks / 2 * (2 * body + 64) + blocks % 2 * (body + 64) : blocks * body;
}

}  // namespace kinglet::packed
