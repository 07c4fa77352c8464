#include "engine/chunk_policy.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/scheduler.h"

namespace kinglet {
namespace {

TEST(ChunkPolicy, BesideNobodyThereIsNoLimit) {
  const ChunkPolicy policy;
  EXPECT_GT(policy.most(0), 1 << 20);
  EXPECT_EQ(policy.most(3), ChunkPolicy::kFirst);
}

TEST(ChunkPolicy, AStepNeverTakesNothing) {
  ChunkPolicy policy;
  policy.record(2, 0, 0.01);
  policy.record(2, 64, 100.0);
  EXPECT_EQ(policy.most(2), 1);
  policy.record(2, 1, 0.01);
  EXPECT_GE(policy.most(2), 1);
}

// Four answers go on while a text of 16,000 tokens is read, on machines of several kinds: the answers' gaps stay within
// 2.5 times what they were, after a few steps, and the text is read at a speed that these leave.
TEST(ChunkPolicy, ALongPromptHoldsNobodyUp) {
  for (double token_cost : {0.0001, 0.0008, 0.004, 0.02}) {
    for (double wide_discount : {1.0, 0.4}) {
      SCOPED_TRACE(::testing::Message() << token_cost << " " << wide_discount);
      const double decode = 0.02;
      const auto seconds = [&](int64_t decodes, int64_t prompt) {
        const double each = prompt >= 16 ? token_cost * wide_discount : token_cost;
        return decode + 0.0005 * static_cast<double>(decodes) + each * static_cast<double>(prompt);
      };
      SchedulerLimits limits;
      limits.pages = 3000;
      Scheduler scheduler(limits);
      ChunkPolicy policy;
      for (SequenceId id = 1; id <= 4; ++id) ASSERT_TRUE(scheduler.add(id, 10, 20000).ok());
      int64_t decodes = 0, steps = 0, late = 0;
      for (; !scheduler.runs(5) || scheduler.held_pages(5) < 250; ++steps) {
        ASSERT_LT(steps, 19000);
        if (steps == 20) {
          ASSERT_TRUE(scheduler.add(5, 16000, 16001).ok());
        }
        const StepPlan plan = scheduler.plan_step({}, policy.most(decodes));
        int64_t prompt = 0, answers = 0;
        for (const PlannedSlice& slice : plan.slices) {
          if (slice.id == 5) {
            prompt += slice.tokens;
          } else {
            ++answers;
          }
        }
        if (steps > 0) {
          ASSERT_EQ(answers, 4);
        }
        const double took = seconds(answers, prompt);
        if (steps > 0 && took > 2.5 * seconds(4, 0)) ++late;
        policy.record(answers, prompt, took);
        scheduler.advance(plan);
        for (const PlannedSlice& slice : plan.slices) {
          if (slice.samples && slice.id != 5) scheduler.append_token(slice.id);
        }
        decodes = 4;
      }
      EXPECT_LE(late, 5) << "of " << steps << " steps";
      int64_t fit = 1;  // tokens that a step has time for
      for (int64_t n = 1; n <= 500; ++n) {
        if (seconds(4, n) <= 2.2 * seconds(4, 0)) fit = n;
      }
      EXPECT_LE(steps, 50 + 4 * 16000 / fit);
    }
  }
}

}  // namespace
}  // namespace kinglet
