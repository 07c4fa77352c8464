// Attention of one query row to one tile of 256 positions, and the merging of tiles (Milakov & Gimelshein 2018; Dao et
// al. 2022). Everything is a function of the row's visible positions alone: not of the batch, the pages or the other
// rows.
#include <cstring>
#include <limits>

#include "base/half.h"
#include "kernels/kv_layout.h"
#include "kernels/math.h"
#include "kernels/ref/ref.h"

namespace kinglet::ref {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

float load_float(KvType type, const std::byte* elements, int64_t index) {
  if (type == KvType::kF32) return load<float>(elements + index * 4);
  return half_to_float(load<uint16_t>(elements + index * 2));
}

// q·k of row r with one absolute position.
float score(const AttentionTile& tile, int64_t r, int64_t position) {
  const KvLayout& layout = *tile.layout;
  const std::byte* block = k_block(layout, tile.pages, tile.kv_head, position);
  const int64_t lane = position % kKvBlock, stride = query_stride(layout);
  float sum = 0.0f;
  if (layout.type != KvType::kQ8_0) {
    for (int64_t d = 0; d < layout.head_dim; ++d) {
      sum = exact_fma(load_float(layout.type, block, d * kKvBlock + lane), tile.q[r * stride + d], sum);
    }
    return sum;
  }
  const std::byte* scales = block + stride * kKvBlock;
  for (int64_t g = 0; g < stride / kKvGroup; ++g) {
    int32_t dot = 0;
    for (int64_t d = g * kKvGroup; d < (g + 1) * kKvGroup; ++d) {
      dot += (load<uint8_t>(block + (d / 4 * kKvBlock + lane) * 4 + d % 4) - 128) * tile.q8[r * stride + d];
    }
    const float k_scale = half_to_float(load<uint16_t>(scales + (g * kKvBlock + lane) * 2));
    sum = exact_fma(static_cast<float>(dot), k_scale * tile.q8_scale[r * (stride / kKvGroup) + g], sum);
  }
  return sum;
}

// acc[d] += p * k[position][d] for the dimensions of a value.
void add_key(const AttentionTile& tile, int64_t position, float p, float* acc) {
  const KvLayout& layout = *tile.layout;
  const std::byte* block = k_block(layout, tile.pages, tile.kv_head, position);
  const int64_t lane = position % kKvBlock;
  const std::byte* scales = block + query_stride(layout) * kKvBlock;
  for (int64_t d = 0; d < layout.value_dim; ++d) {
    if (layout.type != KvType::kQ8_0) {
      acc[d] = exact_fma(p, load_float(layout.type, block, d * kKvBlock + lane), acc[d]);
    } else {
      const float scale = half_to_float(load<uint16_t>(scales + (d / kKvGroup * kKvBlock + lane) * 2));
      const int32_t value = load<uint8_t>(block + (d / 4 * kKvBlock + lane) * 4 + d % 4) - 128;
      acc[d] = exact_fma(p * scale, static_cast<float>(value), acc[d]);
    }
  }
}

// acc[d] += p * v[position][d].
void add_value(const AttentionTile& tile, int64_t position, float p, float* acc) {
  const KvLayout& layout = *tile.layout;
  if (layout.values_in_keys) return add_key(tile, position, p, acc);
  const std::byte* area = v_area(layout, tile.pages, tile.kv_head, position);
  const int64_t slot = position % layout.page_positions, stride = v_row_stride(layout);
  if (layout.type != KvType::kQ8_0) {
    for (int64_t d = 0; d < stride; ++d)
      acc[d] = exact_fma(p, load_float(layout.type, area, slot * stride + d), acc[d]);
    return;
  }
  const std::byte* scales = area + v_scales_offset(layout);
  for (int64_t d = 0; d < stride; ++d) {
    const float scale = half_to_float(load<uint16_t>(scales + (d / kKvGroup * layout.page_positions + slot) * 2));
    acc[d] = exact_fma(p * scale, static_cast<float>(load<int8_t>(area + slot * stride + d)), acc[d]);
  }
}

bool sees(const AttentionTile& tile, int64_t r, int64_t i) {
  if (i < tile.first[r] || i >= tile.last[r]) return false;
  return tile.selected == nullptr || (tile.selected[r * kTileWords + i / 64] >> (i % 64) & 1) != 0;
}

void attend_row(const AttentionTile& tile, int64_t r) {
  const int64_t first = tile.first[r], last = tile.last[r], base = tile.tile * kAttentionTile;
  float scores[kAttentionTile];
  float max = -kInfinity;
  for (int64_t i = first; i < last; ++i) {
    if (!sees(tile, r, i)) continue;
    float s = score(tile, r, base + i);
    if (tile.soft_cap != 0.0f) s = tile.soft_cap * tanh_f32(s / tile.soft_cap);
    scores[i] = s;
    max = s > max ? s : max;
  }
  float lanes[16] = {};
  float* acc = tile.acc + r * value_stride(*tile.layout);
  for (int64_t d = 0; d < value_stride(*tile.layout); ++d) acc[d] = 0.0f;
  for (int64_t i = first; i < last; ++i) {
    if (!sees(tile, r, i)) continue;
    const float p = exp_f32(scores[i] - max);
    lanes[i % 16] += p;
    add_value(tile, base + i, p, acc);
  }
  tile.max[r] = max;
  tile.sum[r] = sum_lanes(lanes);
}

}  // namespace

