#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace kinglet {
namespace {

SchedulerLimits limits(int64_t pages, int64_t max_running, int64_t step_tokens, int64_t page_positions = 4) {
  SchedulerLimits result;
  result.page_positions = page_positions;
  result.pages = pages;
  result.max_running = max_running;
  result.step_tokens = step_tokens;
  return result;
}

// Carries out a plan and gives every sequence that sampled one more token.
void run(Scheduler& scheduler, const StepPlan& plan) {
  scheduler.advance(plan);
  for (const PlannedSlice& slice : plan.slices) {
    if (slice.samples) scheduler.append_token(slice.id);
  }
}

TEST(Scheduler, APromptGoesInChunksAndThenDecodes) {
  Scheduler scheduler(limits(10, 4, 8));
  ASSERT_TRUE(scheduler.add(1, 19, 30).ok());
  StepPlan plan = scheduler.plan_step();
  EXPECT_EQ(plan.admitted, (std::vector<SequenceId>{1}));
  EXPECT_EQ(plan.slices, (std::vector<PlannedSlice>{{1, 0, 8, 2, false}}));
  run(scheduler, plan);
  plan = scheduler.plan_step();
  EXPECT_TRUE(plan.admitted.empty());
  EXPECT_EQ(plan.slices, (std::vector<PlannedSlice>{{1, 8, 8, 4, false}}));
  run(scheduler, plan);
  plan = scheduler.plan_step();
  EXPECT_EQ(plan.slices, (std::vector<PlannedSlice>{{1, 16, 3, 5, true}}));
  run(scheduler, plan);
  plan = scheduler.plan_step();
  EXPECT_EQ(plan.slices, (std::vector<PlannedSlice>{{1, 19, 1, 5, true}}));
  run(scheduler, plan);
  plan = scheduler.plan_step();
  EXPECT_EQ(plan.slices, (std::vector<PlannedSlice>{{1, 20, 1, 6, true}}));
}

TEST(Scheduler, DecodesGoInEveryStepAndPromptsFillTheRest) {
  Scheduler scheduler(limits(100, 4, 8));
  ASSERT_TRUE(scheduler.add(1, 2, 50).ok());
  ASSERT_TRUE(scheduler.add(2, 3, 50).ok());
  run(scheduler, scheduler.plan_step());
  ASSERT_TRUE(scheduler.add(3, 20, 50).ok());
  for (int step = 0; step < 3; ++step) {
    const StepPlan plan = scheduler.plan_step();
    ASSERT_EQ(plan.slices.size(), 3u);
    EXPECT_EQ(plan.slices[0].tokens, 1);
    EXPECT_EQ(plan.slices[1].tokens, 1);
    EXPECT_EQ(plan.slices[2].id, 3u);
    EXPECT_EQ(plan.slices[2].tokens, 6);
    run(scheduler, plan);
  }
  EXPECT_EQ(scheduler.plan_step().slices[2].tokens, 2);
}

TEST(Scheduler, RefusesWhatCanNeverFitWithTheNumbers) {
  Scheduler scheduler(limits(10, 4, 8));
  EXPECT_TRUE(scheduler.add(1, 5, 40).ok());
  const Status refused = scheduler.add(2, 5, 41);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kResource);
  for (const char* number : {"41", "11", "4", "10"}) {
    EXPECT_NE(refused.error().message.find(number), std::string::npos) << refused.error().message;
  }
  EXPECT_EQ(scheduler.waiting(), 1);
}

TEST(Scheduler, TheYoungestGivesWay) {
  Scheduler scheduler(limits(6, 4, 32));
  for (SequenceId id : {1, 2, 3}) ASSERT_TRUE(scheduler.add(id, 4, 24).ok());
  StepPlan plan = scheduler.plan_step();
  EXPECT_EQ(plan.admitted, (std::vector<SequenceId>{1, 2, 3}));
  std::vector<SequenceId> preempted;
  for (int step = 0; step < 12 && preempted.empty(); ++step) {
    run(scheduler, plan);
    plan = scheduler.plan_step();
    preempted = plan.preempted;
  }
  EXPECT_EQ(preempted, (std::vector<SequenceId>{3}));
  EXPECT_EQ(scheduler.held_pages(3), 0);
  EXPECT_EQ(scheduler.waiting(), 1);
  run(scheduler, plan);
  scheduler.remove(1);
  scheduler.remove(2);
  plan = scheduler.plan_step();  // back again, computed anew with all it knew
  ASSERT_EQ(plan.slices.size(), 1u);
  EXPECT_EQ(plan.slices[0].id, 3u);
  EXPECT_EQ(plan.slices[0].first_position, 0);
  EXPECT_GT(plan.slices[0].tokens, 4);
  EXPECT_TRUE(plan.slices[0].samples);
}

