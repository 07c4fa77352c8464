// Perplexity of a model on a text: how surprised it is. Not for choosing answers.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/result.h"
#include "engine/step_model.h"

namespace kinglet {

struct PerplexityOptions {
  int64_t context = 512;  // tokens of a window
  int64_t stride = 0;     // from one window to the next; 0: context (windows don't overlap)
  int32_t bos = -1;       // put in front of every window where >= 0 (it takes the window's first place)
  // After each window; false ends with kCancelled. May be empty.
  std::function<bool(int64_t scored, int64_t total)> progress;
};

struct PerplexityResult {
  double nll = 0.0;                // mean negative log-likelihood a token, in nats
  double perplexity = 0.0;         // exp(nll)
  double nll_stderr = 0.0;         // of the mean, tokens taken as independent
  double perplexity_stderr = 0.0;  // perplexity * nll_stderr
  int64_t tokens = 0;              // scored
  int64_t windows = 0;
};

// Cuts `tokens` into windows. A token is scored once, in the first window that holds it with a token before it; where
// windows overlap, the later ones score only what is new. The text's first token is scored only where bos is given. A
// last window that is shorter counts as well. kInvalid for fewer than two tokens or a context the model does not have.
Result<PerplexityResult> perplexity(StepModel& model, std::span<const int32_t> tokens,
                                    const PerplexityOptions& options);

}  // namespace kinglet
