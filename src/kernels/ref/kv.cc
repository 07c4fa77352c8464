#include <cstring>
#include <limits>

#include "base/half.h"
#include "kernels/kv_layout.h"
#include "kernels/ref/ref.h"

namespace kinglet::ref {
namespace {

// To the finite range; NaN to the one quiet NaN.
float saturate(float x, float most) {
  if (x != x) return std::numeric_limits<float>::quiet_NaN();
  x = x < most ? x : most;
  return x > -most ? x : -most;
}

constexpr float kMostHalf = 65504.0f;
constexpr float kMostFloat = std::numeric_limits<float>::max();

void put(std::byte* to, uint16_t half) {
  std::memcpy(to, &half, sizeof half);
}
void put(std::byte* to, float value) {
  std::memcpy(to, &value, sizeof value);
}

// The `n` <= 32 values of a group as int8 with one f16 scale. NaN counts as -127 scales.
uint16_t quantise_group(const float* x, int64_t n, int8_t* q) {
  float most = 0.0f;
  for (int64_t i = 0; i < n; ++i) {
    const float magnitude = x[i] < 0.0f ? -x[i] : x[i];
    most = magnitude > most ? magnitude : most;
  }
  const uint16_t half = float_to_half(saturate(most / 127.0f, kMostHalf));
  const float scale = half_to_float(half);
  for (int64_t i = 0; i < n; ++i) {
    if (scale == 0.0f) {
      q[i] = 0;
      continue;
    }
    constexpr float kRoundMagic = 0x1.8p+23f;
    float y = x[i] / scale;
    y = y > -127.0f ? y : -127.0f;
    y = y < 127.0f ? y : 127.0f;
    q[i] = static_cast<int8_t>((y + kRoundMagic) - kRoundMagic);
  }
  return half;
}

}  // namespace

void store_k(const KvLayout& layout, const float* k, std::byte* area, int64_t slot) {
  std::byte* block = area + slot / kKvBlock * k_block_bytes(layout);
  const int64_t lane = slot % kKvBlock, n = layout.head_dim;
  if (layout.type == KvType::kF32) {
    for (int64_t d = 0; d < n; ++d) put(block + (d * kKvBlock + lane) * 4, saturate(k[d], kMostFloat));
    return;
  }
  if (layout.type == KvType::kF16) {
    for (int64_t d = 0; d < n; ++d) put(block + (d * kKvBlock + lane) * 2, float_to_half(saturate(k[d], kMostHalf)));
    return;
  }
  std::byte* scales = block + round_up(n, kKvGroup) * kKvBlock;
  for (int64_t g = 0; g < n; g += kKvGroup) {
    int8_t q[kKvGroup];
    const int64_t count = n - g < kKvGroup ? n - g : kKvGroup;
    put(scales + (g / kKvGroup * kKvBlock + lane) * 2, quantise_group(k + g, count, q));
    for (int64_t i = 0; i < count; ++i) {
      const int64_t d = g + i;
      block[(d / 4 * kKvBlock + lane) * 4 + d % 4] = static_cast<std::byte>(q[i] + 128);
    }
  }
}

void store_v(const KvLayout& layout, const float* v, std::byte* area, int64_t slot) {
  const int64_t stride = v_row_stride(layout), n = layout.value_dim;
  std::byte* row = area + slot * stride * kv_element_bytes(layout.type);
  if (layout.type == KvType::kF32) {
    for (int64_t d = 0; d < n; ++d) put(row + d * 4, saturate(v[d], kMostFloat));
    return;
  }
  if (layout.type == KvType::kF16) {
    for (int64_t d = 0; d < n; ++d) put(row + d * 2, float_to_half(saturate(v[d], kMostHalf)));
    return;
  }
  std::byte* scales = area + v_scales_offset(layout);
  for (int64_t g = 0; g < n; g += kKvGroup) {
    int8_t q[kKvGroup];
    const int64_t count = n - g < kKvGroup ? n - g : kKvGroup;
    put(scales + (g / kKvGroup * layout.page_positions + slot) * 2, quantise_group(v + g, count, q));
    std::memcpy(row + g, q, static_cast<size_t>(count));
  }
}

}  // namespace kinglet::ref
