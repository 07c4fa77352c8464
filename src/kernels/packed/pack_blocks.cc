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

void put_lines(const Target& to, int first_line, const uint8_t* from, int lines) {
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
  put_lines(to, 0, from + 2, 4);
}

void pack_q4_1(const uint8_t* from, const Target& to) {
  put_half(to.body, to.lane, from);
  put_half(to.body + 32, to.lane, from + 2);
  put_lines(to, 1, from + 4, 4);
}

void pack_q5_0(const uint8_t* from, const Target& to) {
  put_half(to.scales, to.lane, from);
  put_fifth_bits(to, 0, from + 2);
  put_lines(to, 1, from + 6, 4);
}

void pack_q5_1(const uint8_t* from, const Target& to) {
  put_half(to.body, to.lane, from);
  put_half(to.body + 32, to.lane, from + 2);
  put_fifth_bits(to, 1, from + 4);
  put_lines(to, 2, from + 8, 4);
}

void pack_q8_0(const uint8_t* from, const Target& to) {
  put_half(to.scales, to.lane, from);
  for (int i = 0; i < 32; ++i) to.line(i / 4)[i % 4] = static_cast<uint8_t>(from[2 + i] ^ 0x80);
}

// 32 numbers of 4 bits as Q4_0 has them: quad i low, quad i + 4 high.
template <class Code>
void put_codes(const Target& to, int first_line, Code code) {
  for (int k = 0; k < 16; ++k) {
    to.line(first_line + k / 4)[k % 4] = static_cast<uint8_t>(code(k) | code(k + 16) << 4);
  }
}
int nibble_of(const uint8_t* q, int k) {
  return q[k / 2] >> 4 * (k % 2) & 15;
}
// The same from a list whose bytes hold neighbours.
void put_neighbours(const Target& to, int first_line, const uint8_t* q, int values) {
  for (int at = 0; at < values; at += 32) {
    put_codes(to, first_line + at / 8, [&](int k) { return nibble_of(q, at + k); });
  }
}

void pack_iq4_xs(const uint8_t* from, const Target& to) {
  put_half(to.scales, to.lane, from);
  for (int j = 0; j < 8; ++j) {
    const int scale = nibble_of(from + 4, j) | (from[2 + j / 4] >> 2 * (j % 4) & 3) << 4;
    to.body[16 * j + to.lane] = static_cast<uint8_t>(scale - 32);
    put_lines(to, 2 + 4 * j, from + 8 + 16 * j, 4);
  }
}

void pack_mxfp4(const uint8_t* from, const Target& to) {
  to.scales[to.lane] = from[0];
  put_lines(to, 0, from + 1, 4);
}

void pack_nvfp4(const uint8_t* from, const Target& to) {
  for (int run = 0; run < 4; ++run) to.body[16 * run + to.lane] = from[run];
  for (int half = 0; half < 2; ++half) {
    const uint8_t* q = from + 4 + 16 * half;  // 16 values in 8 bytes, the first 8 low
    put_codes(to, 1 + 4 * half, [&](int k) { return q[k / 16 * 8 + k % 8] >> (k % 16 / 8 * 4) & 15; });
  }
}

template <int kGroup>
void pack_int4(const uint8_t* from, const Target& to) {
  std::memcpy(to.line(0), from, 4);
  to.line(1)[0] = from[4];
  put_neighbours(to, 2, from + 8, kGroup);
}
template <int kGroup>
void pack_int8(const uint8_t* from, const Target& to) {
  std::memcpy(to.line(0), from, 4);
  to.line(1)[0] = from[4];
  put_lines(to, 2, from + 8, kGroup / 4);
}

void pack_fp8(const uint8_t* from, const Target& to) {
  put_lines(to, 0, from, 33);
}
void pack_nf4(const uint8_t* from, const Target& to) {
  std::memcpy(to.line(0), from, 4);
  put_neighbours(to, 1, from + 4, 64);
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
  put_lines(to, 4, from + 16, 32);
}

