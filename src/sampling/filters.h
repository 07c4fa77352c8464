// The pieces of sampling that work on a set of candidate tokens: selection of the largest, the probability filters, the
// draw. Internal to this folder; sampler.h is the way in. Every result is a function of the values alone: sums run in a
// stated order, equals are ordered by id.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/ops.h"

namespace kinglet {

// Indices of the `count` largest values, largest first, lower index first among equals. `keys` is scratch. No NaN.
std::vector<int32_t> largest_indices(std::span<const float> values, int64_t count, std::vector<uint64_t>* keys);

// Tokens that may be drawn, in ascending order of ids. `z`: logits divided by the temperature, shifted so that the
// largest is 0, and at least kLowestZ; `p` = exp(z), not normalised.
class Candidates {
 public:
  static constexpr float kLowestZ = -1000.0f;

  // All of `logits` (or the top_k largest, where top_k is in [1, size)); -infinity marks forbidden tokens. `largest` is
  // the largest logit, finite. Buffers are those of a former use.
  void assign(const Compute& compute, std::span<const float> logits, float largest, float temperature, int64_t top_k);

  void keep_top_p(float top_p);
  void keep_min_p(float min_p);
  void keep_typical(float typical_p);

  // The candidate whose stretch of the cumulated probabilities holds `uniform` in [0, 1).
  int32_t draw(double uniform) const;

  int64_t size() const { return static_cast<int64_t>(p_.size()); }
  int32_t id(int64_t index) const { return all_ ? static_cast<int32_t>(index) : ids_[static_cast<size_t>(index)]; }
  float p(int64_t index) const { return p_[static_cast<size_t>(index)]; }

 private:
  double total() const;
  // Keeps the candidates of least cost (>= 0, one each; lower id first among equals) that together hold `share` of the
  // total probability.
  void keep_cheapest(std::span<const float> costs, float share);
  void keep(std::span<const uint64_t> keys);  // whose low 32 bits are indices

  bool all_ = false;  // the ids are 0, 1, 2, …
  std::vector<int32_t> ids_;
  std::vector<float> z_, p_, costs_;
  std::vector<uint64_t> keys_;
};

}  // namespace kinglet
