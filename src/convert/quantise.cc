// The layouts of the packed types, written. formats/decode_*.cc read the same.
#include "convert/quantise.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/half.h"
#include "base/iq_grids.h"
#include "convert/fit.h"

namespace kinglet::convert {
namespace {

using Levels = std::array<int8_t, kMostValues>;
using Encoder = void (*)(const Samples& samples, uint8_t* out);

template <class T>
void put(uint8_t* at, T value) {
  std::memcpy(at, &value, sizeof value);
}
void put_half(uint8_t* at, float value) {
  put(at, float_to_half(value));
}

// Two levels a byte: value j low and value j + 16 high, for each run of 32. `code` gives 0..15.
template <class Code>
void put_nibbles(uint8_t* at, const int8_t* levels, int count, const Code& code) {
  for (int base = 0; base < count; base += 32)
    for (int j = 0; j < 16; ++j)
      *at++ = static_cast<uint8_t>(code(levels[base + j]) | code(levels[base + j + 16]) << 4);
}

// One bit a value, value j in bit j.
uint32_t bit_row(const Levels& levels, int offset, int bit) {
  uint32_t row = 0;
  for (size_t j = 0; j < 32; ++j) row |= static_cast<uint32_t>((levels[j] + offset) >> bit & 1) << j;
  return row;
}

Levels scaled_levels(const Samples& samples, const Grid& grid, Affine a) {
  Levels levels;
  levels_of(samples, grid, a, levels.data());
  return levels;
}

template <int kOffset, int kBits>
void q_scale(const Samples& samples, uint8_t* out) {
  const Grid grid = integers(-kOffset, kOffset - 1);
  const float scale = fit_scale(samples, grid);
  const Levels levels = scaled_levels(samples, grid, {scale, 0});
  put_half(out, scale);
  if constexpr (kBits == 8) {
    std::memcpy(out + 2, levels.data(), 32);
  } else {
    if constexpr (kBits == 5) put(out + 2, bit_row(levels, kOffset, 4));
    put_nibbles(out + (kBits == 5 ? 6 : 2), levels.data(), 32, [](int level) { return (level + kOffset) & 15; });
  }
}

template <int kBits>
void q_affine(const Samples& samples, uint8_t* out) {
  const Grid grid = integers(0, (1 << kBits) - 1);
  const Affine a = fit_affine(samples, grid);
  const Levels levels = scaled_levels(samples, grid, a);
  put_half(out, a.scale);
  put_half(out + 2, -a.minimum);
  if constexpr (kBits == 5) put(out + 4, bit_row(levels, 0, 4));
  put_nibbles(out + (kBits == 5 ? 8 : 4), levels.data(), 32, [](int level) { return level & 15; });
}

const Grid& iq4_grid() {
  static const Grid grid = codebook(kIq4Levels);
  return grid;
}
int iq4_code(int level) {
  return static_cast<int>(std::lower_bound(kIq4Levels.begin(), kIq4Levels.end(), level) - kIq4Levels.begin());
}

void iq4_nl(const Samples& samples, uint8_t* out) {
  const float scale = fit_scale(samples, iq4_grid());
  put_half(out, scale);
  put_nibbles(out + 2, scaled_levels(samples, iq4_grid(), {scale, 0}).data(), 32, iq4_code);
}

void iq4_xs(const Samples& samples, uint8_t* out) {
  const SuperBlock block = fit_super_scales(samples, iq4_grid(), 8, -32, 31);
  put(out, block.scale);
  uint16_t high = 0;
  std::memset(out + 4, 0, 4);
  for (size_t j = 0; j < 8; ++j) {
    const int stored = block.scales[j] + 32;
    out[4 + j / 2] = static_cast<uint8_t>(out[4 + j / 2] | (stored & 15) << 4 * (j % 2));
    high = static_cast<uint16_t>(high | (stored >> 4) << 2 * j);
  }
  put(out + 2, high);
  put_nibbles(out + 8, block.levels.data(), 256, iq4_code);
}

// Doubled E2M1 levels and a power of two. Codes 8 to 15 are the negative levels; -0 is not used.
constexpr std::array<int8_t, 15> kFp4 = {-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12};
int fp4_code(int level) {
  const auto at = static_cast<int>(std::lower_bound(kFp4.begin(), kFp4.end(), level) - kFp4.begin());
  return at >= 7 ? at - 7 : 15 - at;
}

void mxfp4(const Samples& samples, uint8_t* out) {
  static const Grid grid = codebook(kFp4);
  // Exponents from the one that leaves the largest value at the grid's last level, one coarser and two finer.
  float top = 0;
  for (int i = 0; i < samples.count; ++i) top = std::max(top, samples.x[i] < 0 ? -samples.x[i] : samples.x[i]);
  const int exponent = static_cast<int>(std::bit_cast<uint32_t>(top) >> 23);
  float best_scale = 0, least = 0;
  int best = 0;
  for (int stored = std::max(exponent - 4, 2); stored <= std::min(exponent + 1, 254); ++stored) {
    const float scale = std::bit_cast<float>(static_cast<uint32_t>(stored - 1) << 23);  // 2^(stored - 128)
    const float error = error_of(samples, grid, {scale, 0});
    if (best == 0 || error < least) best = stored, least = error, best_scale = scale;
  }
  out[0] = static_cast<uint8_t>(best);
  put_nibbles(out + 1, scaled_levels(samples, grid, {best_scale, 0}).data(), 32, fp4_code);
}

void q2_k(const Samples& samples, uint8_t* out) {
  const SuperBlock block = fit_super_affine(samples, integers(0, 3), 16, 15);
  for (size_t j = 0; j < 16; ++j) out[j] = static_cast<uint8_t>(block.scales[j] | block.minimums[j] << 4);
  std::memset(out + 16, 0, 64);
  for (int i = 0; i < 256; ++i) {
    uint8_t& byte = out[16 + 32 * (i / 128) + i % 32];
    byte = static_cast<uint8_t>(byte | block.levels[static_cast<size_t>(i)] << 2 * (i / 32 % 4));
  }
  put(out + 80, block.scale);
  put(out + 82, block.minimum);
}

void q3_k(const Samples& samples, uint8_t* out) {
  const SuperBlock block = fit_super_scales(samples, integers(-4, 3), 16, -32, 31);
  std::memset(out, 0, 110);
  for (int i = 0; i < 256; ++i) {
    const int level = block.levels[static_cast<size_t>(i)] + 4;
    uint8_t& low = out[32 + 32 * (i / 128) + i % 32];
    low = static_cast<uint8_t>(low | (level & 3) << 2 * (i / 32 % 4));
    out[i % 32] = static_cast<uint8_t>(out[i % 32] | (level >> 2) << i / 32);
  }
  for (int j = 0; j < 16; ++j) {
    const int scale = block.scales[static_cast<size_t>(j)] + 32;
    uint8_t& low = out[96 + j % 8];
    low = static_cast<uint8_t>(low | (scale & 15) << 4 * (j / 8));
    uint8_t& high = out[104 + j % 4];
    high = static_cast<uint8_t>(high | (scale >> 4) << 2 * (j / 4));
  }
  put(out + 108, block.scale);
}

// The eight six-bit scales and minimums that Q4_K and Q5_K keep in twelve bytes.
void put_scales_and_minimums(uint8_t* at, const SuperBlock& block) {
  std::memset(at, 0, 12);
  for (size_t j = 0; j < 4; ++j) {
    at[j] = static_cast<uint8_t>(block.scales[j] | (block.scales[j + 4] >> 4) << 6);
    at[j + 4] = static_cast<uint8_t>(block.minimums[j] | (block.minimums[j + 4] >> 4) << 6);
    at[j + 8] = static_cast<uint8_t>((block.scales[j + 4] & 15) | (block.minimums[j + 4] & 15) << 4);
  }
}

// Q4_K and Q5_K pair value j with value j + 32 of each run of 64.
void put_wide_nibbles(uint8_t* at, const Levels& levels) {
  for (size_t base = 0; base < 256; base += 64)
    for (size_t j = 0; j < 32; ++j)
      *at++ = static_cast<uint8_t>((levels[base + j] & 15) | (levels[base + j + 32] & 15) << 4);
}

template <int kBits>
void q_k(const Samples& samples, uint8_t* out) {
  const SuperBlock block = fit_super_affine(samples, integers(0, (1 << kBits) - 1), 8, 63);
  put(out, block.scale);
  put(out + 2, block.minimum);
  put_scales_and_minimums(out + 4, block);
  put_wide_nibbles(out + (kBits == 5 ? 48 : 16), block.levels);
  if constexpr (kBits == 5) {
    std::memset(out + 16, 0, 32);
    for (size_t i = 0; i < 256; ++i)
      out[16 + i % 32] = static_cast<uint8_t>(out[16 + i % 32] | (block.levels[i] >> 4) << i / 32);
  }
}

void q6_k(const Samples& samples, uint8_t* out) {
  const SuperBlock block = fit_super_scales(samples, integers(-32, 31), 16, -128, 127);
  std::memset(out, 0, 192);
  for (int i = 0; i < 256; ++i) {
    const int level = block.levels[static_cast<size_t>(i)] + 32, half = i / 128, within = i % 128;
    uint8_t& low = out[64 * half + within % 64];
    low = static_cast<uint8_t>(low | (level & 15) << 4 * (within / 64));
    uint8_t& high = out[128 + 32 * half + within % 32];
    high = static_cast<uint8_t>(high | (level >> 4) << 2 * (within / 32));
  }
  for (size_t j = 0; j < 16; ++j) out[192 + j] = static_cast<uint8_t>(block.scales[j]);
  put(out + 208, block.scale);
}

// clang-format off: one line a type
Encoder encoder_of(DType type) {
  switch (type) {
    case DType::kQ4_0: return q_scale<8, 4>;
    case DType::kQ5_0: return q_scale<16, 5>;
    case DType::kQ8_0: return q_scale<128, 8>;
    case DType::kQ4_1: return q_affine<4>;
    case DType::kQ5_1: return q_affine<5>;
    case DType::kQ2_K: return q2_k;
    case DType::kQ3_K: return q3_k;
    case DType::kQ4_K: return q_k<4>;
    case DType::kQ5_K: return q_k<5>;
    case DType::kQ6_K: return q6_k;
    case DType::kIQ4_NL: return iq4_nl;
    case DType::kIQ4_XS: return iq4_xs;
    case DType::kMXFP4: return mxfp4;
    default: return nullptr;
  }
}
// clang-format on

// Columns that no text ever used keep a trace of importance, so that their values stay what they are.
constexpr float kLeastImportance = 1e-6f;

void weights_of_block(const float* importance, float least, int count, float* out) {
  for (int i = 0; i < count; ++i) out[i] = importance ? std::max(importance[i], least) : 1.0f;
}

void write_floats(DType type, const float* row, int64_t values, std::byte* out) {
  if (type == DType::kF32) {
    std::memcpy(out, row, static_cast<size_t>(values) * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < values; ++i) {
    const uint16_t bits = type == DType::kF16 ? float_to_half(row[i]) : float_to_bfloat16(row[i]);
    std::memcpy(out + 2 * i, &bits, sizeof bits);
  }
}

}  // namespace

bool can_quantise(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16 || encoder_of(type) != nullptr;
}

void quantise_row(DType type, const float* row, int64_t values, const float* importance, std::byte* out) {
  KL_CHECK(can_quantise(type), "quantise_row to a type that has no encoder");
  const Encoder encode = encoder_of(type);
  if (encode == nullptr) return write_floats(type, row, values, out);
  const DTypeInfo& info = dtype_info(type);
  KL_CHECK(values % info.block_values == 0, "quantise_row of a part of a block");
  float least = 0;
  if (importance != nullptr) {
    double total = 0;
    for (int64_t i = 0; i < values; ++i) total += static_cast<double>(importance[i]);
    least = total > 0 ? kLeastImportance * static_cast<float>(total / static_cast<double>(values)) : 1.0f;
  }
  const auto count = static_cast<int>(info.block_values);
  std::array<float, kMostValues> weights;
  auto* to = reinterpret_cast<uint8_t*>(out);
  for (int64_t at = 0; at < values; at += count) {
    weights_of_block(importance ? importance + at : nullptr, least, count, weights.data());
    encode({row + at, weights.data(), count}, to);
    to += info.block_bytes;
  }
}

}  // namespace kinglet::convert
