// Logits and log-probabilities of given tokens, one sequence, synchronously: for `logits`, evaluation and benchmarks.
// Not for generation. The model must not be in use by an engine.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/step_model.h"

namespace kinglet {

struct ScoreOptions {
  int64_t chunk = 0;           // tokens in a step; 0: 64, which bounds the memory for logits
  int64_t first_position = 0;  // rows before it are computed without logits and not reported
};

// Calls row(position, logits [vocabulary]) for each position from first_position on, in order; the logits at position p
// are those of the token after tokens[0..p]. They live until row returns; an error of row ends the run and is returned.
// kInvalid for no tokens, more than the context, or ids outside the vocabulary; kResource when memory runs out.
Status score_tokens(StepModel& model, std::span<const int32_t> tokens, const ScoreOptions& options,
                    const std::function<Status(int64_t position, std::span<const float> logits)>& row);

// Natural log-probability of each token given those before it: n - 1 values for n tokens (the first has no context).
// With options.first_position = f, only those of tokens f + 1 and later.
Result<std::vector<float>> token_logprobs(StepModel& model, std::span<const int32_t> tokens,
                                          const ScoreOptions& options = {});

}  // namespace kinglet
