// Routing: which experts, in which order, with which weights; and the rows' way to the experts and back.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/math.h"
#include "kernels/ops_experts.h"
#include "kernels/rows_test_support.h"

namespace kinglet {
namespace {

using testing::first_difference;
using testing::Random;
using testing::ref_table;

struct Routed {
  std::vector<int32_t> chosen;
  std::vector<float> weights;
};

Routed route(const Compute& compute, const RouterParams& params, const std::vector<float>& logits) {
  const auto tokens = static_cast<int64_t>(logits.size()) / params.experts;
  Routed r{std::vector<int32_t>(static_cast<size_t>(tokens * params.used)),
           std::vector<float>(static_cast<size_t>(tokens * params.used))};
  route_experts(compute, params, logits.data(), params.experts, tokens, r.chosen.data(), r.weights.data());
  return r;
}

Routed route(const RouterParams& params, const std::vector<float>& logits) {
  ThreadPool pool(1);
  return route({&kernel_table(available_isa_levels().back()), &pool}, params, logits);
}

// Logits whose sigmoids are these.
std::vector<float> logits_of(const std::vector<double>& scores) {
  std::vector<float> logits;
  for (double s : scores) logits.push_back(static_cast<float>(std::log(s / (1.0 - s))));
  return logits;
}

using Chosen = std::vector<int32_t>;

TEST(RouteExperts, SoftmaxInDescendingOrder) {
  const std::vector<float> logits = {0.5f, 2.0f, -1.0f, 3.0f, 1.0f};
  const Routed r = route({.experts = 5, .used = 3, .scale = 2.0f}, logits);
  EXPECT_EQ(r.chosen, (Chosen{3, 1, 4}));
  double sum = 0.0;
  for (float l : logits) sum += std::exp(static_cast<double>(l));
  for (size_t s = 0; s < 3; ++s) {
    const double want = 2.0 * std::exp(static_cast<double>(logits[static_cast<size_t>(r.chosen[s])])) / sum;
    EXPECT_NEAR(static_cast<double>(r.weights[s]), want, 1e-6);
  }
}

TEST(RouteExperts, NormalisedWeightsSumToTheScale) {
  const std::vector<float> logits = {0.5f, 2.0f, -1.0f, 3.0f, 1.0f};
  RouterParams params{.experts = 5, .used = 2, .normalise = true, .scale = 2.5f};
  Routed r = route(params, logits);
  EXPECT_NEAR(r.weights[0] + r.weights[1], 2.5f, 1e-6f);
  EXPECT_NEAR(r.weights[0] / r.weights[1], std::exp(1.0f), 1e-5f);
  params.normalise_epsilon = 0.5f;
  const double e3 = std::exp(3.0), e2 = std::exp(2.0), all = e3 + e2 + std::exp(1.0) + std::exp(0.5) + std::exp(-1.0);
  r = route(params, logits);
  EXPECT_NEAR(static_cast<double>(r.weights[0]), 2.5 * (e3 / all) / ((e3 + e2) / all + 0.5), 1e-6);
}

TEST(RouteExperts, TiesGoToTheLowerIndex) {
  for (ExpertScoring scoring : {ExpertScoring::kSoftmax, ExpertScoring::kSigmoid, ExpertScoring::kSoftmaxSelected,
                                ExpertScoring::kSqrtSoftplus}) {
    const Routed r = route({.experts = 6, .used = 4, .scoring = scoring}, {1.0f, 2.0f, 1.0f, 2.0f, 1.0f, -0.5f});
    EXPECT_EQ(r.chosen, (Chosen{1, 3, 0, 2})) << static_cast<int>(scoring);
  }
  EXPECT_EQ(route({.experts = 3, .used = 2, .scoring = ExpertScoring::kSoftmaxSelected}, {-0.0f, 0.0f, -1.0f}).chosen,
            (Chosen{0, 1}));
}

TEST(RouteExperts, ABiasMovesTheChoiceNotTheWeights) {
  const std::vector<float> bias = {0.0f, 0.0f, 0.5f, 0.0f};
  const Routed r = route({.experts = 4, .used = 2, .scoring = ExpertScoring::kSigmoid, .bias = bias.data()},
                         logits_of({0.6, 0.2, 0.3, 0.5}));
  EXPECT_EQ(r.chosen, (Chosen{2, 0}));
  EXPECT_NEAR(r.weights[0], 0.3f, 1e-6f);
  EXPECT_NEAR(r.weights[1], 0.6f, 1e-6f);
}

TEST(RouteExperts, SoftmaxOfTheSelected) {
  const Routed r =
      route({.experts = 4, .used = 2, .scoring = ExpertScoring::kSoftmaxSelected}, {4.0f, 0.0f, 5.0f, 3.0f});
  EXPECT_EQ(r.chosen, (Chosen{2, 0}));
  EXPECT_NEAR(r.weights[0], 1.0f / (1.0f + std::exp(-1.0f)), 1e-6f);
  EXPECT_NEAR(r.weights[1], 1.0f - r.weights[0], 1e-6f);
}

TEST(RouteExperts, RootOfSoftplus) {
  const Routed r = route({.experts = 3, .used = 2, .scoring = ExpertScoring::kSqrtSoftplus}, {-1.0f, 2.0f, 0.5f});
  EXPECT_EQ(r.chosen, (Chosen{1, 2}));
  EXPECT_NEAR(r.weights[0], std::sqrt(std::log1p(std::exp(2.0f))), 1e-6f);
  EXPECT_NEAR(r.weights[1], std::sqrt(std::log1p(std::exp(0.5f))), 1e-6f);
}

// The best expert is in group 0, the two best together in group 2; group 1 is as good as group 0 by the best.
TEST(RouteExperts, GroupsByTheBestOrTheSumOfTwo) {
  const std::vector<float> logits = logits_of({0.9, 0.1, 0.05, 0.1, 0.9, 0.3, 0.8, 0.7, 0.6});
  RouterParams params{.experts = 9, .used = 2, .scoring = ExpertScoring::kSigmoid, .groups = 3, .groups_used = 1};
  EXPECT_EQ(route(params, logits).chosen, (Chosen{0, 1}));
  params.group_score = GroupScore::kTop2Sum;
  EXPECT_EQ(route(params, logits).chosen, (Chosen{6, 7}));
  params.groups_used = 2;
  params.used = 4;
  EXPECT_EQ(route(params, logits).chosen, (Chosen{4, 6, 7, 8}));
  params.groups_used = 3;
  EXPECT_EQ(route(params, logits).chosen, (Chosen{0, 4, 6, 7}));
}

TEST(RouteExperts, AMaskedScoreOfZeroBeatsANegativeOne) {
  const std::vector<float> bias = {0.0f, -2.0f, 0.0f, 0.0f};
  RouterParams params{
      .experts = 4, .used = 2, .scoring = ExpertScoring::kSigmoid, .bias = bias.data(), .groups = 2, .groups_used = 1};
  const std::vector<float> logits = logits_of({0.9, 0.8, 0.3, 0.4});
  EXPECT_EQ(route(params, logits).chosen, (Chosen{0, 1}));
  params.masked_score = 0.0f;
  const Routed r = route(params, logits);
  EXPECT_EQ(r.chosen, (Chosen{0, 2}));
  EXPECT_NEAR(r.weights[1], 0.3f, 1e-6f);
}

TEST(RouteExperts, NotANumberIsChosenLastAndKept) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Routed r = route({.experts = 3, .used = 3, .scoring = ExpertScoring::kSigmoid}, {nan, -100.0f, 2.0f});
  EXPECT_EQ(r.chosen, (Chosen{2, 1, 0}));
  EXPECT_TRUE(std::isnan(r.weights[2]));
  r = route({.experts = 4, .used = 2, .groups = 2, .groups_used = 1}, {nan, nan, nan, nan});
  EXPECT_EQ(r.chosen, (Chosen{0, 1}));
  EXPECT_TRUE(std::isnan(r.weights[0]));
}

TEST(RouteExperts, GivenExpertsAreWeighedTheSame) {
  Random random(41);
  ThreadPool pool(2);
  const Compute compute = {&kernel_table(available_isa_levels().back()), &pool};
  const std::vector<float> logits = random.normals(20 * 32, 3.0f);
  for (ExpertScoring scoring :
       {ExpertScoring::kSoftmax, ExpertScoring::kSoftmaxSelected, ExpertScoring::kSqrtSoftplus}) {
    const RouterParams params{.experts = 32, .used = 4, .scoring = scoring, .normalise = true, .scale = 1.5f};
    const Routed r = route(compute, params, logits);
    std::vector<float> weights(r.weights.size());
    weigh_experts(compute, params, logits.data(), 32, 20, r.chosen.data(), weights.data());
    EXPECT_EQ(first_difference(weights, r.weights), -1);
  }
}

// The order of every sum is fixed: the same bits at every level, for any number of threads, and for the plain order
// written out.
TEST(RouteExperts, TheSameBitsEverywhere) {
  Random random(42);
  const int64_t experts = 160, used = 6;
  const std::vector<float> logits = random.normals(90 * experts, 3.0f), bias = random.normals(experts, 0.1f);
  for (ExpertScoring scoring : {ExpertScoring::kSoftmax, ExpertScoring::kSigmoid, ExpertScoring::kSoftmaxSelected,
                                ExpertScoring::kSqrtSoftplus}) {
    const RouterParams params{.experts = experts,
                              .used = used,
                              .scoring = scoring,
                              .bias = bias.data(),
                              .groups = 8,
                              .groups_used = 3,
                              .group_score = GroupScore::kTop2Sum,
                              .normalise = true,
                              .normalise_epsilon = 1e-20f,
                              .scale = 2.5f};
    ThreadPool one(1), three(3);
    const Routed want = route({&ref_table(), &one}, params, logits);
    for (IsaLevel level : available_isa_levels()) {
      for (ThreadPool* pool : {&one, &three}) {
        const Routed got = route({&kernel_table(level), pool}, params, logits);
        EXPECT_EQ(got.chosen, want.chosen) << isa_name(level);
        EXPECT_EQ(first_difference(got.weights, want.weights), -1) << isa_name(level);
      }
    }
    if (scoring != ExpertScoring::kSigmoid) continue;
    for (size_t t = 0; t < 90; ++t) {
      float score[used], sum = 0.0f;
      for (size_t s = 0; s < used; ++s) {
        const size_t e = static_cast<size_t>(want.chosen[t * used + s]);
        score[s] = sigmoid_f32(logits[t * experts + e]);
        sum += score[s];
      }
      for (size_t s = 0; s < used; ++s) EXPECT_EQ(want.weights[t * used + s], score[s] / (sum + 1e-20f) * 2.5f);
    }
  }
}

TEST(GroupByExpert, RowsInTheOrderOfTokens) {
  const std::vector<int32_t> chosen = {2, 0, 0, 3, 2, 3};  // three tokens, two experts each
  ExpertGroups groups;
  group_by_expert(4, 2, chosen, groups);
  EXPECT_EQ(groups.first, (Chosen{0, 2, 2, 4, 6}));
  EXPECT_EQ(groups.token, (Chosen{0, 1, 0, 2, 1, 2}));
  EXPECT_EQ(groups.row_of, (Chosen{2, 0, 1, 4, 3, 5}));
  group_by_expert(2, 1, std::vector<int32_t>{1}, groups);  // used again
  EXPECT_EQ(groups.first, (Chosen{0, 0, 1}));
  EXPECT_EQ(groups.token, (Chosen{0}));
}

TEST(CombineExperts, IsAChainInTheOrderOfSlots) {
  Random random(43);
  for (int64_t n : {1, 15, 16, 33, 200}) {
    const int64_t tokens = 70, slots = 5, ld = n + 3;
    const std::vector<float> rows = random.normals(tokens * slots * ld), weights = random.normals(tokens * slots);
    std::vector<int32_t> row_of;
    for (int64_t i = 0; i < tokens * slots; ++i) row_of.push_back(static_cast<int32_t>(random.below(tokens * slots)));
    std::vector<float> want;
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t i = 0; i < n; ++i) {
        float sum = 0.0f;
        for (int64_t s = 0; s < slots; ++s) {
          const auto slot = static_cast<size_t>(t * slots + s);
          sum = exact_fma(weights[slot], rows[static_cast<size_t>(row_of[slot] * ld + i)], sum);
        }
        want.push_back(sum);
      }
    }
    std::vector<const KernelTable*> tables = {&ref_table()};
    for (IsaLevel level : available_isa_levels()) tables.push_back(&kernel_table(level));
    for (const KernelTable* kernels : tables) {
      ThreadPool pool(3);
      std::vector<float> out(want.size());
      combine_experts({kernels, &pool}, rows.data(), ld, row_of.data(), weights.data(), tokens, slots, n, out.data(),
                      n);
      EXPECT_EQ(first_difference(out, want), -1) << isa_name(kernels->level) << " " << n;
    }
  }
}

TEST(GatherRows, CopiesTheRowsAskedFor) {
  ThreadPool pool(2);
  const std::vector<float> x = {1, 2, -1, 3, 4, -1, 5, 6, -1};
  const std::vector<int32_t> row = {2, 0, 2};
  std::vector<float> y(6);
  gather_rows({&ref_table(), &pool}, x.data(), 3, row.data(), 3, 2, y.data(), 2);
  EXPECT_EQ(y, (std::vector<float>{5, 6, 1, 2, 5, 6}));
}

}  // namespace
}  // namespace kinglet