TEST(Scheduler, DraftsTakeWhatIsLeft) {
  Scheduler scheduler(limits(4, 4, 8));  // pages of 4 positions
  ASSERT_TRUE(scheduler.add(1, 2, 16).ok());
  ASSERT_TRUE(scheduler.add(2, 3, 5).ok());
  run(scheduler, scheduler.plan_step());
  StepPlan plan = scheduler.plan_step();
  EXPECT_EQ(scheduler.add_drafts(&plan, 0, 9), 1);
  EXPECT_EQ(plan.slices[0], (PlannedSlice{1, 2, 2, 1, true, 1}));
  EXPECT_EQ(scheduler.add_drafts(&plan, 1, 9), 0) << "two free pages are one for each of the two";
  scheduler.advance(plan);
  scheduler.append_token(1, 1);  // the draft held
  scheduler.append_token(2, 0);
  plan = scheduler.plan_step();
  EXPECT_EQ(plan.slices[0], (PlannedSlice{1, 4, 1, 2, true, 0}));
  EXPECT_EQ(plan.slices[1], (PlannedSlice{2, 4, 1, 2, true, 0}));
  EXPECT_EQ(scheduler.add_drafts(&plan, 0, 9), 3);  // no page is free, but the sequence's own
  EXPECT_EQ(scheduler.add_drafts(&plan, 0, 9), 0);
  scheduler.advance(plan);
  scheduler.append_and_repeat(plan.slices[0], 2);
  EXPECT_EQ(scheduler.plan_step().slices[0], (PlannedSlice{1, 4, 4, 2, true, 0}));
}

TEST(Scheduler, DraftsDisplaceNobody) {
  Scheduler scheduler(limits(100, 3, 8));
  ASSERT_TRUE(scheduler.add(1, 2, 50).ok());
  run(scheduler, scheduler.plan_step());
  ASSERT_TRUE(scheduler.add(2, 20, 50).ok());
  StepPlan plan = scheduler.plan_step();
  EXPECT_EQ(plan.slices[1].tokens, 7);
  EXPECT_EQ(scheduler.add_drafts(&plan, 0, 4), 0) << "the prompt has filled the step";
}

// What a caller sees of the scheduler, kept beside it.
struct Shadow {
  int64_t known = 0, computed = 0, longest = 0, pages = 0, wanted = 0;
  bool running = false;
  int64_t turn = -1;  // when it first joined
  std::vector<int64_t> cuts;
};

class Trace {
 public:
  Trace(uint32_t seed, const SchedulerLimits& trace_limits)
      : seed_(seed), random_(seed), limits_(trace_limits), scheduler_(trace_limits) {}

  void run(int arrivals) {
    for (int64_t step = 0; arrivals > 0 || !all_.empty(); ++step) {
      ASSERT_LT(step, 200000) << "requests don't finish";
      while (arrivals > 0 && (random_() % 3 == 0 || all_.empty())) {
        arrive();
        --arrivals;
      }
      if (all_.empty()) continue;
      ASSERT_NO_FATAL_FAILURE(one_step());
    }
    EXPECT_EQ(scheduler_.free_pages(), limits_.pages);
    EXPECT_EQ(scheduler_.running(), 0);
    EXPECT_EQ(scheduler_.waiting(), 0);
  }
  int64_t preemptions() const { return preemptions_; }
  int64_t drafts() const { return drafts_; }
  int64_t finished() const { return finished_; }

