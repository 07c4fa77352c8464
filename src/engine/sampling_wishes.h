// SamplingWishes: how tokens are to be chosen, as far as somebody said so, and where the rest comes from: a flag or a
// request, a preset, the model's own advice, our defaults. The command line and the server share it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "base/result.h"
#include "formats/checkpoint.h"
#include "sampling/sampling_params.h"

namespace kinglet {

// Only what was said; the rest stays absent.
struct SamplingWishes {
  std::optional<float> temperature, top_p, min_p, typical_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int64_t> top_k, penalty_last_n;
  std::optional<uint64_t> seed;
  std::map<int32_t, float> logit_bias;

  // What is absent here is taken from `other`.
  void fill_from(const SamplingWishes& other);
  // Our defaults where nobody said anything: temperature 0.7, top-k 40, top-p 0.95, min-p 0.05.
  SamplingParams params() const;
};

// generation_config.json or general.sampling.* of the model, as far as it says.
SamplingWishes model_advice(const Checkpoint& checkpoint);

}  // namespace kinglet
