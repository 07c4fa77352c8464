#include "nn/pool_states.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace kinglet {

StatePooler::StatePooler(const EmbedOptions& options, int64_t width)
    : options_(options), sum_(static_cast<size_t>(width)), embedding_(static_cast<size_t>(width)) {
  KL_CHECK(options.dimensions >= 0 && options.dimensions <= width, "more dimensions than a state has");
}

void StatePooler::add(std::span<const float> state) {
  KL_CHECK(state.size() == embedding_.size(), "a state of another width");
  const bool first = count_++ == 0;
  if (options_.pooling == Pooling::kMean) {
    for (size_t i = 0; i < state.size(); i++) sum_[i] = (first ? 0.0 : sum_[i]) + static_cast<double>(state[i]);
  } else if (first || options_.pooling == Pooling::kLast) {
    std::copy(state.begin(), state.end(), embedding_.begin());
  }
}

std::span<const float> StatePooler::finish() {
  KL_CHECK(count_ > 0, "an embedding of no states");
  if (options_.pooling == Pooling::kMean) {
    const auto count = static_cast<double>(count_);
    for (size_t i = 0; i < sum_.size(); i++) embedding_[i] = static_cast<float>(sum_[i] / count);
  }
  count_ = 0;
  std::span<float> kept(embedding_);
  if (options_.dimensions > 0) kept = kept.first(static_cast<size_t>(options_.dimensions));
  double squares = 0.0;
  for (const float value : kept) squares += static_cast<double>(value) * static_cast<double>(value);
  if (options_.normalise && squares > 0.0) {
    const double length = std::sqrt(squares);
    for (float& value : kept) value = static_cast<float>(static_cast<double>(value) / length);
  }
  return kept;
}

}  // namespace kinglet
