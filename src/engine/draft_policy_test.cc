#include "engine/draft_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace kinglet {
namespace {

using Offers = std::vector<DraftOffer>;

DecodeStep plain_step(int64_t sequences, double seconds) {
  return {sequences, 0, sequences, false, seconds};
}
DecodeStep drafted_step(int64_t sequences, int64_t drafted, int64_t chosen, double seconds) {
  return {sequences, drafted, chosen, false, seconds};
}

void record_plain(DraftPolicy& policy, int64_t sequences, int count = 5, double seconds = 0.01) {
  for (int i = 0; i < count; ++i) policy.record(plain_step(sequences, seconds));
}

TEST(DraftOdds, FollowWhatHappened) {
  DraftOdds odds;
  EXPECT_LT(odds.chance(DraftReason::kPair), odds.chance(DraftReason::kLongPassage));
  const double before = odds.chance(DraftReason::kFew);
  odds.record(DraftReason::kFew, 4, 4);
  EXPECT_GT(odds.chance(DraftReason::kFew), before);
  for (int i = 0; i < 60; ++i) odds.record(DraftReason::kFew, 4, 0);
  EXPECT_LT(odds.chance(DraftReason::kFew), 0.1);
  for (int i = 0; i < 30; ++i) odds.record(DraftReason::kFew, 8, 8);
  EXPECT_GT(odds.chance(DraftReason::kFew), 0.9);
  for (int i = 0; i < 200; ++i) odds.record(DraftReason::kFew, 4, 3);  // three hold, one fails
  EXPECT_NEAR(odds.chance(DraftReason::kFew), 0.75, 0.05);
}

TEST(DraftPolicy, MeasuresPlainStepsFirst) {
  DraftPolicy policy;
  const Offers offers = {{8, 0.9}};
  EXPECT_EQ(policy.choose(offers, false, false).tokens, std::vector<int64_t>{0});
  record_plain(policy, 1);
  EXPECT_GT(policy.choose(offers, false, false).tokens[0], 0);
  // What one sequence costs says nothing of two.
  EXPECT_EQ(policy.choose(Offers{{8, 0.9}, {8, 0.9}}, false, false).tokens, (std::vector<int64_t>{0, 0}));
}

TEST(DraftPolicy, LikelyDraftsAreLong) {
  DraftPolicy policy;
  record_plain(policy, 2);
  auto choice = policy.choose(Offers{{16, 0.95}, {16, 0.4}}, false, false);
  EXPECT_GE(choice.tokens[0], 3);
  EXPECT_GT(choice.tokens[0], choice.tokens[1]);
  EXPECT_LE(choice.tokens[0], 4) << "the first is short";
  EXPECT_GT(choice.worth, 1.0);
  policy.record(drafted_step(2, 4, 6, 0.0105));
  policy.record(drafted_step(2, 12, 14, 0.012));
  choice = policy.choose(Offers{{16, 0.95}, {16, 0.4}}, false, false);
  EXPECT_GT(choice.tokens[0], 8);
  EXPECT_LE(choice.tokens[0], 16);
}

TEST(DraftPolicy, NothingIsDraftedWhereStepsCostAsMuchAsTokens) {
  DraftPolicy policy;
  record_plain(policy, 1);
  // A machine that computes each token at the price of a step: all drafts hold, and yet nothing is won.
  for (int step = 0; step < 200; ++step) {
    const int64_t drafts = policy.choose(Offers{{8, 0.9}}, false, false).tokens[0];
    policy.record(drafts == 0 ? plain_step(1, 0.01)
                              : drafted_step(1, drafts, 1 + drafts, 0.01 * static_cast<double>(1 + drafts)));
  }
  EXPECT_EQ(policy.choose(Offers{{8, 0.9}}, false, false).tokens[0], 0);
  EXPECT_NEAR(policy.cost(1, 4, false), 5.0, 1.0);
}

TEST(DraftPolicy, CostsLieOnALineBetweenMeasuredWidths) {
  DraftPolicy policy;
  record_plain(policy, 1, 12);
  for (int i = 0; i < 12; ++i) {
    policy.record(drafted_step(1, 4, 5, 0.014));
    policy.record(drafted_step(1, 8, 9, 0.022));
  }
  EXPECT_DOUBLE_EQ(policy.cost(1, 0, false), 1.0);
  EXPECT_NEAR(policy.cost(1, 2, false), 1.2, 0.05);
  EXPECT_NEAR(policy.cost(1, 6, false), 1.8, 0.05);
  EXPECT_NEAR(policy.cost(1, 16, false), 3.4, 0.2);
  EXPECT_LT(policy.cost(1, 8, true), 1.6) << "drafts of a model are counted apart";
}

TEST(DraftPolicy, RepeatedTokensAreCounted) {
  DraftPolicy policy;
  record_plain(policy, 1, 12);
  for (int i = 0; i < 12; ++i) policy.record(drafted_step(1, 8, 9, 0.02));
  const Offers offers = {{16, 0.7}};
  EXPECT_GT(policy.choose(offers, false, false).worth, policy.choose(offers, false, true).worth);
}

TEST(DraftPolicy, PlainStepsAreMeasuredAgainInBetween) {
  DraftPolicy policy;
  record_plain(policy, 1);
  int plain = 0;
  for (int step = 0; step < 1000; ++step) {
    const int64_t drafts = policy.choose(Offers{{8, 0.95}}, false, false).tokens[0];
    plain += drafts == 0 ? 1 : 0;
    policy.record(drafts == 0 ? plain_step(1, 0.01) : drafted_step(1, drafts, 1 + drafts, 0.012));
  }
  EXPECT_GE(plain, 10);
  EXPECT_LE(plain, 40);
}

// Plain steps of 10 ms; a drafted token makes a step `slope` longer; the policy sees both through
// noise. Drafts hold with `truth`, while the odds are what the sequence's own record says. The speed against plain
// decoding.
double simulate(double slope, double truth, int64_t sequences, int tokens, uint32_t seed) {
  std::mt19937 random(seed);
  const auto uniform = [&] { return static_cast<double>(random() % 10000) / 10000.0; };
  DraftPolicy policy;
  std::vector<DraftOdds> odds(static_cast<size_t>(sequences));
  double seconds = 0.0;
  int64_t given = 0;
  while (given < tokens * sequences) {
    Offers offers;
    std::vector<DraftReason> reasons;
    for (const DraftOdds& each : odds) {
      reasons.push_back(static_cast<DraftReason>(random() % 5));
      offers.push_back(uniform() < 0.2 ? DraftOffer{} : DraftOffer{16, each.chance(reasons.back())});
    }
    const auto choice = policy.choose(offers, false, false);
    int64_t drafted = 0, chosen = 0;
    for (size_t i = 0; i < odds.size(); ++i) {
      int64_t held = 0;
      while (held < choice.tokens[i] && uniform() < truth) ++held;
      if (choice.tokens[i] > 0) odds[i].record(reasons[i], choice.tokens[i], held);
      if (choice.tokens[i] == 0 && offers[i].tokens > 0) odds[i].pass(reasons[i]);
      drafted += choice.tokens[i];
      chosen += held + 1;
    }
    const double noise = 0.9 + 0.2 * uniform() + (random() % 50 == 0 ? 3.0 : 0.0);
    const double took = 0.01 * (1.0 + slope * static_cast<double>(drafted));
    policy.record({sequences, drafted, chosen, false, took * noise});
    seconds += took;
    given += chosen;
  }
  const double plain = 0.01 * static_cast<double>(given) / static_cast<double>(sequences);
  return plain / seconds;
}

TEST(DraftPolicy, LosesLittleWhereDraftsFailAndWinsWhereTheyHold) {
  for (int64_t sequences : {1, 2, 8}) {
    for (double slope : {0.02, 0.1, 0.3, 1.0}) {
      for (uint32_t seed = 0; seed < 8; ++seed) {
        EXPECT_GT(simulate(slope, 0.02, sequences, 600, seed), 0.97) << sequences << " sequences, slope " << slope;
      }
    }
  }
  EXPECT_GT(simulate(0.05, 0.95, 1, 2000, 1), 3.0);
  EXPECT_GT(simulate(0.15, 0.95, 1, 2000, 1), 1.8);
  EXPECT_GT(simulate(0.05, 0.95, 4, 2000, 1), 1.4);
}

// A text that begins to repeat itself after long failure is noticed.
TEST(DraftPolicy, TriesAgainNowAndThen) {
  DraftPolicy policy;
  DraftOdds odds;
  record_plain(policy, 1);
  int first_success = -1, tried = 0;
  for (int step = 0; step < 4000; ++step) {
    const bool holds = step >= 2000;
    const int64_t drafts = policy.choose(Offers{{8, odds.chance(DraftReason::kFew)}}, false, false).tokens[0];
    const int64_t accepted = holds ? drafts : 0;
    if (drafts > 0) odds.record(DraftReason::kFew, drafts, accepted);
    if (drafts == 0) odds.pass(DraftReason::kFew);
    if (drafts > 0 && !holds) ++tried;
    if (drafts > 0 && holds && first_success < 0) first_success = step - 2000;
    policy.record(drafts == 0
                      ? plain_step(1, 0.01)
                      : drafted_step(1, drafts, 1 + accepted, 0.01 * (1.0 + 0.1 * static_cast<double>(drafts))));
  }
  EXPECT_LT(tried, 200);
  EXPECT_GE(first_success, 0);
  EXPECT_LT(first_success, 400);
}

}  // namespace
}  // namespace kinglet