void attention_query(const KvLayout& layout, const float* q, float scale, float* out, int8_t* q8, float* q8_scale,
                     int32_t* q8_offset) {
  const int64_t stride = query_stride(layout);
  for (int64_t d = 0; d < stride; ++d) out[d] = d < layout.head_dim ? q[d] * scale : 0.0f;
  if (layout.type != KvType::kQ8_0) return;
  for (int64_t g = 0; g < stride / kKvGroup; ++g) {
    const float* x = out + g * kKvGroup;
    float most = 0.0f;
    for (int64_t i = 0; i < kKvGroup; ++i) {
      const float magnitude = x[i] < 0.0f ? -x[i] : x[i];
      most = magnitude > most ? magnitude : most;
    }
    // Below the threshold the group counts as zero: its inverse could overflow.
    constexpr float kLeast = 1e-30f, kRoundMagic = 0x1.8p+23f;
    const float inverse = most > kLeast ? 127.0f / most : 0.0f;
    for (int64_t i = 0; i < kKvGroup; ++i) {
      float y = x[i] * inverse;
      y = y > -127.0f ? y : -127.0f;  // NaN too
      y = y < 127.0f ? y : 127.0f;
      q8[g * kKvGroup + i] = static_cast<int8_t>((y + kRoundMagic) - kRoundMagic);
    }
    q8_scale[g] = most / 127.0f;
    q8_offset[g] = 0;
    for (int64_t i = 0; i < kKvGroup; ++i) q8_offset[g] -= 128 * q8[g * kKvGroup + i];
  }
}

void attention_tile(const AttentionTile& tile) {
  for (int64_t r = 0; r < tile.rows; ++r) {
    if (tile.first[r] < tile.last[r]) attend_row(tile, r);
  }
}

void index_tile(const AttentionTile& tile, int64_t positions, const float* weights, float* scores) {
  for (int64_t i = 0; i < positions; ++i) {
    float sum = 0.0f;
    for (int64_t r = 0; r < tile.rows; ++r) {
      const float s = score(tile, r, tile.tile * kAttentionTile + i);
      sum = exact_fma(weights[r], s > 0.0f ? s : 0.0f, sum);
    }
    scores[i] = sum;
  }
}

void tile_scores(const AttentionTile& tile, int64_t positions) {
  for (int64_t r = 0; r < tile.rows; ++r) {
    for (int64_t i = 0; i < positions; ++i)
      tile.scratch[r * kAttentionTile + i] = score(tile, r, tile.tile * kAttentionTile + i);
  }
}

// The state begins as (-infinity, 0, 0), or as (sink, 1, 0) where the head has a sink.
void attention_merge(float* m, float* l, float* a, float max, float sum, const float* acc, int64_t n) {
  const float both = *m > max ? *m : max;
  const float old_weight = exp_f32(*m - both), new_weight = exp_f32(max - both);
  *m = both;
  *l = exact_fma(*l, old_weight, sum * new_weight);
  for (int64_t d = 0; d < n; ++d) a[d] = exact_fma(a[d], old_weight, acc[d] * new_weight);
}

void attention_finish(const float* a, float l, int64_t n, float* out) {
  for (int64_t d = 0; d < n; ++d) out[d] = l == 0.0f ? 0.0f : a[d] / l;
}

}  // namespace kinglet::ref
