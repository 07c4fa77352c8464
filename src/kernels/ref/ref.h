// The plain definitions of the row kernels, by file: rows.cc, kv.cc, attention.cc. Slow and simple on purpose: what
// they compute is what every instruction set must compute, bit for bit.
#pragma once

#include "kernels/ops.h"
#include "kernels/row_kernels.h"

namespace kinglet::ref {

// Sum of 16 lanes, the fixed tree: lane j with j + 8, then + 4, + 2, + 1. Overwrites the lanes.
inline float sum_lanes(float (&lanes)[16]) {
  for (int step = 8; step >= 1; step /= 2) {
    for (int j = 0; j < step; ++j) lanes[j] += lanes[j + step];
  }
  return lanes[0];
}

void rms_norm(const float* x, const float* weight, float eps, int64_t n, float* y);
void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* y);
void add(float* x, const float* y, int64_t n);
void mix(float alpha, float* x, float beta, const float* y, int64_t n);
void scale(float* x, float factor, int64_t n);
void soft_cap(float* x, float cap, int64_t n);
void activate(Activation act, float* x, int64_t n);
void gated_activation(Activation act, const ActivationParams& params, float* gate, const float* up, int64_t n);
void combine(const float* rows, int64_t ld, const int32_t* row_of, const float* weights, int64_t slots, int64_t n,
             float* out);
void rope_half_split(const float* cos, const float* sin, int64_t half, float* x);
float row_max(const float* x, int64_t n);
float exp_sum(const float* x, float max, int64_t n, float* p);

void store_k(const KvLayout& layout, const float* k, std::byte* area, int64_t slot);
void store_v(const KvLayout& layout, const float* v, std::byte* area, int64_t slot);

void attention_query(const KvLayout& layout, const float* q, float scale, float* out, int8_t* q8, float* q8_scale,
                     int32_t* q8_offset);
void attention_tile(const AttentionTile& tile);
void attention_merge(float* m, float* l, float* a, float max, float sum, const float* acc, int64_t n);
void attention_finish(const float* a, float l, int64_t n, float* out);
void index_tile(const AttentionTile& tile, int64_t positions, const float* weights, float* scores);
void tile_scores(const AttentionTile& tile, int64_t positions);

inline constexpr RowKernels kRowKernels = {
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .add = add,
    .mix = mix,
    .scale = scale,
    .soft_cap = soft_cap,
    .activate = activate,
    .gated_activation = gated_activation,
    .combine = combine,
    .rope_half_split = rope_half_split,
    .store_k = store_k,
    .store_v = store_v,
    .attention_query = attention_query,
    .attention_tile = attention_tile,
    .attention_merge = attention_merge,
    .attention_finish = attention_finish,
    .index_tile = index_tile,
    .tile_scores = tile_scores,
    .row_max = row_max,
    .exp_sum = exp_sum,
};

}  // namespace kinglet::ref
