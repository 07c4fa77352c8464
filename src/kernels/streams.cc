#include "kernels/ops_streams.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/math.h"

namespace kinglet {
namespace {

constexpr int64_t kGrainElements = 16384;  // worth waking another worker for
constexpr int64_t kStretch = 64;           // columns that are mixed at a time, so that results may overwrite inputs

// Divides n values, `step` apart, by their sum + epsilon.
void normalise(float* x, int64_t step, int64_t n, float epsilon) {
  float sum = 0.0f;
  for (int64_t i = 0; i < n; ++i) sum += x[i * step];
  const float divisor = sum + epsilon;
  for (int64_t i = 0; i < n; ++i) x[i * step] = x[i * step] / divisor;
}

void softmax(float* x, int64_t n) {
  const float most = *std::max_element(x, x + n);
  for (int64_t i = 0; i < n; ++i) x[i] = exp_f32(x[i] - most);
  normalise(x, 1, n, 0.0f);
}

void gate(float* w, int64_t n, float scale, const float* base) {
  for (int64_t i = 0; i < n; ++i) w[i] = sigmoid_f32(w[i] * scale + base[i]);
}

// Logits of a matrix [n][n] to one whose rows and columns add up to one (Sinkhorn & Knopp 1967).
void doubly_stochastic(const StreamParams& p, float* w, float scale, const float* base) {
  const int64_t n = p.streams;
  for (int64_t i = 0; i < n * n; ++i) w[i] = w[i] * scale + base[i];
  for (int64_t from = 0; from < n; ++from) softmax(w + from * n, n);
  for (int64_t i = 0; i < n * n; ++i) w[i] += p.epsilon;
  for (int64_t to = 0; to < n; ++to) normalise(w + to, n, n, p.epsilon);
  for (int64_t i = 1; i < p.iterations; ++i) {
    for (int64_t from = 0; from < n; ++from) normalise(w + from * n, 1, n, p.epsilon);
    for (int64_t to = 0; to < n; ++to) normalise(w + to, n, n, p.epsilon);
  }
}

void check_params(const StreamParams& p) {
  KL_CHECK(p.streams > 0 && p.streams <= kMostStreams && p.iterations > 0, "malformed hyper-connections");
}

// Runs body(token) for all tokens, each worth `elements`.
template <class Body>
void for_tokens(const Compute& compute, int64_t tokens, int64_t elements, const Body& body) {
  compute.pool->parallel_for(tokens, std::max<int64_t>(1, kGrainElements / elements), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) body(t);
  });
}

}  // namespace

void gate_streams(const Compute& compute, const StreamParams& params, float* w, int64_t ld, float scale,
                  const float* base, int64_t tokens) {
  check_params(params);
  for_tokens(compute, tokens, 64 * params.streams, [&](int64_t t) {
    float* row = w + t * ld;
    gate(row, params.streams, scale, base);
    for (int64_t i = 0; i < params.streams; ++i) row[i] += params.epsilon;
  });
}

void weigh_streams(const Compute& compute, const StreamParams& params, float* w, int64_t ld, const float* scale,
                   const float* base, int64_t tokens) {
  check_params(params);
  const int64_t n = params.streams;
  for_tokens(compute, tokens, 64 * n * n * params.iterations, [&](int64_t t) {
    float* row = w + t * ld;
    gate(row, n, scale[0], base);
    for (int64_t i = 0; i < n; ++i) row[i] += params.epsilon;
    gate(row + n, n, scale[1], base + n);
    for (int64_t i = n; i < 2 * n; ++i) row[i] *= 2.0f;
    doubly_stochastic(params, row + 2 * n, scale[2], base + 2 * n);
  });
}

void collapse_streams(const Compute& compute, int64_t streams, const float* x, const float* w, int64_t ldw,
                      int64_t tokens, int64_t width, float* y, int64_t ldy) {
  for_tokens(compute, tokens, streams * width, [&](int64_t t) {
    const float *from = x + t * streams * width, *weights = w + t * ldw;
    float* to = y + t * ldy;
    for (int64_t i = 0; i < width; ++i) to[i] = weights[0] * from[i];
    for (int64_t s = 1; s < streams; ++s)
      for (int64_t i = 0; i < width; ++i) to[i] += weights[s] * from[s * width + i];
  });
}

void mix_streams(const Compute& compute, int64_t streams, float* x, const float* w, int64_t ldw, const float* y,
                 int64_t ldy, int64_t tokens, int64_t width) {
  KL_CHECK(streams <= kMostStreams, "more streams than fit");
  for_tokens(compute, tokens, streams * streams * width, [&](int64_t t) {
    float* rows = x + t * streams * width;
    const float *result = y + t * ldy, *by = w + t * ldw + streams, *matrix = by + streams;
    float kept[kMostStreams][kStretch];
    for (int64_t first = 0; first < width; first += kStretch) {
      const int64_t n = std::min(kStretch, width - first);
      for (int64_t s = 0; s < streams; ++s) std::copy_n(rows + s * width + first, n, kept[s]);
      for (int64_t d = 0; d < streams; ++d) {
        float* to = rows + d * width + first;
        for (int64_t i = 0; i < n; ++i) to[i] = by[d] * result[first + i];
        for (int64_t s = 0; s < streams; ++s) {
          const float factor = matrix[s * streams + d];
          for (int64_t i = 0; i < n; ++i) to[i] += factor * kept[s][i];
        }
      }
    }
  });
}

void rope_pairs(const Compute& compute, const RopeTable& table, const int32_t* positions, Rotation rotation, float* x,
                int64_t ld, int64_t tokens, int64_t heads, int64_t head_dim) {
  KL_CHECK(table.rotated <= head_dim, "more rotated dimensions than a head has");
  const int64_t pairs = table.rotated / 2;
  if (pairs == 0) return;
  for_tokens(compute, tokens, heads * table.rotated, [&](int64_t t) {
    const int64_t position = positions[t];
    KL_CHECK(position >= 0 && position < table.positions, "position outside the rotary table");
    const float *cos = table.cos_row(position), *sin = table.sin_row(position);
    const float sign = rotation == Rotation::kBack ? -1.0f : 1.0f;
    for (int64_t h = 0; h < heads; ++h) {
      float* head = x + t * ld + h * head_dim;
      for (int64_t p = 0; p < pairs; ++p) {
        const float a = head[2 * p], b = head[2 * p + 1], s = sign * sin[p];
        head[2 * p] = a * cos[p] - b * s;
        head[2 * p + 1] = b * cos[p] + a * s;
      }
    }
  });
}

}  // namespace kinglet
