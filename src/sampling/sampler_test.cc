#include "sampling/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>

namespace kinglet {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

Compute compute_at(IsaLevel level) {
  static ThreadPool pool(1);
  return {&kernel_table(level), &pool};
}

Compute best() {
  return compute_at(available_isa_levels().back());
}

std::vector<float> random_logits(uint32_t seed, size_t count, float spread) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

SampledToken sample(const Sampler& sampler, const std::vector<float>& logits, int64_t position = 0,
                    std::span<const uint32_t> mask = {}) {
  SamplingScratch scratch;
  auto result = sampler.sample(best(), scratch, logits, position, mask);
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
  return result.ok() ? *result : SampledToken{-1, 0.0f, {}};
}

SamplingParams greedy() {
  SamplingParams params;
  params.temperature = 0.0f;
  return params;
}

// Draws at positions 0, 1, … and compares the counts with `exact` (which sums to 1).
void expect_distribution(const SamplingParams& params, const std::vector<float>& logits,
                         const std::vector<double>& exact) {
  constexpr int kDraws = 40000;
  const Sampler sampler(params, 99, {});
  SamplingScratch scratch;
  std::vector<int> counts(logits.size());
  for (int position = 0; position < kDraws; ++position) {
    auto token = sampler.sample(best(), scratch, logits, position);
    ASSERT_TRUE(token.ok());
    ++counts[static_cast<size_t>(token->token)];
  }
  double chi2 = 0.0;
  int cells = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    if (exact[i] == 0.0) {
      EXPECT_EQ(counts[i], 0) << "token " << i << " should be impossible";
      continue;
    }
    const double expected = exact[i] * kDraws;
    if (expected < 5.0) continue;
    ++cells;
    chi2 += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  // Mean cells - 1, deviation sqrt(2 (cells - 1)): five deviations.
  EXPECT_LT(chi2, cells - 1 + 5.0 * std::sqrt(2.0 * std::max(1, cells - 1)));
}

std::vector<double> softmax(const std::vector<float>& logits, double temperature) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p;
  double sum = 0.0;
  for (float logit : logits) sum += p.emplace_back(std::exp((logit - largest) / temperature));
  for (double& value : p) value /= sum;
  return p;
}

std::vector<double> keep_if(std::vector<double> p, const std::function<bool(size_t)>& keep) {
  double sum = 0.0;
  for (size_t i = 0; i < p.size(); ++i) sum += p[i] = keep(i) ? p[i] : 0.0;
  for (double& value : p) value /= sum;
  return p;
}

TEST(Sampler, GreedyTakesTheLargestAndTheLowestIdOnTies) {
  EXPECT_EQ(sample(Sampler(greedy(), 1, {}), {1.0f, 5.0f, 3.0f, 5.0f}).token, 1);
  std::vector<float> logits(1000, 0.0f);
  logits[777] = logits[333] = 2.0f;
  EXPECT_EQ(sample(Sampler(greedy(), 1, {}), logits).token, 333);
  EXPECT_EQ(sample(Sampler(greedy(), 1, {}), {-3.0f}).token, 0);
}

TEST(Sampler, DistributionAtTemperatures) {
  const auto logits = random_logits(1, 60, 1.5f);
  for (float temperature : {0.5f, 1.0f, 2.0f}) {
    SamplingParams params;
    params.temperature = temperature;
    expect_distribution(params, logits, softmax(logits, temperature));
  }
}

TEST(Sampler, DistributionWithTopK) {
  const auto logits = random_logits(2, 100, 1.5f);
  auto sorted = logits;
  std::sort(sorted.rbegin(), sorted.rend());
  SamplingParams params;
  params.top_k = 7;
  expect_distribution(params, logits, keep_if(softmax(logits, 1.0), [&](size_t i) { return logits[i] >= sorted[6]; }));
}

