// The 32-value formats, the ternary ones and the 4-bit floats.
#include "formats/decode_blocks.h"

namespace kinglet::blocks {
namespace {

// E2M1 doubled: all levels are integers.
constexpr int8_t kFp4Levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// 2^(e-128), half of what E8M0 means, because the levels are doubled. The two lowest exponents are subnormal.
float half_of_e8m0(uint8_t e) {
  const uint32_t bits = e < 2 ? uint32_t{0x00200000} << e : uint32_t{e - 1u} << 23;
  return std::bit_cast<float>(bits);
}

// Half of an unsigned E4M3 value. Its sign bit carries nothing and its one NaN pattern counts as zero.
float half_of_ue4m3(uint8_t x) {
  if (x == 0x7f) return 0.0f;
  const uint32_t exponent = x >> 3 & 0xfu;
  const auto mantissa = static_cast<float>(x & 7u);
  if (exponent == 0) return mantissa * 0x1p-9f * 0.5f;
  return (1.0f + mantissa / 8.0f) * std::bit_cast<float>((exponent + 120u) << 23) * 0.5f;
}

// Bit `j` of the 32 fifth bits, moved to where it adds 16.
uint32_t fifth_bit(uint32_t high, int j) {
  return (high >> j & 1u) << 4;
}

}  // namespace

void q4_0(const uint8_t* block, float* out) {
  const float d = load_half(block);
  const uint8_t* qs = block + 2;
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>((qs[j] & 15) - 8);
    out[j + 16] = d * static_cast<float>((qs[j] >> 4) - 8);
  }
}

void q4_1(const uint8_t* block, float* out) {
  const float d = load_half(block);
  const float m = load_half(block + 2);
  const uint8_t* qs = block + 4;
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(qs[j] & 15) + m;
    out[j + 16] = d * static_cast<float>(qs[j] >> 4) + m;
  }
}

void q5_0(const uint8_t* block, float* out) {
  const float d = load_half(block);
  const auto high = load<uint32_t>(block + 2);
  const uint8_t* qs = block + 6;
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(static_cast<int>((qs[j] & 15u) | fifth_bit(high, j)) - 16);
    out[j + 16] = d * static_cast<float>(static_cast<int>((qs[j] >> 4) | fifth_bit(high, j + 16)) - 16);
  }
}

void q5_1(const uint8_t* block, float* out) {
  const float d = load_half(block);
  const float m = load_half(block + 2);
  const auto high = load<uint32_t>(block + 4);
  const uint8_t* qs = block + 8;
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>((qs[j] & 15u) | fifth_bit(high, j)) + m;
    out[j + 16] = d * static_cast<float>((qs[j] >> 4) | fifth_bit(high, j + 16)) + m;
  }
}

void q8_0(const uint8_t* block, float* out) {
  const float d = load_half(block);
  for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(static_cast<int8_t>(block[2 + j]));
}

void tq1_0(const uint8_t* block, float* out) {
  // Five ternary digits a byte, as a fraction of 256: multiplying by 3^n (modulo 256) brings digit n to the front.
  constexpr uint8_t kPowers[5] = {1, 3, 9, 27, 81};
  const float d = load_half(block + 52);
  const auto unpack = [&](const uint8_t* bytes, int count, int digits) {
    for (int n = 0; n < digits; ++n) {
      for (int j = 0; j < count; ++j) {
        const auto fraction = static_cast<uint8_t>(bytes[j] * kPowers[n]);
        *out++ = d * static_cast<float>((fraction * 3 >> 8) - 1);
      }
    }
  };
  unpack(block, 32, 5);
  unpack(block + 32, 16, 5);
  unpack(block + 48, 4, 4);
}

void tq2_0(const uint8_t* block, float* out) {
  const float d = load_half(block + 64);
  for (int half = 0; half < 2; ++half) {
    for (int shift = 0; shift < 8; shift += 2) {
      for (int l = 0; l < 32; ++l) *out++ = d * static_cast<float>((block[32 * half + l] >> shift & 3) - 1);
    }
  }
}

void mxfp4(const uint8_t* block, float* out) {
  const float d = half_of_e8m0(block[0]);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(kFp4Levels[block[1 + j] & 15]);
    out[j + 16] = d * static_cast<float>(kFp4Levels[block[1 + j] >> 4]);
  }
}

void nvfp4(const uint8_t* block, float* out) {
  for (int group = 0; group < 4; ++group) {
    const float d = half_of_ue4m3(block[group]);
    const uint8_t* qs = block + 4 + 8 * group;
    for (int j = 0; j < 8; ++j) {
      out[16 * group + j] = d * static_cast<float>(kFp4Levels[qs[j] & 15]);
      out[16 * group + j + 8] = d * static_cast<float>(kFp4Levels[qs[j] >> 4]);
    }
  }
}

}  // namespace kinglet::blocks
