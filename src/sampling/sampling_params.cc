#include "sampling/sampling_params.h"

#include <cmath>
#include <string>

namespace kinglet {

namespace {

constexpr float kLargestTemperature = 100.0f;
constexpr float kLargestPenalty = 100.0f;
constexpr float kSmallestRepetition = 0.01f;
constexpr float kLargestBias = 10000.0f;

Error wrong(const std::string& field, const std::string& found, const std::string& expected) {
  return Error{ErrorCode::kInvalid, field + " is " + found + "; expected " + expected};
}

std::string text_of(float value) {
  std::string text = std::to_string(value);
  while (text.find('.') != std::string::npos && (text.back() == '0' || text.back() == '.')) {
    const bool point = text.back() == '.';
    text.pop_back();
    if (point) break;
  }
  return text;
}

// In [low, high]; NaN never is.
Status check_range(const char* field, float value, float low, float high) {
  if (value >= low && value <= high) return {};
  return wrong(field, text_of(value), "a number from " + text_of(low) + " to " + text_of(high));
}

// In (0, 1]; NaN never is.
Status check_share(const char* field, float value) {
  if (value > 0.0f && value <= 1.0f) return {};
  return wrong(field, text_of(value), "a number above 0 and up to 1");
}

Status check_bias(const SamplingParams& params, int64_t vocabulary) {
  for (const auto& [token, bias] : params.logit_bias) {
    if (token < 0 || token >= vocabulary) {
      return wrong("a token of logit_bias", std::to_string(token), "an id from 0 to " + std::to_string(vocabulary - 1));
    }
    const bool forbids = std::isinf(bias) && bias < 0.0f;
    if (!forbids && !(bias >= -kLargestBias && bias <= kLargestBias)) {
      return wrong("logit_bias of token " + std::to_string(token), text_of(bias),
                   "a number from " + text_of(-kLargestBias) + " to " + text_of(kLargestBias) + ", or -infinity");
    }
  }
  return {};
}

}  // namespace

Status validate(const SamplingParams& params, int64_t vocabulary) {
  KL_RETURN_IF_ERROR(check_range("temperature", params.temperature, 0.0f, kLargestTemperature));
  if (params.top_k < 0) return wrong("top_k", std::to_string(params.top_k), "0 (all tokens) or a positive number");
  KL_RETURN_IF_ERROR(check_share("top_p", params.top_p));
  KL_RETURN_IF_ERROR(check_range("min_p", params.min_p, 0.0f, 1.0f));
  KL_RETURN_IF_ERROR(check_share("typical_p", params.typical_p));
  KL_RETURN_IF_ERROR(
      check_range("repetition_penalty", params.repetition_penalty, kSmallestRepetition, kLargestPenalty));
  if (params.penalty_last_n < -1) {
    return wrong("penalty_last_n", std::to_string(params.penalty_last_n), "-1 (all tokens), 0 or a positive number");
  }
  KL_RETURN_IF_ERROR(check_range("presence_penalty", params.presence_penalty, -kLargestPenalty, kLargestPenalty));
  KL_RETURN_IF_ERROR(check_range("frequency_penalty", params.frequency_penalty, -kLargestPenalty, kLargestPenalty));
  KL_RETURN_IF_ERROR(check_bias(params, vocabulary));
  if (params.logprobs < -1 || params.logprobs > SamplingParams::kMaxLogprobs) {
    return wrong("logprobs", std::to_string(params.logprobs),
                 "-1 (none) to " + std::to_string(SamplingParams::kMaxLogprobs));
  }
  return {};
}

}  // namespace kinglet