 private:
  void arrive() {
    const int64_t most = limits_.pages * limits_.page_positions;
    Shadow shadow;
    shadow.known = 1 + static_cast<int64_t>(random_() % static_cast<uint64_t>(most));
    shadow.longest = shadow.known + static_cast<int64_t>(random_() % 40);
    const Status added =
        scheduler_.add(++next_id_, shadow.known, shadow.longest,
                       {std::string(1, static_cast<char>('a' + random_() % 3)), static_cast<int>(random_() % 3)});
    ASSERT_EQ(added.ok(), shadow.longest <= most);
    if (added.ok()) all_[next_id_] = shadow;
  }

  // Something is in a cache, or will be soon; somewhere a slice has to end.
  CachedStart start(SequenceId id) {
    const Shadow& shadow = all_.at(id);
    CachedStart start;
    if (shadow.turn < 0 && scheduler_.running() > 0 && random_() % 8 == 0) {
      start.wait = true;
      return start;
    }
    if (random_() % 2 == 0) start.computed = static_cast<int64_t>(random_() % static_cast<uint64_t>(shadow.known));
    for (int64_t at = start.computed + 1; at < shadow.known; ++at) {
      if (random_() % 16 == 0) start.cuts.push_back(at);
    }
    starts_[id] = start;
    return start;
  }

  void check_plan(const StepPlan& plan) {
    ASSERT_FALSE(plan.empty());
    for (SequenceId id : plan.preempted) {
      ASSERT_TRUE(all_.at(id).running);
      all_[id].running = false;
      all_[id].pages = all_[id].computed = 0;
      all_[id].cuts.clear();
      ++preemptions_;
    }
    for (SequenceId id : plan.admitted) {
      Shadow& shadow = all_.at(id);
      ASSERT_FALSE(shadow.running);
      shadow.running = true;
      shadow.computed = starts_.at(id).computed;
      shadow.cuts = starts_.at(id).cuts;
      shadow.pages = scheduler_.pages_for(shadow.computed);
      if (shadow.turn < 0) shadow.turn = next_turn_++;
    }
    const auto senior = std::min_element(all_.begin(), all_.end(), [](const auto& a, const auto& b) {
      return static_cast<uint64_t>(a.second.turn) < static_cast<uint64_t>(b.second.turn);
    });
    ASSERT_EQ(plan.slices.front().id, senior->first) << "the most senior must advance in every step";
    int64_t tokens = 0;
    for (const PlannedSlice& slice : plan.slices) {
      Shadow& shadow = all_.at(slice.id);
      ASSERT_TRUE(shadow.running);
      ASSERT_GT(slice.tokens, 0);
      ASSERT_EQ(slice.first_position, shadow.computed);
      ASSERT_LE(slice.first_position + slice.tokens, shadow.known);
      ASSERT_EQ(slice.samples, slice.first_position + slice.tokens == shadow.known);
      ASSERT_EQ(slice.drafts, 0);
      const auto cut = std::upper_bound(shadow.cuts.begin(), shadow.cuts.end(), slice.first_position);
      const int64_t end = slice.first_position + slice.tokens;
      ASSERT_TRUE(cut == shadow.cuts.end() || end <= *cut);
      ASSERT_EQ(slice.cut, cut != shadow.cuts.end() && end == *cut);
      ASSERT_GE(slice.pages, shadow.pages);
      ASSERT_GE(slice.pages * limits_.page_positions, slice.first_position + slice.tokens);
      ASSERT_TRUE((slice.pages - 1) * limits_.page_positions < slice.first_position + slice.tokens ||
                  slice.pages == shadow.pages)  // kept from drafts
          << slice.pages;
      shadow.pages = slice.pages;
      tokens += slice.tokens;
    }
    ASSERT_LE(tokens, limits_.step_tokens);
    check_accounts();
  }

  void check_accounts() {
    int64_t held = 0, running = 0, last_running = -1, first_waiting = INT64_MAX;
    for (const auto& [id, shadow] : all_) {
      held += shadow.pages;
      running += shadow.running ? 1 : 0;
      ASSERT_EQ(scheduler_.held_pages(id), shadow.pages);
      ASSERT_EQ(scheduler_.runs(id), shadow.running);
      if (shadow.running) last_running = std::max(last_running, shadow.turn);
      if (!shadow.running && shadow.turn >= 0) first_waiting = std::min(first_waiting, shadow.turn);
    }
    ASSERT_LT(last_running, first_waiting) << "a junior runs, and a senior one waits";
    ASSERT_LE(held, limits_.pages);
    ASSERT_EQ(scheduler_.free_pages(), limits_.pages - held);
    ASSERT_EQ(scheduler_.running(), running);
    ASSERT_LE(running, limits_.max_running);
  }

