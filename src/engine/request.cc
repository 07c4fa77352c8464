#include "engine/request.h"

namespace kinglet {

namespace {
double rate(int64_t tokens, double from, double to) {
  return tokens > 0 && from >= 0.0 && to > from ? static_cast<double>(tokens) / (to - from) : 0.0;
}
}  // namespace

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  return "unknown";
}

double RequestStats::prompt_tokens_per_second() const {
  return rate(prompt_tokens - cached_tokens, started_seconds, first_token_seconds);
}

double RequestStats::generated_tokens_per_second() const {
  return rate(generated_tokens - 1, first_token_seconds, finished_seconds);
}

}  // namespace kinglet
