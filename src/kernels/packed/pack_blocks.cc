#include "kernels/packed/pack_blocks.h"

#include <cstring>

#include "base/check.h"
#include "kernels/packed/layout.h"

namespace kinglet::packed {
namespace {

// Where one row's bytes of one block go.
struct Target {
  uint8_t* body;    // of the block
  uint8_t* scales;  // d[16] of the block
  int lane;
  uint8_t* line(int i) const { return body + 64 * i + 4 * lane; }
};

void put_half(uint8_t* halves, int lane, const uint8_t* from) {
  std::memcpy(halves + 2 * lane, from, 2);
}

void put_nibbles(const Target& to, int first_line, const uint8_t* from, int lines) {
  for (int i = 0; i < lines; ++i) std::memcpy(to.line(first_line + i), from + 4 * i, 4);
}

// 32 fifth bits, bit k of the file's word to byte k % 4, bit k / 4.
uint32_t spread_fifth_bits(uint32_t bits) {
  uint32_t out = 0;
  for (uint32_t k = 0; k < 32; ++k) out |= (bits >> k & 1u) << (8 * (k % 4) + k / 4);
  return out;
}

void put_word(uint8_t* at, uint32_t word) {
  std::memcpy(at, &word, 4);
}

void put_fifth_bits(const Target& to, int line, const uint8_t* from) {
  uint32_t bits;
  std::memcpy(&bits, from, 4);
  put_word(to.line(line), spread_fifth_bits(bits));
}

void pack_q4_0(const uint8_t* from, const Target& to) {
  put_half(to.scales, to.lane, from);
  put_nibbles(to, 0, from + 2, 4);
}

void pack_q4_1(const uint8_t* from, const Target& to) {
  put_half(to.body, to.lane, from);
  put_half(to.body + 32, to.lane, from + 2);
  put_nibbles(to, 1, from + 4, 4);
}

void pack_q5_0(const uint8_t* from, const Target& to) {
  put_half(to.scales, to.lane, from);
  put_fifth_bits(to, 0, from + 2);
  put_nibbles(to, 1, from + 6, 4);
}

void pack_q5_1(const uint8_t* from, const Target& to) {
  put_half(to.body, to.lane, from);
  put_half(to.body + 32, to.lane, from + 2);
  put_fifth_bits(to, 1, from + 4);
  put_nibbles(to, 2, from + 8, 4);
}

void pack_q8_0(const uint8_t* from, const Target& to) {
  put_half(to.scales, to.lane, from);
  for (int i = 0; i < 32; ++i) to.line(i / 4)[i % 4] = static_cast<uint8_t>(from[2 + i] ^ 0x80);
}

// d, dmin and the 6-bit scales and minimums, common to Q4_K and Q5_K: lines 0 to 3.
void pack_k_scales(const uint8_t* from, const Target& to) {
  put_half(to.body, to.lane, from);
  put_half(to.body + 32, to.lane, from + 2);
  const uint8_t* packed = from + 4;
  for (int i = 0; i < 4; ++i) {
    const int scale_high = (packed[i + 8] & 15) | (packed[i] >> 6) << 4;
    const int min_high = packed[i + 8] >> 4 | (packed[i + 4] >> 6) << 4;
    to.line(1)[i] = static_cast<uint8_t>((packed[i] & 63) | (min_high & 3) << 6);
    to.line(2)[i] = static_cast<uint8_t>(scale_high | (min_high >> 2 & 3) << 6);
    to.line(3)[i] = static_cast<uint8_t>((packed[i + 4] & 63) | (min_high >> 4) << 6);
  }
}

void pack_q4_k(const uint8_t* from, const Target& to) {
  pack_k_scales(from, to);
  put_nibbles(to, 4, from + 16, 32);
}

void pack_q5_k(const uint8_t* from, const Target& to) {
  pack_k_scales(from, to);
  for (int j = 0; j < 8; ++j) {
    uint32_t bits = 0;
    for (uint32_t k = 0; k < 32; ++k) bits |= (from[16 + k] >> j & 1u) << (8 * (k % 4) + k / 4);
    put_word(to.line(4 + j), bits);
  }
  put_nibbles(to, 12, from + 48, 32);
}

void pack_q6_k(const uint8_t* from, const Target& to) {
  const uint8_t *low = from, *high = from + 128, *scales = from + 192;
  put_half(to.scales, to.lane, from + 208);
  for (int j = 0; j < 16; ++j) to.line(j / 4)[j % 4] = scales[j];
  for (int k = 0; k < 256; ++k) {
    const int half = k / 128, in_half = k % 128, v = k / 4;
    const int low_bits = low[64 * half + in_half % 64] >> (in_half / 64 * 4) & 15;
    const int high_bits = high[32 * half + in_half % 32] >> (in_half / 32 * 2) & 3;
    uint8_t* triple = to.line(4 + 3 * (v % 16)) + k % 4;  // L[h], L[h + 16], H[h]
    triple[64 * (v / 16 % 2)] |= static_cast<uint8_t>(low_bits << (4 * (v / 32)));
    triple[128] |= static_cast<uint8_t>(high_bits << (2 * (v / 16)));
  }
}

using PackBlock = void (*)(const uint8_t*, const Target&);

PackBlock packer_of(DType type) {
  switch (type) {
    case DType::kQ4_0:
      return pack_q4_0;
    case DType::kQ4_1:
      return pack_q4_1;
    case DType::kQ5_0:
      return pack_q5_0;
    case DType::kQ5_1:
      return pack_q5_1;
    case DType::kQ8_0:
      return pack_q8_0;
    case DType::kQ4_K:
      return pack_q4_k;
    case DType::kQ5_K:
      return pack_q5_k;
    case DType::kQ6_K:
      return pack_q6_k;
    default:
      return nullptr;
  }
}

}  // namespace

void pack_row(DType type, const uint8_t* row, int64_t columns, int lane, uint8_t* block) {
  if (is_float(type)) {
    const auto bytes = static_cast<size_t>(dtype_info(type).block_bytes);
    for (int64_t k = 0; k < columns; ++k) {
      std::memcpy(block + (static_cast<size_t>(k) * 16 + static_cast<size_t>(lane)) * bytes,
                  row + static_cast<size_t>(k) * bytes, bytes);
    }
    return;
  }
  const PackBlock pack = packer_of(type);
  KL_CHECK(pack != nullptr, "pack_row of a type without a packed form");
  const auto blocks = static_cast<uint64_t>(columns / block_columns(type));
  const uint64_t file_bytes = dtype_info(type).block_bytes;
  for (uint64_t b = 0; b < blocks; ++b) {
    pack(row + b * file_bytes, {block + body_offset(type, b), block + scale_offset(type, b), lane});
  }
}

}  // namespace kinglet::packed