  void check_decodes(const StepPlan& plan) {
    for (const auto& [id, shadow] : all_) {
      if (!shadow.running || shadow.known - shadow.computed != 1) continue;
      if (std::count(plan.admitted.begin(), plan.admitted.end(), id) > 0) continue;
      const bool planned = std::any_of(plan.slices.begin(), plan.slices.end(),
                                       [sequence = id](const PlannedSlice& slice) { return slice.id == sequence; });
      // Left out only when it needs a page and older ones hold or took them all.
      ASSERT_TRUE(planned || shadow.computed % limits_.page_positions == 0);
    }
  }

  // Drafts for some; nobody's tokens or pages change.
  void draft(StepPlan* plan) {
    int64_t tokens = 0, added = 0;
    for (const PlannedSlice& slice : plan->slices) tokens += slice.tokens;
    for (size_t i = 0; i < plan->slices.size(); ++i) {
      if (!plan->slices[i].samples || random_() % 2 == 0) continue;
      Shadow& shadow = all_.at(plan->slices[i].id);
      const PlannedSlice before = plan->slices[i];
      const int64_t granted = scheduler_.add_drafts(plan, i, static_cast<int64_t>(random_() % 7));
      const PlannedSlice& slice = plan->slices[i];
      ASSERT_EQ(slice.drafts, granted);
      ASSERT_EQ(slice.tokens, before.tokens + granted);
      ASSERT_GE(slice.pages, before.pages);
      ASSERT_GE(slice.pages * limits_.page_positions, slice.first_position + slice.tokens);
      ASSERT_LE(shadow.known + granted, shadow.longest);
      shadow.pages = slice.pages;
      added += granted;
    }
    ASSERT_LE(tokens + added, limits_.step_tokens);
    drafts_ += added;
    check_accounts();
  }

  void one_step() {
    const int64_t most_prompt = random_() % 2 == 0 ? INT64_MAX : 1 + static_cast<int64_t>(random_() % 9);
    StepPlan plan = scheduler_.plan_step([this](SequenceId id) { return start(id); }, most_prompt);
    ASSERT_NO_FATAL_FAILURE(check_plan(plan));
    ASSERT_NO_FATAL_FAILURE(check_decodes(plan));
    ASSERT_NO_FATAL_FAILURE(draft(&plan));
    scheduler_.advance(plan);
    for (const PlannedSlice& slice : plan.slices) {
      Shadow& shadow = all_.at(slice.id);
      shadow.computed += slice.tokens - slice.drafts;
      if (!slice.samples) continue;
      const int64_t accepted =
          slice.drafts == 0 ? 0 : static_cast<int64_t>(random_() % static_cast<uint64_t>(slice.drafts + 1));
      if (shadow.known + accepted == shadow.longest || random_() % 60 == 0) {
        scheduler_.remove(slice.id);
        all_.erase(slice.id);
        ++finished_;
      } else if (accepted < slice.drafts && seed_ % 2 == 0) {  // as with a recurrent state
        scheduler_.append_and_repeat(slice, accepted);
        shadow.known += accepted + 1;
        shadow.computed = slice.first_position;
      } else {
        scheduler_.append_token(slice.id, accepted);
        shadow.known += accepted + 1;
        shadow.computed += accepted;
      }
    }
    if (!all_.empty() && random_() % 20 == 0) {  // someone gives up
      const auto victim = std::next(all_.begin(), static_cast<int64_t>(random_() % all_.size()));
      scheduler_.remove(victim->first);
      all_.erase(victim);
    }
    check_accounts();
  }

  uint32_t seed_;
  std::mt19937 random_;
  SchedulerLimits limits_;
  Scheduler scheduler_;
  std::map<SequenceId, Shadow> all_;
  std::map<SequenceId, CachedStart> starts_;
  int64_t next_turn_ = 0;
  SequenceId next_id_ = 0;
  int64_t preemptions_ = 0, finished_ = 0, drafts_ = 0;
};

