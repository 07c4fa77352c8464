// Sampler: one sequence's choice of tokens from logits. Knows ids and numbers; no text, no requests. Results have the
// same bits on every machine: float operations in a fixed order, exp and log of kernels/.
//
// The steps, in this order (each sees what the former left, renormalised):
//   1 log-probs are taken from the logits as the model gave them
//   2 logit bias is added; then the repetition penalty (Keskar et al. 2019, CTRL), then presence and frequency
//   penalties 3 tokens outside the grammar's mask are removed 4 temperature 0: the largest logit wins. Else logits are
//   divided by the temperature 5 top-k, top-p (Holtzman et al. 2020), min-p (Nguyen et al. 2024), typical-p (Meister et
//   al. 2023) 6 a token is drawn with uniform_at(seed, position)
// Among equals the lower id comes first, everywhere.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "kernels/ops.h"
#include "sampling/filters.h"
#include "sampling/sampling_params.h"

namespace kinglet {

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0.0f;  // natural logarithm of the probability under the unmodified logits
  bool operator==(const TokenLogprob&) const = default;
};

struct SampledToken {
  int32_t token = 0;
  float logprob = 0.0f;           // 0 unless SamplingParams::logprobs >= 0
  std::vector<TokenLogprob> top;  // SamplingParams::logprobs of them, most probable first
};

// Buffers that all samplers of a thread share.
struct SamplingScratch {
  std::vector<float> logits;
  std::vector<uint64_t> keys;
  Candidates candidates;
};

class Sampler {
 public:
  // `params` must be valid; `seed` stands for an absent SamplingParams::seed. `prompt` feeds the repetition penalty.
  Sampler(SamplingParams params, uint64_t seed, std::span<const int32_t> prompt);

  // Chooses the token at `position` (of the sequence, prompt included) from logits [vocabulary]. `mask`, if not empty,
  // has bit id % 32 of word id / 32 set where token id is allowed; ids past its end are not. Does not change the
  // sampler. kInvalid when logits hold NaN or +infinity, or when mask and bias leave no token.
  Result<SampledToken> sample(const Compute& compute, SamplingScratch& scratch, std::span<const float> logits,
                              int64_t position, std::span<const uint32_t> mask = {}) const;

  // Takes note of the token that was chosen, for the penalties.
  void accept(int32_t token);

  const SamplingParams& params() const { return params_; }
  uint64_t seed() const { return seed_; }

 private:
  bool alters_logits() const;
  void adjust(std::span<float> logits) const;
  void remember_recent(int32_t token);

  SamplingParams params_;
  uint64_t seed_;
  std::unordered_map<int32_t, int64_t> generated_;  // token -> times generated
  std::unordered_map<int32_t, int64_t> recent_;     // token -> times among the last penalty_last_n
  std::deque<int32_t> window_;                      // those tokens, oldest first (unused when all are looked at)
};

}  // namespace kinglet
