// Prediction layers (MTP; DeepSeek-V3, arXiv 2412.19437, section 2.2): what stands before an ordinary layer that
// predicts one token further, and the states that it reads.
#include "nn/forward_pass.h"

namespace kinglet {

// residual = W [norm(embedding of the token) | norm(state before it)]
void ForwardPass::join_states() {
  const SlotWeights& w = model_.weights.model;
  const int64_t n = spec_.width;
  work_.scratch.clear();
  float* joined = work_.scratch.take(tokens_, 2 * n);
  rms_norm(compute_, residual(), n, w.vector(Slot::kPredictEmbeddingNorm).data(), epsilon(), tokens_, n, joined, 2 * n);
  float* to = joined + n;
  for (const StepSlice& slice : slices_) {
    const auto rows = static_cast<int64_t>(slice.tokens.size());
    KL_CHECK(std::ssize(slice.states) == rows * n, "a prediction layer reads a state for each token");
    rms_norm(compute_, slice.states.data(), n, w.vector(Slot::kPredictStateNorm).data(), epsilon(), rows, n, to, 2 * n);
    to += rows * 2 * n;
  }
  work_.input.set(joined, tokens_, 2 * n, 2 * n);
  linear(compute_, model_.options.compute, w.matrix(Slot::kPredictInput), work_.input, residual(), n);
}

// Of all tokens, as norm_selected() makes those whose logits are wanted.
void ForwardPass::keep_states() {
  KL_CHECK(spec_.streams == 1, "states of one stream are kept");
  float* states = work_.kept_states.as<float>();
  norm(residual(), model_.weights.model.vector(Slot::kOutputNorm), spec_.width, states);
  work_.last_states = {states, static_cast<size_t>(tokens_ * spec_.width)};
}

std::span<const float> Model::last_states() const {
  return state_->work.last_states;
}

}  // namespace kinglet
