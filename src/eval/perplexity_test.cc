#include "eval/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/fake_model.h"

namespace kinglet {
namespace {

std::vector<int32_t> some_tokens(size_t count) {
  std::vector<int32_t> tokens(count);
  for (size_t i = 0; i < count; ++i) tokens[i] = static_cast<int32_t>(i * 13 % 50);
  return tokens;
}

double nll(const FakeModel& model, const std::vector<int32_t>& history, int32_t next) {
  const auto row = model.logits_after(history);
  double sum = 0.0;
  for (float logit : row) sum += std::exp(static_cast<double>(logit));
  return std::log(sum) - row[static_cast<size_t>(next)];
}

// Each token by the definition: the first window that holds it with a token before it.
std::vector<double> naive(const std::vector<int32_t>& tokens, const PerplexityOptions& options) {
  const FakeModel model({});
  const auto places = static_cast<size_t>(options.context - (options.bos >= 0 ? 1 : 0));
  const size_t stride = options.stride == 0 ? places : static_cast<size_t>(options.stride);
  std::vector<double> all;
  size_t done = 0;
  for (size_t begin = 0; done < tokens.size(); begin += stride) {
    const size_t end = std::min(begin + places, tokens.size());
    for (size_t i = std::max(begin, done); i < end; ++i) {
      std::vector<int32_t> history;
      if (options.bos >= 0) history.push_back(options.bos);
      history.insert(history.end(), tokens.begin() + static_cast<ptrdiff_t>(begin),
                     tokens.begin() + static_cast<ptrdiff_t>(i));
      if (!history.empty()) all.push_back(nll(model, history, tokens[i]));
    }
    done = end;
  }
  return all;
}

TEST(Perplexity, EqualsTheDefinition) {
  const auto tokens = some_tokens(61);
  for (int64_t context : {2, 7, 20, 61, 64}) {
    for (int64_t stride : {0, 1, 5}) {
      for (int32_t bos : {-1, 3}) {
        PerplexityOptions options;
        options.context = context;
        options.stride = std::min(stride, context - (bos >= 0 ? 1 : 0));
        options.bos = bos;
        FakeModel model({});
        auto result = perplexity(model, tokens, options);
        ASSERT_TRUE(result.ok()) << result.error().message;
        const auto expected = naive(tokens, options);
        double mean = 0.0, variance = 0.0;
        for (double value : expected) mean += value / static_cast<double>(expected.size());
        for (double value : expected) variance += (value - mean) * (value - mean);
        const auto n = static_cast<double>(expected.size());
        EXPECT_EQ(result->tokens, static_cast<int64_t>(expected.size()));
        EXPECT_NEAR(result->nll, mean, 1e-5);
        EXPECT_NEAR(result->perplexity, std::exp(mean), 1e-3);
        EXPECT_NEAR(result->nll_stderr, std::sqrt(variance / (n - 1.0) / n), 1e-5);
      }
    }
  }
}

TEST(Perplexity, ReportsProgressAndErrors) {
  FakeModel model({});
  PerplexityOptions options;
  options.context = 16;
  std::vector<int64_t> seen;
  options.progress = [&](int64_t scored, int64_t total) {
    EXPECT_EQ(total, 40);
    seen.push_back(scored);
    return true;
  };
  ASSERT_TRUE(perplexity(model, some_tokens(40), options).ok());
  EXPECT_EQ(seen, (std::vector<int64_t>{16, 32, 40}));
  options.progress = [](int64_t, int64_t) { return false; };
  EXPECT_EQ(perplexity(model, some_tokens(40), options).error().code, ErrorCode::kCancelled);

  EXPECT_FALSE(perplexity(model, some_tokens(1), options).ok());
  options.context = 65;
  EXPECT_NE(perplexity(model, some_tokens(40), options).error().message.find("64"), std::string::npos);
  options.context = 16;
  options.stride = 17;
  EXPECT_FALSE(perplexity(model, some_tokens(40), options).ok());
}

}  // namespace
}  // namespace kinglet
