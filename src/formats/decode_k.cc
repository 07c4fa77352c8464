// The K formats: 256 values with scales that are quantised themselves.
#include "formats/decode_blocks.h"

namespace kinglet::blocks {
namespace {

// Six-bit scale and minimum of sub-block j (0..7) out of the twelve bytes that Q4_K and Q5_K share.
struct ScaleMin {
  float scale, minimum;
};
ScaleMin scale_min(const uint8_t* s, int j) {
  if (j < 4) return {static_cast<float>(s[j] & 63), static_cast<float>(s[j + 4] & 63)};
  return {static_cast<float>((s[j + 4] & 15) | (s[j - 4] >> 6) << 4),
          static_cast<float>(s[j + 4] >> 4 | (s[j] >> 6) << 4)};
}

}  // namespace

void q2_k(const uint8_t* block, float* out) {
  const uint8_t* scales = block;
  const uint8_t* qs = block + 16;
  const float d = load_half(block + 80);
  const float dmin = load_half(block + 82);
  for (int group = 0; group < 16; ++group) {
    const float dl = d * static_cast<float>(scales[group] & 15);
    const float ml = dmin * static_cast<float>(scales[group] >> 4);
    const uint8_t* q = qs + 32 * (group / 8) + 16 * (group % 2);
    const int shift = group / 2 % 4 * 2;
    for (int l = 0; l < 16; ++l) out[16 * group + l] = dl * static_cast<float>(q[l] >> shift & 3) - ml;
  }
}

void q3_k(const uint8_t* block, float* out) {
  const uint8_t* high = block;
  const uint8_t* qs = block + 32;
  const uint8_t* scales = block + 96;
  const float d = load_half(block + 108);
  for (int group = 0; group < 16; ++group) {
    const int low4 = group < 8 ? scales[group] & 15 : scales[group - 8] >> 4;
    const int high2 = scales[8 + group % 4] >> group / 4 * 2 & 3;
    const float dl = d * static_cast<float>((low4 | high2 << 4) - 32);
    const int first = 16 * (group % 2);
    const uint8_t* q = qs + 32 * (group / 8) + first;
    const int shift = group / 2 % 4 * 2;
    const int bit = group / 2;
    for (int l = 0; l < 16; ++l) {
      const int missing = (high[first + l] >> bit & 1) ? 0 : 4;  // a set bit stands for no offset
      out[16 * group + l] = dl * static_cast<float>((q[l] >> shift & 3) - missing);
    }
  }
}

void q4_k(const uint8_t* block, float* out) {
  const float d = load_half(block);
  const float dmin = load_half(block + 2);
  for (int j = 0; j < 8; ++j) {
    const ScaleMin sub = scale_min(block + 4, j);
    const float dl = d * sub.scale;
    const float ml = dmin * sub.minimum;
    const uint8_t* q = block + 16 + 32 * (j / 2);
    const int shift = 4 * (j % 2);
    for (int l = 0; l < 32; ++l) out[32 * j + l] = dl * static_cast<float>(q[l] >> shift & 15) - ml;
  }
}

void q5_k(const uint8_t* block, float* out) {
  const float d = load_half(block);
  const float dmin = load_half(block + 2);
  const uint8_t* high = block + 16;
  for (int j = 0; j < 8; ++j) {
    const ScaleMin sub = scale_min(block + 4, j);
    const float dl = d * sub.scale;
    const float ml = dmin * sub.minimum;
    const uint8_t* q = block + 48 + 32 * (j / 2);
    const int shift = 4 * (j % 2);
    for (int l = 0; l < 32; ++l) {
      const int value = (q[l] >> shift & 15) | (high[l] >> j & 1) << 4;
      out[32 * j + l] = dl * static_cast<float>(value) - ml;
    }
  }
}

void q6_k(const uint8_t* block, float* out) {
  const uint8_t* scales = block + 192;
  const float d = load_half(block + 208);
  for (int group = 0; group < 16; ++group) {
    const float dl = d * static_cast<float>(static_cast<int8_t>(scales[group]));
    // Within a half: 64 low nibbles, then the same bytes' high nibbles; two more bits from a quarter as many bytes.
    const int half = group / 8;
    const int in_half = 16 * (group % 8);
    const uint8_t* low = block + 64 * half + in_half % 64;
    const uint8_t* high = block + 128 + 32 * half + in_half % 32;
    const int low_shift = in_half / 64 * 4;
    const int high_shift = in_half / 32 * 2;
    for (int l = 0; l < 16; ++l) {
      const int value = (low[l] >> low_shift & 15) | (high[l] >> high_shift & 3) << 4;
      out[16 * group + l] = dl * static_cast<float>(value - 32);
    }
  }
}

}  // namespace kinglet::blocks
