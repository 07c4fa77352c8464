// The IQ formats: groups of four or eight values are indices into a codebook (iq_grids.h).
#include "base/iq_grids.h"
#include "formats/decode_blocks.h"

namespace kinglet::blocks {
namespace {

// out[i] = (db * point[i]) * sign of bit i.
template <size_t kDimensions>
void put_signed(const std::array<int8_t, kDimensions>& point, uint32_t signs, float db, float* out) {
  for (size_t i = 0; i < kDimensions; ++i) {
    out[i] = db * static_cast<float>(point[i]) * (signs >> i & 1u ? -1.0f : 1.0f);
  }
}

void put_shifted(const std::array<int8_t, 8>& point, float delta, float dl, float* out) {
  for (size_t i = 0; i < 8; ++i) out[i] = dl * (static_cast<float>(point[i]) + delta);
}

// Four-bit scale number `i` of a list of nibbles, low nibble first.
uint32_t nibble(const uint8_t* bytes, int i) {
  return bytes[i / 2] >> 4 * (i % 2) & 15u;
}

}  // namespace

void iq2_xxs(const uint8_t* block, float* out) {
  const float d = load_half(block);
  for (int sub = 0; sub < 8; ++sub) {
    const uint8_t* indices = block + 2 + 8 * sub;
    const auto tail = load<uint32_t>(indices + 4);  // four times seven sign bits, then the scale
    const float db = d * (0.5f + static_cast<float>(tail >> 28)) * 0.25f;
    for (int l = 0; l < 4; ++l) {
      put_signed(kIq2XxsGrid[indices[l]], with_parity(tail >> 7 * l & 0x7fu), db, out + 32 * sub + 8 * l);
    }
  }
}

void iq2_xs(const uint8_t* block, float* out) {
  const float d = load_half(block);
  const uint8_t* scales = block + 66;
  for (int group = 0; group < 32; ++group) {
    const float db = d * (0.5f + static_cast<float>(nibble(scales, group / 2))) * 0.25f;
    const auto q = load<uint16_t>(block + 2 + 2 * group);
    put_signed(kIq2XsGrid[q & 511u], with_parity(q >> 9), db, out + 8 * group);
  }
}

void iq2_s(const uint8_t* block, float* out) {
  const float d = load_half(block);
  const uint8_t* qs = block + 2;
  const uint8_t* signs = block + 34;
  const uint8_t* high = block + 66;
  const uint8_t* scales = block + 74;
  for (int group = 0; group < 32; ++group) {
    const float db = d * (0.5f + static_cast<float>(nibble(scales, group / 2))) * 0.25f;
    const uint32_t index = qs[group] | (high[group / 4] >> 2 * (group % 4) & 3u) << 8;
    put_signed(kIq2SGrid[index], signs[group], db, out + 8 * group);
  }
}

void iq3_xxs(const uint8_t* block, float* out) {
  const float d = load_half(block);
  for (int sub = 0; sub < 8; ++sub) {
    const auto tail = load<uint32_t>(block + 66 + 4 * sub);  // as in IQ2_XXS
    const float db = d * (0.5f + static_cast<float>(tail >> 28)) * 0.5f;
    for (int l = 0; l < 8; ++l) {
      const uint32_t signs = with_parity(tail >> 7 * (l / 2) & 0x7fu) >> 4 * (l % 2);
      put_signed(kIq3XxsGrid[block[2 + 8 * sub + l]], signs, db, out + 32 * sub + 4 * l);
    }
  }
}

void iq3_s(const uint8_t* block, float* out) {
  const float d = load_half(block);
  const uint8_t* qs = block + 2;
  const uint8_t* high = block + 66;
  const uint8_t* signs = block + 74;
  const uint8_t* scales = block + 106;
  for (int group = 0; group < 64; ++group) {
    const float db = d * static_cast<float>(1 + 2 * nibble(scales, group / 8));
    const uint32_t index = qs[group] | (high[group / 8] >> group % 8 & 1u) << 8;
    put_signed(kIq3SGrid[index], signs[group / 2] >> 4 * (group % 2), db, out + 4 * group);
  }
}

void iq1_s(const uint8_t* block, float* out) {
  const float d = load_half(block);
  const uint8_t* qs = block + 2;
  for (int sub = 0; sub < 8; ++sub) {
    const auto high = load<uint16_t>(block + 34 + 2 * sub);
    const float dl = d * static_cast<float>(2 * (high >> 12 & 7) + 1);
    const float delta = high & 0x8000 ? -0.125f : 0.125f;
    for (int l = 0; l < 4; ++l) {
      const uint32_t index = qs[4 * sub + l] | (high >> 3 * l & 7u) << 8;
      put_shifted(kIq1Grid[index], delta, dl, out + 32 * sub + 8 * l);
    }
  }
}

void iq1_m(const uint8_t* block, float* out) {
  const uint8_t* qs = block;
  const uint8_t* high = block + 32;
  uint16_t words[4];  // the top nibbles are the half-precision scale, the rest four three-bit scales each
  std::memcpy(words, block + 48, sizeof words);
  const float d = half_to_float(
      static_cast<uint16_t>(words[0] >> 12 | (words[1] >> 12) << 4 | (words[2] >> 12) << 8 | (words[3] >> 12) << 12));
  for (int group = 0; group < 32; ++group) {
    const uint32_t q = nibble(high, group);
    const float dl = d * static_cast<float>(2 * (words[group / 8] >> 3 * (group / 2 % 4) & 7) + 1);
    put_shifted(kIq1Grid[qs[group] | (q & 7u) << 8], q & 8u ? -0.125f : 0.125f, dl, out + 8 * group);
  }
}

void iq4_nl(const uint8_t* block, float* out) {
  const float d = load_half(block);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(kIq4Levels[block[2 + j] & 15]);
    out[j + 16] = d * static_cast<float>(kIq4Levels[block[2 + j] >> 4]);
  }
}

void iq4_xs(const uint8_t* block, float* out) {
  const float d = load_half(block);
  const auto scales_high = load<uint16_t>(block + 2);
  for (int sub = 0; sub < 8; ++sub) {
    const int scale = static_cast<int>(nibble(block + 4, sub) | (scales_high >> 2 * sub & 3u) << 4);
    const float dl = d * static_cast<float>(scale - 32);
    const uint8_t* q = block + 8 + 16 * sub;
    for (int j = 0; j < 16; ++j) {
      out[32 * sub + j] = dl * static_cast<float>(kIq4Levels[q[j] & 15]);
      out[32 * sub + j + 16] = dl * static_cast<float>(kIq4Levels[q[j] >> 4]);
    }
  }
}

}  // namespace kinglet::blocks
