#include "kernels/ref/blocks.h"

#include <bit>
#include <cmath>
#include <limits>

namespace kinglet::ref {

float e4m3(uint8_t x) {
  if ((x & 0x7f) == 0x7f) return std::numeric_limits<float>::quiet_NaN();
  const int exponent = x >> 3 & 15, mantissa = x & 7;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                        : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return x & 0x80 ? -magnitude : magnitude;
}

namespace {

Block block_of_32(DType type, const uint8_t* p) {
  Block b;
  b.columns = b.group = b.run = 32;
  b.scale[0] = b.shift[0] = 1;
  b.d = load_half(p);
  p += 2;
  if (type == DType::kQ8_0) {
    for (int k = 0; k < 32; ++k) b.q[k] = static_cast<int8_t>(p[k]);
    return b;
  }
  b.shifted = type == DType::kQ4_1 || type == DType::kQ5_1;
  if (b.shifted) {
    b.m = load_half(p);
    p += 2;
  }
  const bool five = type == DType::kQ5_0 || type == DType::kQ5_1;
  const uint32_t high = five ? load_u32(p) : 0;
  if (five) p += 4;
  for (int k = 0; k < 32; ++k) {
    b.q[k] = (k < 16 ? p[k] & 15 : p[k - 16] >> 4) + (high >> k & 1u ? 16 : 0);
  }
  b.offset = b.shifted ? 0 : five ? 16 : 8;
  return b;
}

Block block_of_q2_k(const uint8_t* p) {
  Block b;
  b.columns = 256;
  b.group = 16;
  b.shifted = b.shift_subtracted = true;
  b.d = load_half(p + 80);
  b.m = load_half(p + 82);
  for (int j = 0; j < 16; ++j) {
    b.scale[j] = p[j] % 16;
    b.shift[j] = p[j] / 16;
  }
  for (int k = 0; k < 256; ++k) b.q[k] = p[16 + k / 128 * 32 + k % 32] >> (k % 128 / 32 * 2) & 3;
  return b;
}

Block block_of_q3_k(const uint8_t* p) {
  Block b;
  b.columns = 256;
  b.group = 16;
  b.offset = 4;
  b.d = load_half(p + 108);
  const uint8_t* s = p + 96;
  for (int j = 0; j < 16; ++j) {
    b.scale[j] = (j < 8 ? s[j] % 16 : s[j - 8] / 16) + 16 * (s[8 + j % 4] >> (j / 4 * 2) & 3) - 32;
  }
  for (int k = 0; k < 256; ++k) {
    b.q[k] = (p[32 + k / 128 * 32 + k % 32] >> (k % 128 / 32 * 2) & 3) + 4 * (p[k % 32] >> (k / 32) & 1);
  }
  return b;
}

// Q4_K, Q5_K.
Block block_of_k(DType type, const uint8_t* p) {
  Block b;
  b.columns = 256;
  b.group = 32;
  b.shifted = b.shift_subtracted = true;
  b.d = load_half(p);
  b.m = load_half(p + 2);
  const uint8_t* s = p + 4;
  for (int j = 0; j < 8; ++j) {
    b.scale[j] = j < 4 ? s[j] % 64 : s[j + 4] % 16 + 16 * (s[j - 4] / 64);
    b.shift[j] = j < 4 ? s[j + 4] % 64 : s[j + 4] / 16 + 16 * (s[j] / 64);
  }
  const uint8_t* fifth = p + 16;
  const uint8_t* low = type == DType::kQ5_K ? p + 48 : p + 16;
  for (int k = 0; k < 256; ++k) {
    const uint8_t byte = low[k / 64 * 32 + k % 32];
    b.q[k] = k / 32 % 2 == 0 ? byte % 16 : byte / 16;
    if (type == DType::kQ5_K && (fifth[k % 32] >> (k / 32) & 1)) b.q[k] += 16;
  }
  return b;
}

Block block_of_q6_k(const uint8_t* p) {
  Block b;
  b.columns = 256;
  b.group = 16;
  b.offset = 32;
  b.d = load_half(p + 208);
  for (int j = 0; j < 16; ++j) b.scale[j] = static_cast<int8_t>(p[192 + j]);
  for (int half = 0; half < 2; ++half) {
    for (int l = 0; l < 32; ++l) {
      const uint8_t a = p[64 * half + l], c = p[64 * half + 32 + l], h = p[128 + 32 * half + l];
      int* q = b.q + 128 * half + l;
      q[0] = a % 16 + 16 * (h & 3);
      q[32] = c % 16 + 16 * (h >> 2 & 3);
      q[64] = a / 16 + 16 * (h >> 4 & 3);
      q[96] = c / 16 + 16 * (h >> 6);
    }
  }
  return b;
}

constexpr int kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr int kFp4Levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// IQ4_NL, MXFP4: 32 values; IQ4_XS: 256, with a scale every 32.
Block block_of_levels(DType type, const uint8_t* p) {
  Block b;
  b.columns = b.run = type == DType::kIQ4_XS ? 256 : 32;
  b.group = 32;
  b.scale[0] = 1;
  b.d = type == DType::kMXFP4 ? std::ldexp(1.0f, p[0] - 128) : load_half(p);
  const int* levels = type == DType::kMXFP4 ? kFp4Levels : kIq4Levels;
  for (int j = 0; type == DType::kIQ4_XS && j < 8; ++j) {
    b.scale[j] = (p[4 + j / 2] >> 4 * (j % 2) & 15) + 16 * (load_u16(p + 2) >> 2 * j & 3) - 32;
  }
  p += type == DType::kMXFP4 ? 1 : type == DType::kIQ4_XS ? 8 : 2;
  for (int k = 0; k < b.columns; ++k) b.q[k] = levels[p[k / 32 * 16 + k % 16] >> (k % 32 / 16 * 4) & 15];
  return b;
}

Block block_of_nvfp4(const uint8_t* p) {
  Block b;
  b.columns = 64;
  b.group = b.run = 16;
  b.d = 1.0f;
  for (int j = 0; j < 4; ++j) {
    b.scale[j] = 1;
    b.run_d[j] = p[j] == 0x7f ? 0.0f : 0.5f * e4m3(p[j] & 0x7f);
    if (p[j] == 0xff) b.run_d[j] = 240.0f;  // the sign counts for nothing, NaN is 0x7f alone
  }
  for (int k = 0; k < 64; ++k) b.q[k] = kFp4Levels[p[4 + k / 16 * 8 + k % 8] >> (k % 16 / 8 * 4) & 15];
  return b;
}

bool is_int4_group(DType type) {
  return type == DType::kInt4G32 || type == DType::kInt4G64 || type == DType::kInt4G128;
}

Block block_of_group(DType type, const uint8_t* p) {
  Block b;
  b.columns = b.group = b.run = static_cast<int>(dtype_info(type).block_values);
  b.scale[0] = 1;
  b.d = std::bit_cast<float>(load_u32(p));
  b.offset = p[4];
  for (int k = 0; k < b.columns; ++k) b.q[k] = is_int4_group(type) ? p[8 + k / 2] >> 4 * (k % 2) & 15 : p[8 + k];
  return b;
}

}  // namespace

Block block_of(DType type, const uint8_t* p) {
  if (has_padded_rows(type)) return block_of_group(type, p);
  switch (type) {
    case DType::kNVFP4:
      return block_of_nvfp4(p);
    case DType::kIQ4_NL:
    case DType::kIQ4_XS:
    case DType::kMXFP4:
      return block_of_levels(type, p);
    case DType::kQ2_K:
      return block_of_q2_k(p);
    case DType::kQ3_K:
      return block_of_q3_k(p);
    case DType::kQ4_K:
    case DType::kQ5_K:
      return block_of_k(type, p);
    case DType::kQ6_K:
      return block_of_q6_k(p);
    case DType::kIQ1_S:
    case DType::kIQ1_M:
    case DType::kIQ2_XXS:
    case DType::kIQ2_XS:
    case DType::kIQ2_S:
    case DType::kIQ3_XXS:
    case DType::kIQ3_S:
    case DType::kTQ1_0:
    case DType::kTQ2_0:
      return codebook_block_of(type, p);
    default:
      return block_of_32(type, p);
  }
}

}  // namespace kinglet::ref
