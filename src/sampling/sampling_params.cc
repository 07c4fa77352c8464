#include "sampling/sampling_params.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <type_traits>

#include "base/check.h"

namespace kinglet {

namespace {

constexpr double kLargestPenalty = 100;
constexpr double kMostTokens = 1 << 28;
constexpr ParameterRange kRanges[] = {
    {.name = "temperature", .least = 0, .most = 100},
    {.name = "top_k", .least = 0, .most = kMostTokens, .whole = true},
    {.name = "top_p", .least = 0, .most = 1, .above_least = true},
    {.name = "min_p", .least = 0, .most = 1},
    {.name = "typical_p", .least = 0, .most = 1, .above_least = true},
    {.name = "repetition_penalty", .least = 0.01f, .most = kLargestPenalty},
    {.name = "penalty_last_n", .least = -1, .most = kMostTokens, .whole = true},  // -1: all tokens
    {.name = "presence_penalty", .least = -kLargestPenalty, .most = kLargestPenalty},
    {.name = "frequency_penalty", .least = -kLargestPenalty, .most = kLargestPenalty},
};
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

template <class T>
Status check_range(const char* field, T value) {
  const ParameterRange& range = sampling_range(field);
  if (range.contains(static_cast<double>(value))) return {};
  if constexpr (std::is_integral_v<T>)
    return wrong(field, std::to_string(value), range.text());
  else
    return wrong(field, text_of(value), range.text());
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

bool ParameterRange::contains(double value) const {
  return (above_least ? value > least : value >= least) && value <= most && (!whole || value == std::floor(value));
}

std::string ParameterRange::text() const {
  const auto number = [](double value) { return text_of(static_cast<float>(value)); };
  const std::string kind = whole ? "a whole number " : "a number ";
  return kind + (above_least ? "above " + number(least) + " and up to " : "from " + number(least) + " to ") +
         number(most);
}

const ParameterRange& sampling_range(std::string_view name) {
  const auto found =
      std::find_if(std::begin(kRanges), std::end(kRanges), [&](const auto& r) { return r.name == name; });
  KL_CHECK(found != std::end(kRanges), "no such sampling parameter");
  return *found;
}

Status validate(const SamplingParams& params, int64_t vocabulary) {
  KL_RETURN_IF_ERROR(check_range("temperature", params.temperature));
  KL_RETURN_IF_ERROR(check_range("top_k", params.top_k));
  KL_RETURN_IF_ERROR(check_range("top_p", params.top_p));
  KL_RETURN_IF_ERROR(check_range("min_p", params.min_p));
  KL_RETURN_IF_ERROR(check_range("typical_p", params.typical_p));
  KL_RETURN_IF_ERROR(check_range("repetition_penalty", params.repetition_penalty));
  KL_RETURN_IF_ERROR(check_range("penalty_last_n", params.penalty_last_n));
  KL_RETURN_IF_ERROR(check_range("presence_penalty", params.presence_penalty));
  KL_RETURN_IF_ERROR(check_range("frequency_penalty", params.frequency_penalty));
  KL_RETURN_IF_ERROR(check_bias(params, vocabulary));
  if (params.logprobs < -1 || params.logprobs > SamplingParams::kMaxLogprobs) {
    return wrong("logprobs", std::to_string(params.logprobs),
                 "-1 (none) to " + std::to_string(SamplingParams::kMaxLogprobs));
  }
  return {};
}

}  // namespace kinglet
