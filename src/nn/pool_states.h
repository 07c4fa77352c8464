// The states of a text's tokens become one vector.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "families/pooling.h"

namespace kinglet {

struct EmbedOptions {
  Pooling pooling = Pooling::kMean;
  int64_t dimensions = 0;  // the first so many are kept (Matryoshka embeddings); 0: all
  bool normalise = true;   // to length 1, after that; a vector of zeros stays one
};

// Takes one text after the other. Sums are made in double, in the order of tokens and dimensions: the same bits
// everywhere.
class StatePooler {
 public:
  StatePooler(const EmbedOptions& options, int64_t width);

  void add(std::span<const float> state);  // [width], in the order of the tokens; for kLast the last one will do
  // The embedding of what was added, valid until the next add().
  std::span<const float> finish();

 private:
  EmbedOptions options_;
  int64_t count_ = 0;
  std::vector<double> sum_;
  std::vector<float> embedding_;
};

}  // namespace kinglet
