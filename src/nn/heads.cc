// What is read out of one state besides logits: labels, and single tokens.
#include "nn/heads.h"

#include "formats/decode.h"
#include "kernels/math.h"
#include "nn/state.h"

namespace kinglet {

float probability_of(float logit) {
  return sigmoid_f32(logit);
}

std::vector<float> Model::classify(std::span<const float> state) {
  const State& s = *state_;
  const SlotWeights& w = s.weights.model;
  const auto dense = [&](Slot matrix, Slot bias, const std::vector<float>& x) {
    const PackedMatrix& m = w.matrix(matrix);
    std::vector<float> y(static_cast<size_t>(m.rows()));
    Activations input;
    input.set(x.data(), 1, m.columns(), m.columns());
    linear(s.compute, s.options.compute, m, input, y.data(), m.rows());
    const std::vector<float>& b = w.vector(bias);
    for (size_t i = 0; i < b.size(); i++) y[i] += b[i];
    return y;
  };
  std::vector<float> x(state.begin(), state.end());
  if (w.has_matrices(Slot::kPooler)) {
    x = dense(Slot::kPooler, Slot::kPoolerBias, x);
    for (float& value : x) value = tanh_f32(value);
  }
  return dense(Slot::kClassifier, Slot::kClassifierBias, x);
}

float Model::token_logit(std::span<const float> state, int32_t token) {
  const BoundTensor* head = state_->bound.find(Slot::kOutput);
  const TensorView& table = *(head != nullptr ? head : state_->bound.find(Slot::kEmbedding))->tensor;
  KL_CHECK(token >= 0 && token < state_->bound.spec.vocabulary, "a token id outside the vocabulary");
  std::vector<float> row(state.size());
  decode_row(table, token, row);
  double sum = 0.0;  // in the order of the dimensions: the same bits everywhere
  for (size_t i = 0; i < row.size(); i++) sum += static_cast<double>(row[i]) * static_cast<double>(state[i]);
  return static_cast<float>(sum);
}

}  // namespace kinglet
