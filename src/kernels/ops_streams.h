// Hyper-connections: a residual stream that is several copies wide. A block reads a mixture of the streams, and the
// streams are mixed with its result (manifold-constrained hyper-connections, Xie et al. 2026; DeepSeek-V4). And rotary
// embeddings whose pairs stand side by side, as that model needs them on results of attention. As in ops.h, each has
// one meaning for every instruction set and number of threads; these are plain code that no compiler contracts
// (docs/numerics-rows.md fixes the arithmetic).
#pragma once

#include <cstdint>

#include "kernels/ops.h"

namespace kinglet {

inline constexpr int64_t kMostStreams = 16;

// Weights of a block's streams, a token: n that the block's input is mixed by, n that its result is added by, and a
// matrix [from][to] that the streams themselves are mixed by, whose rows and columns add up to one.
constexpr int64_t stream_weights(int64_t streams) {
  return (2 + streams) * streams;
}

struct StreamParams {
  int64_t streams = 0;     // n <= kMostStreams
  int64_t iterations = 1;  // of Sinkhorn's normalisation, at least 1
  float epsilon = 0.0f;
};

// w[t][i] = sigmoid(w[t][i] * scale + base[i]) + epsilon, i < streams: the weights of an input alone.
void gate_streams(const Compute& compute, const StreamParams& params, float* w, int64_t ld, float scale,
                  const float* base, int64_t tokens);

// Logits [tokens][stream_weights] become weights in place: the first n as gate_streams has it, n times
// 2 sigmoid(logit * scale[1] + base), and of each row of the matrix the softmax of logit * scale[2] + base, + epsilon,
// normalised: columns first, then rows and columns in turn. base is [stream_weights].
void weigh_streams(const Compute& compute, const StreamParams& params, float* w, int64_t ld, const float* scale,
                   const float* base, int64_t tokens);

// y[t] = sum over streams s in order of w[t][s] * x[t][s], rows of `width` floats; x is [tokens][streams][width].
void collapse_streams(const Compute& compute, int64_t streams, const float* x, const float* w, int64_t ldw,
                      int64_t tokens, int64_t width, float* y, int64_t ldy);

// x[t][d] = w_result[d] * y[t] + sum over s in order of matrix[s][d] * x[t][s]; w as weigh_streams left it.
void mix_streams(const Compute& compute, int64_t streams, float* x, const float* w, int64_t ldw, const float* y,
                 int64_t ldy, int64_t tokens, int64_t width);

// Rotates pairs (x[2p], x[2p + 1]) of each head of each token in place, by the position's angles or back by them. x
// points to the first rotated dimension; heads are head_dim floats apart.
enum class Rotation { kForward, kBack };
void rope_pairs(const Compute& compute, const RopeTable& table, const int32_t* positions, Rotation rotation, float* x,
                int64_t ld, int64_t tokens, int64_t heads, int64_t head_dim);

}  // namespace kinglet
