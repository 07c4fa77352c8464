#include "sampling/sampling_params.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

namespace kinglet {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(SamplingParams, DefaultsAndExtremesAreValid) {
  EXPECT_TRUE(validate({}, 10).ok());
  SamplingParams params;
  params.temperature = 0.0f;
  params.top_k = 1'000'000;
  params.top_p = 1e-9f;
  params.min_p = 1.0f;
  params.typical_p = 1e-9f;
  params.penalty_last_n = -1;
  params.logit_bias = {{0, -kInfinity}, {9, 100.0f}};
  params.logprobs = SamplingParams::kMaxLogprobs;
  EXPECT_TRUE(validate(params, 10).ok());
}

TEST(SamplingParams, RangesSayWhatTheyHold) {
  const ParameterRange& share = sampling_range("top_p");
  EXPECT_EQ(share.text(), "a number above 0 and up to 1");
  EXPECT_FALSE(share.contains(0));
  EXPECT_TRUE(share.contains(1));
  const ParameterRange& count = sampling_range("top_k");
  EXPECT_EQ(count.text(), "a whole number from 0 to 268435456");
  EXPECT_TRUE(count.contains(0));
  EXPECT_FALSE(count.contains(1.5));
  EXPECT_FALSE(sampling_range("temperature").contains(kNan));
  EXPECT_EQ(sampling_range("repetition_penalty").text(), "a number from 0.01 to 100");
  EXPECT_TRUE(sampling_range("repetition_penalty").contains(0.01f));
}

TEST(SamplingParams, ErrorsNameTheField) {
  struct Case {
    const char* field;
    std::function<void(SamplingParams&)> set;
  };
  const std::vector<Case> cases = {
      {"temperature", [](auto& p) { p.temperature = -0.5f; }},
      {"temperature", [](auto& p) { p.temperature = kNan; }},
      {"temperature", [](auto& p) { p.temperature = kInfinity; }},
      {"top_k", [](auto& p) { p.top_k = -1; }},
      {"top_k", [](auto& p) { p.top_k = 99999999999; }},
      {"top_p", [](auto& p) { p.top_p = 0.0f; }},
      {"top_p", [](auto& p) { p.top_p = 1.5f; }},
      {"top_p", [](auto& p) { p.top_p = kNan; }},
      {"min_p", [](auto& p) { p.min_p = -0.1f; }},
      {"typical_p", [](auto& p) { p.typical_p = 0.0f; }},
      {"repetition_penalty", [](auto& p) { p.repetition_penalty = 0.0f; }},
      {"penalty_last_n", [](auto& p) { p.penalty_last_n = -2; }},
      {"presence_penalty", [](auto& p) { p.presence_penalty = kNan; }},
      {"frequency_penalty", [](auto& p) { p.frequency_penalty = 1000.0f; }},
      {"logit_bias", [](auto& p) { p.logit_bias[10] = 1.0f; }},
      {"logit_bias", [](auto& p) { p.logit_bias[-1] = 1.0f; }},
      {"logit_bias", [](auto& p) { p.logit_bias[1] = kInfinity; }},
      {"logit_bias", [](auto& p) { p.logit_bias[1] = kNan; }},
      {"logprobs", [](auto& p) { p.logprobs = -2; }},
      {"logprobs", [](auto& p) { p.logprobs = 1000; }},
  };
  for (const Case& c : cases) {
    SamplingParams params;
    c.set(params);
    const Status status = validate(params, 10);
    ASSERT_FALSE(status.ok()) << c.field;
    EXPECT_EQ(status.error().code, ErrorCode::kInvalid);
    EXPECT_NE(status.error().message.find(c.field), std::string::npos) << status.error().message;
    EXPECT_NE(status.error().message.find("expected"), std::string::npos) << status.error().message;
  }
}

}  // namespace
}  // namespace kinglet
