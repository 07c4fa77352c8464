// SamplingParams: how a request wants its tokens chosen. Plain data and its validation; the choosing is sampler.h.
// The neutral value of each field switches its step off.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kinglet {

struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy (the most probable token, lowest id on ties); else in (0, 100]
  int64_t top_k = 0;         // keep the k most probable, at most 2^28; 0: all
  float top_p = 1.0f;        // keep the smallest set of most probable tokens with this much probability; (0, 1]
  float min_p = 0.0f;        // keep tokens with at least this share of the most probable one's probability; [0, 1]
  float typical_p = 1.0f;    // keep the smallest set of most typical tokens with this much probability; (0, 1]

  float repetition_penalty = 1.0f;  // > 0; divides positive and multiplies negative logits of recent tokens, once each
  int64_t penalty_last_n = 64;      // tokens of prompt and answer it looks back on; -1: all, 0: none
  float presence_penalty = 0.0f;    // [-100, 100]; subtracted from the logit of each token generated before
  float frequency_penalty = 0.0f;   // [-100, 100]; subtracted once for each time it was generated

  std::map<int32_t, float> logit_bias;  // token id -> added to its logit; -infinity forbids the token
  std::optional<uint64_t> seed;         // absent: the engine draws one and reports it
  int logprobs = -1;  // -1: none; 0: of the chosen token; n: of the n most probable ones, too (at most kMaxLogprobs)

  static constexpr int kMaxLogprobs = 128;
  bool operator==(const SamplingParams&) const = default;
};

// The values that a number may have: one statement for requests, flags, presets and what is set in a chat.
struct ParameterRange {
  const char* name;  // as in SamplingParams
  double least, most;
  bool whole = false;        // no fractions
  bool above_least = false;  // `least` itself is too little

  bool contains(double value) const;  // NaN is in no range
  std::string text() const;           // "a number above 0 and up to 1"
};

// Of a number of SamplingParams, by its name.
const ParameterRange& sampling_range(std::string_view name);

// kInvalid, naming the field, what it is and what was expected.
Status validate(const SamplingParams& params, int64_t vocabulary);

}  // namespace kinglet
