// What the blocks of all types with an integer meaning say, for linear_ref.cc: one struct for all of them, read the
// plain way. Not for use outside ref/.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "base/half.h"

namespace kinglet::ref {

inline uint16_t load_u16(const uint8_t* p) {
  return static_cast<uint16_t>(p[0] | p[1] << 8);
}
inline float load_half(const uint8_t* p) {
  return half_to_float(load_u16(p));
}
inline uint32_t load_u32(const uint8_t* p) {
  return static_cast<uint32_t>(load_u16(p)) | static_cast<uint32_t>(load_u16(p + 2)) << 16;
}

// What a block means, for all types with an integer meaning: value k = (d * scale[k / group]) * (q[k] - offset)
// (+ or - m * shift[k / group]). Its integers are summed up over runs; each run may have a d of its own.
struct Block {
  int columns = 0, group = 0, offset = 0;
  int run = 0;  // 0: the block of a K-quant
  bool shifted = false, shift_subtracted = false;
  float run_d[4] = {};
  float d = 0, m = 0;
  int scale[16] = {}, shift[16] = {};
  int q[256] = {};
};

// The block of `type` at p.
Block block_of(DType type, const uint8_t* p);
// The same for IQ1, IQ2, IQ3 and TQ types (blocks_codebook.cc).
Block codebook_block_of(DType type, const uint8_t* p);

float e4m3(uint8_t x);

}  // namespace kinglet::ref
