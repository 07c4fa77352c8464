// The groups of Hugging Face checkpoints' quantised weights, as base/dtype.h lays them out.
#include <limits>

#include "formats/decode_blocks.h"

namespace kinglet::blocks {
namespace {

// The levels of NF4: quantiles of the normal distribution, as in bitsandbytes (Dettmers et al. 2023, appendix E).
constexpr float kNf4Levels[16] = {-1.0f,
                                  -0.6961928009986877f,
                                  -0.5250730514526367f,
                                  -0.39491748809814453f,
                                  -0.28444138169288635f,
                                  -0.18477343022823334f,
                                  -0.09105003625154495f,
                                  0.0f,
                                  0.07958029955625534f,
                                  0.16093020141124725f,
                                  0.24611230194568634f,
                                  0.33791524171829224f,
                                  0.44070982933044434f,
                                  0.5626170039176941f,
                                  0.7229568362236023f,
                                  1.0f};

int nibble_of(const uint8_t* q, int k) {
  return q[k / 2] >> 4 * (k % 2) & 15;
}

template <int kGroup>
void int4(const uint8_t* block, float* out) {
  const auto scale = load<float>(block);
  for (int k = 0; k < kGroup; ++k) out[k] = static_cast<float>(nibble_of(block + 8, k) - block[4]) * scale;
}

template <int kGroup>
void int8(const uint8_t* block, float* out) {
  const auto scale = load<float>(block);
  for (int k = 0; k < kGroup; ++k) out[k] = static_cast<float>(block[8 + k] - block[4]) * scale;
}

}  // namespace

std::span<const float, 16> nf4_levels() {
  return kNf4Levels;
}

float e4m3(uint8_t x) {
  const uint32_t exponent = x >> 3 & 15u;
  const auto mantissa = static_cast<float>(x & 7u);
  float magnitude =
      exponent == 0 ? mantissa * 0x1p-9f : (1.0f + mantissa / 8.0f) * std::bit_cast<float>((exponent + 120u) << 23);
  if ((x & 0x7f) == 0x7f) magnitude = std::numeric_limits<float>::quiet_NaN();
  return x & 0x80 ? -magnitude : magnitude;
}

void fp8_g128(const uint8_t* block, float* out) {
  const auto scale = load<float>(block);
  for (int k = 0; k < 128; ++k) out[k] = e4m3(block[4 + k]) * scale;
}

void int4_g32(const uint8_t* block, float* out) {
  int4<32>(block, out);
}
void int4_g64(const uint8_t* block, float* out) {
  int4<64>(block, out);
}
void int4_g128(const uint8_t* block, float* out) {
  int4<128>(block, out);
}
void int8_g32(const uint8_t* block, float* out) {
  int8<32>(block, out);
}
void int8_g64(const uint8_t* block, float* out) {
  int8<64>(block, out);
}
void int8_g128(const uint8_t* block, float* out) {
  int8<128>(block, out);
}

void nf4_g64(const uint8_t* block, float* out) {
  const auto absmax = load<float>(block);
  for (int k = 0; k < 64; ++k) out[k] = kNf4Levels[nibble_of(block + 4, k)] * absmax;
}

}  // namespace kinglet::blocks