void pack_q5_k(const uint8_t* from, const Target& to) {
  pack_k_scales(from, to);
  for (int j = 0; j < 8; ++j) {
    uint32_t bits = 0;
    for (uint32_t k = 0; k < 32; ++k) bits |= (from[16 + k] >> j & 1u) << (8 * (k % 4) + k / 4);
    put_word(to.line(4 + j), bits);
  }
  put_lines(to, 12, from + 48, 32);
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

// Column k's two bits: 32 bytes of the file hold half a block.
uint8_t pair_at(const uint8_t* low, int k) {
  return static_cast<uint8_t>(low[k / 128 * 32 + k % 32] >> (k % 128 / 32 * 2) & 3);
}
// Columns 4v .. to line v % 16, pair v / 16.
void put_pairs(const Target& to, int first_line, const uint8_t* low) {
  for (int k = 0; k < 256; ++k) {
    const int v = k / 4;
    to.line(first_line + v % 16)[k % 4] |= static_cast<uint8_t>(pair_at(low, k) << (2 * (v / 16)));
  }
}

void pack_q2_k(const uint8_t* from, const Target& to) {
  put_half(to.body, to.lane, from + 80);
  put_half(to.body + 32, to.lane, from + 82);
  put_lines(to, 1, from, 4);
  put_pairs(to, 5, from + 16);
}

void pack_q3_k(const uint8_t* from, const Target& to) {
  put_half(to.scales, to.lane, from + 108);
  put_lines(to, 0, from + 96, 3);
  put_pairs(to, 3, from + 32);
  put_lines(to, 19, from, 8);
}

void pack_tq2_0(const uint8_t* from, const Target& to) {
  put_half(to.scales, to.lane, from + 64);
  for (int k = 0; k < 256; ++k) {
    to.line(k / 16)[k % 4] |= static_cast<uint8_t>(pair_at(from, k) << (2 * (k / 4 % 4)));
  }
}

// The words of a block as they are; its 16-bit float comes first or last, or is none.
template <int kWords, bool kScaleFirst = true>
void pack_words(const uint8_t* from, const Target& to) {
  put_half(to.scales, to.lane, kScaleFirst ? from : from + 4 * kWords);
  put_lines(to, 0, kScaleFirst ? from + 2 : from, kWords);
}
void pack_iq1_m(const uint8_t* from, const Target& to) {
  put_lines(to, 0, from, 14);
}

using PackBlock = void (*)(const uint8_t*, const Target&);

PackBlock packer_of(DType type) {
  // clang-format off: one line a type
  switch (type) {
    case DType::kQ4_0: return pack_q4_0;
    case DType::kQ4_1: return pack_q4_1;
    case DType::kQ5_0: return pack_q5_0;
    case DType::kQ5_1: return pack_q5_1;
    case DType::kQ8_0: return pack_q8_0;
    case DType::kQ2_K: return pack_q2_k;
    case DType::kQ3_K: return pack_q3_k;
    case DType::kQ4_K: return pack_q4_k;
    case DType::kQ5_K: return pack_q5_k;
    case DType::kQ6_K: return pack_q6_k;
    case DType::kIQ4_NL: return pack_q4_0;
    case DType::kIQ4_XS: return pack_iq4_xs;
    case DType::kIQ1_S: return pack_words<12>;
    case DType::kIQ1_M: return pack_iq1_m;
    case DType::kIQ2_XXS: return pack_words<16>;
    case DType::kIQ2_XS: return pack_words<18>;
    case DType::kIQ2_S: return pack_words<20>;
    case DType::kIQ3_XXS: return pack_words<24>;
    case DType::kIQ3_S: return pack_words<27>;
    case DType::kTQ1_0: return pack_words<13, false>;
    case DType::kTQ2_0: return pack_tq2_0;
    case DType::kMXFP4: return pack_mxfp4;
    case DType::kNVFP4: return pack_nvfp4;
    case DType::kInt4G32: return pack_int4<32>;
    case DType::kInt4G64: return pack_int4<64>;
    case DType::kInt4G128: return pack_int4<128>;
    case DType::kInt8G32: return pack_int8<32>;
    case DType::kInt8G64: return pack_int8<64>;
    case DType::kInt8G128: return pack_int8<128>;
    case DType::kFp8G128: return pack_fp8;
    case DType::kNf4G64: return pack_nf4;
    default: return nullptr;
  }
  // clang-format on
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
  const uint64_t blocks = block_count(type, columns);
  const uint64_t file_bytes = dtype_info(type).block_bytes;
  for (uint64_t b = 0; b < blocks; ++b) {
    pack(row + b * file_bytes, {block + body_offset(type, b), block + scale_offset(type, b), lane});
  }
}

}  // namespace kinglet::packed