TEST(Scheduler, AShortPromptNeedNotWaitForALongOne) {
  Scheduler scheduler(limits(1000, 4, 64));
  ASSERT_TRUE(scheduler.add(1, 2000, 2001).ok());
  run(scheduler, scheduler.plan_step());
  ASSERT_TRUE(scheduler.add(2, 30, 2001).ok());
  const StepPlan plan = scheduler.plan_step();
  ASSERT_EQ(plan.slices.size(), 2u);
  EXPECT_EQ(plan.slices[1].tokens, 24);
  EXPECT_EQ(plan.slices[0].tokens, 40) << "the long one goes on at half the speed at least";
}

TEST(Scheduler, UsersAreServedAlikeAndPrioritiesGoFirst) {
  Scheduler scheduler(limits(1000, 2, 64));
  for (SequenceId id = 1; id <= 6; ++id) ASSERT_TRUE(scheduler.add(id, 640, 700, {"many", 0}).ok());
  run(scheduler, scheduler.plan_step());  // 1 and 2 run
  ASSERT_TRUE(scheduler.add(7, 640, 700, {"one", 0}).ok());
  ASSERT_TRUE(scheduler.add(8, 640, 700, {"many", 5}).ok());
  scheduler.remove(1);
  StepPlan plan = scheduler.plan_step();
  EXPECT_EQ(plan.admitted, (std::vector<SequenceId>{8})) << "the highest priority first";
  run(scheduler, plan);
  scheduler.remove(2);
  plan = scheduler.plan_step();
  EXPECT_EQ(plan.admitted, (std::vector<SequenceId>{7})) << "then who had least";
  run(scheduler, plan);
  scheduler.remove(8);
  int64_t one = 0, many = 0;
  for (int step = 0; step < 6; ++step) {
    plan = scheduler.plan_step();
    for (const PlannedSlice& slice : plan.slices) (slice.id == 7 ? one : many) += slice.tokens;
    run(scheduler, plan);
  }
  EXPECT_GT(one, 6 * 64 * 3 / 5) << "the one has had less so far";
  EXPECT_GT(many, 0);
}

// However many of a higher priority come, the oldest joins in the end.
TEST(Scheduler, NobodyWaitsForEver) {
  Scheduler scheduler(limits(100, 1, 8));
  ASSERT_TRUE(scheduler.add(1, 4, 5, {"", 0}).ok());
  for (SequenceId id = 2; id < 30; ++id) {
    ASSERT_TRUE(scheduler.add(id, 4, 5, {"", 1}).ok());
    const StepPlan plan = scheduler.plan_step();
    ASSERT_EQ(plan.slices.size(), 1u);
    if (plan.slices[0].id == 1) {
      EXPECT_EQ(id, 10u) << "after eight others";
      return;
    }
    run(scheduler, plan);
    scheduler.remove(plan.slices[0].id);
  }
  FAIL() << "the oldest never joined";
}

TEST(Scheduler, RandomTracesKeepTheInvariants) {
  std::mt19937 random(11);
  int64_t preemptions = 0, drafts = 0, finished = 0;
  for (uint32_t seed = 0; seed < 150; ++seed) {
    const auto step_tokens = static_cast<int64_t>(1 + random() % 40);
    const auto max_running =
        static_cast<int64_t>(1 + random() % static_cast<uint64_t>(std::min<int64_t>(step_tokens, 9)));
    Trace trace(seed, limits(static_cast<int64_t>(1 + random() % 30), max_running, step_tokens,
                             static_cast<int64_t>(1 + random() % 16)));
    trace.run(60);
    if (::testing::Test::HasFatalFailure()) FAIL() << "seed " << seed;
    preemptions += trace.preemptions();
    drafts += trace.drafts();
    finished += trace.finished();
  }
  EXPECT_GT(finished, 1000);
  EXPECT_GT(preemptions, 100) << "the traces are too easy";
  EXPECT_GT(drafts, 1000);
}

TEST(SchedulerDeathTest, ADecodeMustAlwaysFitTheStep) {
  EXPECT_DEATH(Scheduler(limits(4, 9, 8)), "room");
}

}  // namespace
}  // namespace kinglet
