#include "engine/score.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "engine/fake_model.h"

namespace kinglet {
namespace {

std::vector<int32_t> some_tokens(size_t count) {
  std::vector<int32_t> tokens(count);
  for (size_t i = 0; i < count; ++i) tokens[i] = static_cast<int32_t>(i * 7 % 50);
  return tokens;
}

TEST(ScoreTokens, GivesEachRowInOrderForAnyChunking) {
  const auto tokens = some_tokens(45);
  for (int64_t chunk : {0, 1, 3, 8, 16}) {
    for (int64_t first : {0, 1, 17, 44}) {
      FakeModel model({});
      int64_t expected = first;
      const auto status =
          score_tokens(model, tokens, {chunk, first}, [&](int64_t position, std::span<const float> logits) -> Status {
            EXPECT_EQ(position, expected++);
            const auto row = model.logits_after(std::span(tokens).first(static_cast<size_t>(position) + 1));
            EXPECT_TRUE(std::equal(row.begin(), row.end(), logits.begin(), logits.end()));
            return {};
          });
      EXPECT_TRUE(status.ok());
      EXPECT_EQ(expected, 45);
    }
  }
}

TEST(ScoreTokens, ErrorsAreClear) {
  FakeModel model({});
  const auto score = [&](const std::vector<int32_t>& tokens) {
    return score_tokens(model, tokens, {}, [](int64_t, std::span<const float>) -> Status { return {}; });
  };
  EXPECT_EQ(score({}).error().code, ErrorCode::kInvalid);
  EXPECT_NE(score(some_tokens(65)).error().message.find("65"), std::string::npos);
  EXPECT_NE(score({1, 50}).error().message.find("50"), std::string::npos);
  int rows = 0;
  const auto ended = score_tokens(model, some_tokens(20), {}, [&](int64_t, std::span<const float>) -> Status {
    if (++rows == 3) return Error{ErrorCode::kCancelled, "enough"};
    return {};
  });
  EXPECT_EQ(ended.error().message, "enough");
  EXPECT_EQ(rows, 3);
}

TEST(TokenLogprobs, EqualThePlainDefinition) {
  FakeModel model({});
  const auto tokens = some_tokens(30);
  auto logprobs = token_logprobs(model, tokens);
  ASSERT_TRUE(logprobs.ok());
  ASSERT_EQ(logprobs->size(), 29u);
  for (size_t i = 0; i + 1 < tokens.size(); ++i) {
    const auto row = model.logits_after(std::span(tokens).first(i + 1));
    double sum = 0.0;
    for (float logit : row) sum += std::exp(static_cast<double>(logit));
    EXPECT_NEAR((*logprobs)[i], row[static_cast<size_t>(tokens[i + 1])] - std::log(sum), 1e-5);
  }
  auto tail = token_logprobs(model, tokens, {0, 20});
  ASSERT_TRUE(tail.ok());
  EXPECT_EQ(*tail, std::vector<float>(logprobs->begin() + 20, logprobs->end()));
}

}  // namespace
}  // namespace kinglet
