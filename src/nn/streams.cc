// Hyper-connections (DeepSeek-V4; transformers models/deepseek_v4): the residual stream is several copies wide. A block
// reads a mixture of them, and its result and another mixture of them become the streams behind it; the weights of all
// mixtures come from the streams themselves.
#include <cstring>

#include "nn/forward_pass.h"

namespace kinglet {
namespace {

StreamParams stream_params(const ModelSpec& spec) {
  return {spec.streams, spec.stream_iterations, static_cast<float>(spec.stream_epsilon)};
}

Slot next(Slot slot, int by) {
  return static_cast<Slot>(static_cast<int>(slot) + by);
}

}  // namespace

// The embedding, [tokens][width] at the front of the residual, into every stream: from the last token on, so that none
// is overwritten before it was copied.
void ForwardPass::spread_streams() {
  const int64_t width = spec_.width;
  const size_t bytes = static_cast<size_t>(width) * sizeof(float);
  for (int64_t t = tokens_ - 1; t >= 0; t--)
    for (int64_t s = spec_.streams - 1; s >= 0; s--)
      if (t + s > 0) std::memmove(residual() + (t * spec_.streams + s) * width, residual() + t * width, bytes);
}

// `streams` names the matrix; base and scale follow it.
const float* ForwardPass::block_input(size_t layer, Slot streams) {
  if (spec_.streams == 1) return residual();
  const SlotWeights& w = weights(layer);
  const int64_t all = spec_.streams * spec_.width, count = stream_weights(spec_.streams);
  float* normed_streams = work_.scratch.take(tokens_, all);
  float* logits = work_.scratch.take(tokens_, count);
  float* input = work_.scratch.take(tokens_, spec_.width);
  rms_norm(compute_, residual(), all, nullptr, epsilon(), tokens_, all, normed_streams, all);
  set_input(normed_streams, all);
  product(w.matrix(streams), logits);
  weigh_streams(compute_, stream_params(spec_), logits, count, w.vector(next(streams, 2)).data(),
                w.vector(next(streams, 1)).data(), tokens_);
  collapse_streams(compute_, spec_.streams, residual(), logits, count, tokens_, spec_.width, input, spec_.width);
  stream_weights_ = logits;
  return input;
}

void ForwardPass::mix_into_streams() {
  mix_streams(compute_, spec_.streams, residual(), stream_weights_, stream_weights(spec_.streams), branch(),
              spec_.width, tokens_, spec_.width);
}

// The rows whose logits are wanted become one stream again.
void ForwardPass::collapse_selected(int64_t rows) {
  const SlotWeights& w = model_.weights.model;
  const int64_t streams = spec_.streams, all = streams * spec_.width;
  float* x = work_.selected.as<float>();
  work_.scratch.clear();
  float* normed_streams = work_.scratch.take(rows, all);
  float* logits = work_.scratch.take(rows, streams);
  float* collapsed = work_.scratch.take(rows, spec_.width);
  rms_norm(compute_, x, all, nullptr, epsilon(), rows, all, normed_streams, all);
  work_.input.set(normed_streams, rows, all, all);
  linear(compute_, model_.options.compute, w.matrix(Slot::kHeadStreams), work_.input, logits, streams);
  gate_streams(compute_, stream_params(spec_), logits, streams, w.vector(Slot::kHeadStreamsScale).front(),
               w.vector(Slot::kHeadStreamsBase).data(), rows);
  collapse_streams(compute_, streams, x, logits, streams, rows, spec_.width, collapsed, spec_.width);
  std::memcpy(x, collapsed, static_cast<size_t>(rows * spec_.width) * sizeof(float));
}

}  // namespace kinglet
