#include "engine/request_check.h"

#include <algorithm>
#include <string>

#include "engine/stop_matcher.h"

namespace kinglet {

namespace {

Error invalid(const std::string& message) {
  return Error{ErrorCode::kInvalid, message};
}

Status check_tokens(const char* field, const std::vector<int32_t>& tokens, int64_t vocabulary) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= 0 && tokens[i] < vocabulary) continue;
    return invalid(std::string(field) + ": token " + std::to_string(i) + " has id " + std::to_string(tokens[i]) +
                   "; the model's vocabulary goes from 0 to " + std::to_string(vocabulary - 1));
  }
  return {};
}

}  // namespace

Status check_request(Request* request, const RequestLimits& limits) {
  const auto prompt = static_cast<int64_t>(request->prompt.size());
  if (prompt == 0) return invalid("the prompt is empty; the model needs at least one token to go on from");
  if (prompt >= limits.context) {
    return invalid("the prompt has " + std::to_string(prompt) + " tokens; the context holds " +
                   std::to_string(limits.context) + ", the answer included");
  }
  KL_RETURN_IF_ERROR(check_tokens("prompt", request->prompt, limits.vocabulary));
  KL_RETURN_IF_ERROR(check_tokens("stop_tokens", request->stop_tokens, limits.vocabulary));
  KL_RETURN_IF_ERROR(validate(request->sampling, limits.vocabulary));
  if (request->max_tokens == 0 || request->max_tokens < -1) {
    return invalid("max_tokens is " + std::to_string(request->max_tokens) +
                   "; expected a positive number, or -1 for as many as the context holds");
  }
  if (request->queue_limit && request->queue_limit->count() < 0) {
    return invalid("queue_limit is " + std::to_string(request->queue_limit->count()) +
                   " ms; expected a time that is not negative");
  }
  KL_RETURN_IF_ERROR(check_stop_strings(request->stop));
  if (!request->stop.empty() && limits.tokenizer == nullptr) {
    return invalid("stop: the model has no tokenizer, so there is no text to look for stop strings in");
  }
  if (request->thinking && (request->thinking->markers.open.empty() || request->thinking->markers.close.empty())) {
    return invalid("thinking: its markers are empty");
  }
  if (request->grammar && request->grammar->tokenizer().get() != limits.tokenizer) {
    return invalid("grammar: it was compiled for another tokenizer than the model's");
  }
  const int64_t left = limits.context - prompt;
  request->max_tokens = request->max_tokens < 0 ? left : std::min(request->max_tokens, left);
  return {};
}

}  // namespace kinglet