TEST(Sampler, DistributionWithTopPThenMinP) {
  const auto logits = random_logits(3, 100, 2.0f);
  const auto p = softmax(logits, 1.3f);
  std::vector<size_t> order(p.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
  std::vector<bool> nucleus(p.size());
  double mass = 0.0;
  for (size_t i : order) {
    nucleus[i] = true;
    if ((mass += p[i]) >= 0.9) break;
  }
  SamplingParams params;
  params.temperature = 1.3f;
  params.top_p = 0.9f;
  expect_distribution(params, logits, keep_if(p, [&](size_t i) { return nucleus[i]; }));
  params.min_p = 0.1f;
  expect_distribution(params, logits, keep_if(p, [&](size_t i) { return nucleus[i] && p[i] >= 0.1 * p[order[0]]; }));
}

TEST(Sampler, BiasAndMask) {
  const auto logits = random_logits(4, 70, 1.0f);
  SamplingParams params;
  params.logit_bias = {{3, 2.0f}, {5, -kInfinity}, {69, -1.0f}};
  auto biased = logits;
  biased[3] += 2.0f;
  biased[69] -= 1.0f;
  auto p = keep_if(softmax(biased, 1.0), [](size_t i) { return i != 5; });
  expect_distribution(params, logits, p);

  const std::vector<uint32_t> mask = {0x00000108, 0x80000000};  // 3, 8, 63; ids from 64 on lie past its end
  const Sampler sampler(SamplingParams{}, 5, {});
  std::vector<int> counts(70);
  for (int position = 0; position < 2000; ++position) {
    ++counts[static_cast<size_t>(sample(sampler, logits, position, mask).token)];
  }
  EXPECT_EQ(counts[3] + counts[8] + counts[63], 2000);
  EXPECT_GT(counts[3] * counts[8] * counts[63], 0);
}

TEST(Sampler, PenaltiesEqualThePlainDefinition) {
  std::mt19937 random(6);
  for (int run = 0; run < 100; ++run) {
    const auto logits = random_logits(static_cast<uint32_t>(run), 40, 2.0f);
    SamplingParams params = greedy();
    params.repetition_penalty = 1.0f + static_cast<float>(random() % 20) / 10.0f;
    params.penalty_last_n = static_cast<int64_t>(random() % 12) - 1;
    params.presence_penalty = static_cast<float>(random() % 5) / 2.0f - 1.0f;
    params.frequency_penalty = static_cast<float>(random() % 5) / 3.0f;
    std::vector<int32_t> prompt(random() % 10), answer(random() % 10);
    for (int32_t& token : prompt) token = static_cast<int32_t>(random() % 40);
    for (int32_t& token : answer) token = static_cast<int32_t>(random() % 40);
    Sampler sampler(params, 1, prompt);
    for (int32_t token : answer) sampler.accept(token);

    std::vector<int32_t> history = prompt;
    history.insert(history.end(), answer.begin(), answer.end());
    const auto last = params.penalty_last_n < 0 ? history.size() : static_cast<size_t>(params.penalty_last_n);
    if (history.size() > last) history.erase(history.begin(), history.end() - static_cast<ptrdiff_t>(last));
    auto expected = logits;
    for (int32_t id = 0; id < 40; ++id) {
      float& logit = expected[static_cast<size_t>(id)];
      if (std::count(history.begin(), history.end(), id) > 0) {
        logit = logit > 0.0f ? logit / params.repetition_penalty : logit * params.repetition_penalty;
      }
      const auto times = static_cast<float>(std::count(answer.begin(), answer.end(), id));
      if (times > 0.0f) logit -= params.presence_penalty + params.frequency_penalty * times;
    }
    const auto largest = std::max_element(expected.begin(), expected.end()) - expected.begin();
    EXPECT_EQ(sample(sampler, logits).token, largest);
  }
}

TEST(Sampler, LogprobsAreThoseOfTheUnmodifiedLogits) {
  const auto logits = random_logits(8, 5000, 3.0f);
  const auto p = softmax(logits, 1.0);
  SamplingParams params;
  params.temperature = 0.3f;
  params.top_k = 3;
  params.logprobs = 20;
  params.logit_bias = {{11, 30.0f}};
  const SampledToken sampled = sample(Sampler(params, 1, {}), logits);
  EXPECT_EQ(sampled.token, 11);
  EXPECT_NEAR(sampled.logprob, std::log(p[11]), 1e-5);
  ASSERT_EQ(sampled.top.size(), 20u);
  for (size_t i = 0; i < sampled.top.size(); ++i) {
    EXPECT_NEAR(sampled.top[i].logprob, std::log(p[static_cast<size_t>(sampled.top[i].token)]), 1e-5);
    EXPECT_GE(sampled.top[i == 0 ? 0 : i - 1].logprob, sampled.top[i].logprob);
  }
  EXPECT_EQ(sampled.top[0].token, std::max_element(logits.begin(), logits.end()) - logits.begin());
  params.logprobs = 0;
  EXPECT_TRUE(sample(Sampler(params, 1, {}), logits).top.empty());
  EXPECT_NE(sample(Sampler(params, 1, {}), logits).logprob, 0.0f);
}

TEST(Sampler, BrokenLogitsAreAnError) {
  SamplingScratch scratch;
  for (float broken : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(), kInfinity}) {
    auto logits = random_logits(9, 100, 1.0f);
    logits[42] = broken;
    auto result = Sampler(SamplingParams{}, 1, {}).sample(best(), scratch, logits, 7);
    ASSERT_FALSE(result.ok());
    EXPECT_NE(result.error().message.find("42"), std::string::npos) << result.error().message;
    EXPECT_NE(result.error().message.find("position 7"), std::string::npos) << result.error().message;
  }
  const std::vector<float> none(10, -kInfinity);
  EXPECT_FALSE(Sampler(SamplingParams{}, 1, {}).sample(best(), scratch, none, 0).ok());
  const std::vector<uint32_t> mask = {0};
  EXPECT_FALSE(Sampler(SamplingParams{}, 1, {}).sample(best(), scratch, random_logits(1, 20, 1.0f), 0, mask).ok());
}

