#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "engine/score.h"

namespace kinglet {

namespace {

Error invalid(const std::string& message) {
  return Error{ErrorCode::kInvalid, message};
}

// Sum and sum of squares of what was scored.
struct Tally {
  double sum = 0.0, squares = 0.0;
  int64_t count = 0;

  void add(float logprob) {
    const double nll = -static_cast<double>(logprob);
    sum += nll;
    squares += nll * nll;
    ++count;
  }
};

PerplexityResult summarize(const Tally& tally, int64_t windows) {
  PerplexityResult result;
  const auto n = static_cast<double>(tally.count);
  result.tokens = tally.count;
  result.windows = windows;
  result.nll = tally.sum / n;
  result.perplexity = std::exp(result.nll);
  if (tally.count > 1) {
    const double variance = std::max(0.0, (tally.squares - n * result.nll * result.nll) / (n - 1.0));
    result.nll_stderr = std::sqrt(variance / n);
    result.perplexity_stderr = result.perplexity * result.nll_stderr;
  }
  return result;
}

Status check(const StepModel& model, std::span<const int32_t> tokens, const PerplexityOptions& options) {
  if (tokens.size() < 2) {
    return invalid("the text has " + std::to_string(tokens.size()) + " tokens; at least two are needed");
  }
  if (options.context < 2 || options.context > model.context()) {
    return invalid("a window of " + std::to_string(options.context) + " tokens; expected 2 to " +
                   std::to_string(model.context()));
  }
  const int64_t most = options.context - (options.bos >= 0 ? 1 : 0);
  if (options.stride < 0 || options.stride > most) {
    return invalid("a stride of " + std::to_string(options.stride) + " tokens; expected 1 to " + std::to_string(most) +
                   ", or 0 for windows side by side");
  }
  if (options.bos >= model.vocabulary()) return invalid("bos is outside the vocabulary");
  return {};
}

}  // namespace

Result<PerplexityResult> perplexity(StepModel& model, std::span<const int32_t> tokens,
                                    const PerplexityOptions& options) {
  KL_RETURN_IF_ERROR(check(model, tokens, options));
  const bool has_bos = options.bos >= 0;
  const auto total = static_cast<int64_t>(tokens.size());
  const int64_t text_places = options.context - (has_bos ? 1 : 0);
  const int64_t stride = options.stride == 0 ? text_places : options.stride;
  Tally tally;
  int64_t windows = 0, scored = 0;  // tokens before `scored` need no more attention
  std::vector<int32_t> window;
  for (int64_t begin = 0; scored < total; begin += stride) {
    const int64_t end = std::min(begin + text_places, total);
    window.clear();
    if (has_bos) window.push_back(options.bos);
    window.insert(window.end(), tokens.begin() + begin, tokens.begin() + end);
    const int64_t shift = has_bos ? 1 : 0;
    // The first new token that has one before it in this window, by its place in the window.
    const int64_t first_new = std::max<int64_t>(std::max(scored, begin) - begin + shift, 1);
    if (first_new < static_cast<int64_t>(window.size())) {
      ScoreOptions score;
      score.first_position = first_new - 1;
      KL_TRY(const std::vector<float> logprobs, token_logprobs(model, window, score));
      for (float logprob : logprobs) tally.add(logprob);
      ++windows;
    }
    scored = end;
    if (options.progress && !options.progress(scored, total)) return Error{ErrorCode::kCancelled, "interrupted"};
  }
  if (tally.count == 0) return invalid("no token of the text has another one before it in its window");
  if (!std::isfinite(tally.sum)) return invalid("the model's logits are not finite: its weights are damaged");
  return summarize(tally, windows);
}

}  // namespace kinglet
