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
//   Q3_K (1760)  3 lines: the scales' twelve bytes as in the file | 16 lines of pairs as H of Q6_K | 8 lines of high
//   bits:
//     line i, byte b, bit g = column 32g + 4i + b
//   Q2_K (1344)  d[16] f16 | dmin[16] f16 | 4 lines: scale low, minimum high nibble | 16 lines of pairs as H of Q6_K
//   Q4_0 (288 bytes a 32 columns)  4 lines of nibbles as in the file (line i: columns 4i .. low, 16 + 4i .. high)
//   Q5_0 (352)  a line of fifth bits (byte b, bit i = column 4i + b) | nibbles as Q4_0
//   Q4_1 (320), Q5_1 (384)  d[16] f16 | m[16] f16 | as Q4_0, Q5_0
//   Q8_0 (544)  8 lines of weight + 128
//   F32, F16, BF16  [column][16]
//   IQ4_NL (288)  nibbles as Q4_0
//   IQ4_XS (2208 a 256 columns)  scale - 32 of 32 columns as [8][16] int8 | 8 x nibbles as Q4_0
//   MXFP4 (272 a 32 columns)  nibbles as Q4_0; its scales are bytes
//   NVFP4 (576 a 64 columns)  scales of 16 columns as [4][16] bytes | 2 x nibbles as Q4_0
//   INT4_G*, INT8_G* (as in memory)  scale[16] f32 | zero[16] i32 | nibbles as Q4_0, or lines of columns 4i .., each 32
//   FP8_G128 (2112 a 128 columns)  scale[16] f32 | line i: columns 4i ..
//   NF4_G64 (576 a 64 columns)  absmax[16] f32 | 2 x nibbles as Q4_0
//   TQ2_0 (1056 a 256 columns)  16 lines of pairs: line 2j + i, pair p = columns 32j + 16i + 4p ..
//   IQ1_M (896), IQ1_S (800), IQ2_XXS (1056), IQ2_XS (1184), IQ2_S (1312), IQ3_XXS (1568), IQ3_S (1760), TQ1_0 (864)
//     the words of the file's block but d, one after the other, each a line
// Where scales are apart (Q3_K, Q6_K, Q4_0, Q5_0, Q8_0, IQ and TQ types but IQ1_M: d[16] f16; MXFP4: e[16] bytes), a
// line with those of 2 (or 4) blocks stands before the bodies of these blocks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace kinglet::packed {

constexpr int64_t kRowsPerBlock = 16;

struct Layout {
  uint64_t body_bytes = 0;       // of a block of 16 rows, without scales that lie apart; 0: the type has no packed form
  int64_t columns = 1;           // of a block
  uint64_t blocks_per_line = 0;  // that share a line of scales; 0: scales are in the body
  int run_columns = 0;           // in int8 mode, columns of an integer sum (what the activations are grouped by); 0: K
};

constexpr Layout layout_of(DType type) {
  // clang-format off: one line a type
  switch (type) {
    case DType::kQ4_0: case DType::kIQ4_NL: return {256, 32, 2, 32};
    case DType::kQ5_0: return {320, 32, 2, 32};
    case DType::kQ4_1: return {320, 32, 0, 32};
    case DType::kQ5_1: return {384, 32, 0, 32};
    case DType::kQ8_0: return {512, 32, 2, 32};
    case DType::kQ2_K: return {1344, 256, 0, 0};
    case DType::kQ3_K: return {1728, 256, 2, 0};
    case DType::kQ4_K: return {2304, 256, 0, 0};
    case DType::kQ5_K: return {2816, 256, 0, 0};
    case DType::kQ6_K: return {3328, 256, 2, 0};
    case DType::kIQ4_XS: return {2176, 256, 2, 256};
    case DType::kIQ1_S: return {768, 256, 2, 256};
    case DType::kIQ1_M: return {896, 256, 0, 256};
    case DType::kIQ2_XXS: case DType::kTQ2_0: return {1024, 256, 2, 256};
    case DType::kIQ2_XS: return {1152, 256, 2, 256};
    case DType::kIQ2_S: return {1280, 256, 2, 256};
    case DType::kIQ3_XXS: return {1536, 256, 2, 256};
    case DType::kIQ3_S: return {1728, 256, 2, 256};
    case DType::kTQ1_0: return {832, 256, 2, 256};
    case DType::kMXFP4: return {256, 32, 4, 32};
    case DType::kNVFP4: return {576, 64, 0, 16};
    case DType::kInt4G32: return {384, 32, 0, 32};
    case DType::kInt4G64: return {640, 64, 0, 64};
    case DType::kInt4G128: return {1152, 128, 0, 128};
    case DType::kInt8G32: return {640, 32, 0, 32};
    case DType::kInt8G64: return {1152, 64, 0, 64};
    case DType::kInt8G128: return {2176, 128, 0, 128};
    case DType::kFp8G128: return {2112, 128, 0, 0};
    case DType::kNf4G64: return {576, 64, 0, 0};
    case DType::kF16: case DType::kBF16: return {32, 1, 0, 0};
    case DType::kF32: return {64, 1, 0, 0};
    default: return {};
  }
  // clang-format on
}
constexpr uint64_t body_bytes(DType type) {
  return layout_of(type).body_bytes;
}
constexpr bool is_packed(DType type) {
  return body_bytes(type) != 0;
}
constexpr bool is_float(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}
// Types that meet float activations in either mode.
constexpr bool takes_floats(DType type) {
  return is_float(type) || type == DType::kFp8G128 || type == DType::kNf4G64;
}
constexpr int64_t block_columns(DType type) {
  return layout_of(type).columns;
}
constexpr uint64_t block_count(DType type, int64_t columns) {
  return static_cast<uint64_t>((columns + block_columns(type) - 1) / block_columns(type));
}

// Offset of block b's body, and of its scales, within a row block.
constexpr uint64_t body_offset(DType type, uint64_t b) {
  const Layout l = layout_of(type);
  if (l.blocks_per_line == 0) return b * l.body_bytes;
  return (b / l.blocks_per_line + 1) * 64 + b * l.body_bytes;
}
constexpr uint64_t scale_offset(DType type, uint64_t b) {
  const Layout l = layout_of(type);
  if (l.blocks_per_line == 0) return b * l.body_bytes;
  const uint64_t line = b / l.blocks_per_line, place = b % l.blocks_per_line;
  return line * (64 + l.blocks_per_line * l.body_bytes) + place * (64 / l.blocks_per_line);
}
// Bytes of 16 rows.
constexpr uint64_t row_block_bytes(DType type, int64_t columns) {
  const Layout l = layout_of(type);
  const uint64_t blocks = block_count(type, columns);
  const uint64_t lines = l.blocks_per_line == 0 ? 0 : (blocks + l.blocks_per_line - 1) / l.blocks_per_line;
  return blocks * l.body_bytes + lines * 64;
}

}  // namespace kinglet::packed