TEST(Sampler, ExtremeLogitsAndTemperatures) {
  for (float temperature : {0.0f, 1e-30f, 0.01f, 1.0f, 100.0f}) {
    for (float size : {1e-38f, 1.0f, 1e30f, 1.5e38f}) {
      SamplingParams params;
      params.temperature = temperature;
      params.top_p = 0.95f;
      params.typical_p = 0.9f;
      params.logprobs = 3;
      const std::vector<float> logits = {size, -size, 0.0f, -kInfinity};
      const SampledToken sampled = sample(Sampler(params, 3, {}), logits);
      EXPECT_GE(sampled.token, 0);
      EXPECT_LT(sampled.token, 3);
      EXPECT_FALSE(std::isnan(sampled.logprob));
    }
  }
}

SamplingParams random_params(std::mt19937& random) {
  SamplingParams params;
  params.temperature = 0.1f + static_cast<float>(random() % 30) / 10.0f;
  if (random() % 2 == 0) params.top_k = 1 + static_cast<int64_t>(random() % 1000);
  if (random() % 2 == 0) params.top_p = 0.5f + static_cast<float>(random() % 50) / 100.0f;
  if (random() % 3 == 0) params.min_p = 0.05f;
  if (random() % 3 == 0) params.typical_p = 0.8f;
  params.logprobs = static_cast<int>(random() % 4) - 1;
  return params;
}

// The same answer at every instruction set, with fresh and with used scratch, whatever was sampled before.
TEST(Sampler, SameBitsEverywhere) {
  std::mt19937 random(10);
  SamplingScratch used;
  for (int run = 0; run < 60; ++run) {
    const auto logits = random_logits(static_cast<uint32_t>(run), 1 + random() % 20000, 2.5f);
    const Sampler sampler(random_params(random), run, {});
    SamplingScratch fresh;
    auto expected = sampler.sample(compute_at(IsaLevel::kPortable), fresh, logits, run);
    ASSERT_TRUE(expected.ok());
    for (IsaLevel level : available_isa_levels()) {
      auto got = sampler.sample(compute_at(level), used, logits, run);
      ASSERT_TRUE(got.ok());
      EXPECT_EQ(got->token, expected->token) << isa_name(level);
      EXPECT_EQ(std::bit_cast<uint32_t>(got->logprob), std::bit_cast<uint32_t>(expected->logprob)) << isa_name(level);
      EXPECT_EQ(got->top, expected->top) << isa_name(level);
    }
  }
}

TEST(Sampler, TheSeedOfTheParametersWins) {
  const auto logits = random_logits(11, 500, 1.0f);
  SamplingParams params;
  params.seed = 77;
  const Sampler a(params, 1, {}), b(params, 2, {});
  EXPECT_EQ(a.seed(), 77u);
  bool differs = false;
  const Sampler other(SamplingParams{}, 78, {});
  for (int position = 0; position < 50; ++position) {
    EXPECT_EQ(sample(a, logits, position).token, sample(b, logits, position).token);
    differs = differs || sample(a, logits, position).token != sample(other, logits, position).token;
  }
  EXPECT_TRUE(differs);
}

}  // namespace
}  // namespace kinglet
