// Drafts change the speed and nothing else: answers with them are compared with answers without.
#include "engine/speculation.h"

#include <gtest/gtest.h>

#include <random>

#include "engine/engine.h"
#include "engine/engine_thread.h"
#include "engine/fake_model.h"
#include "engine/speculation_test_support.h"

namespace kinglet {
namespace {

struct Setting {
  FakeModelOptions model;
  EngineOptions engine;
};

std::vector<Completion> answers(const Setting& setting, const std::vector<Request>& requests, EngineStats* stats) {
  return answers(std::make_unique<FakeModel>(setting.model), setting.engine, requests, stats);
}

// Lookup and an adversary, models with and without a state, pools from ample to so small that sequences lose their
// pages all the time, steps from one token a sequence on.
TEST(Speculation, NeverChangesAnAnswer) {
  EngineStats all;
  int64_t preemptions = 0;
  for (uint32_t round = 0; round < 24; ++round) {
    SCOPED_TRACE(round);
    std::mt19937 random(round);
    Setting setting;
    setting.model.vocabulary = round % 2 == 0 ? 5 : 50;  // few tokens: everything stood there before
    setting.model.page_positions = 3 + static_cast<int64_t>(random() % 9);
    setting.model.recurrent = random() % 2 == 0;
    setting.model.drafts = true;
    setting.engine.max_sequences = 1 + static_cast<int64_t>(random() % 6);
    setting.engine.step_tokens =
        std::min<int64_t>(16, setting.engine.max_sequences + static_cast<int64_t>(random() % 12));
    const int64_t least = 64 / setting.model.page_positions + 1;
    setting.engine.kv_bytes = FakeModel(setting.model).page_bytes() * (static_cast<uint64_t>(least) + random() % 12);
    const auto requests = random_requests(random, setting.model.vocabulary, 60, 12);
    EngineStats stats;
    const auto plain = answers(setting, requests, &stats);
    setting.engine.speculation.always = round % 8 != 7;
    setting.engine.speculation.lookup = round % 3 != 0;
    setting.engine.speculation.max_tokens = 1 + static_cast<int64_t>(random() % 9);
    if (round % 3 != 1) {
      setting.engine.speculation.drafter =
          std::make_shared<RandomDrafter>(round, setting.model.vocabulary, truth_of(whole_texts(requests, plain)));
    }
    const auto drafted = answers(setting, requests, &stats);
    expect_same(plain, drafted);
    int64_t request_drafted = 0, request_accepted = 0;
    for (const Completion& completion : drafted) {
      request_drafted += completion.finish.stats.drafted_tokens;
      request_accepted += completion.finish.stats.accepted_tokens;
      EXPECT_LE(completion.finish.stats.accepted_tokens, completion.finish.stats.drafted_tokens);
    }
    EXPECT_EQ(request_drafted, stats.drafted_tokens);
    EXPECT_EQ(request_accepted, stats.accepted_tokens);
    all.drafted_tokens += stats.drafted_tokens;
    all.accepted_tokens += stats.accepted_tokens;
    preemptions += stats.preemptions;
  }
  EXPECT_GT(all.accepted_tokens, 300);
  EXPECT_GT(all.drafted_tokens - all.accepted_tokens, 300) << "too few drafts fail";
  EXPECT_GT(preemptions, 20) << "the pools are too large to test anything";
}

// A model that says the same eight tokens again and again.
Setting repetitive_setting(bool recurrent) {
  Setting setting;
  setting.model.context = 200;
  setting.model.recurrent = recurrent;
  setting.model.drafts = true;
  setting.model.logits = [](std::span<const int32_t> history, std::span<float> logits) {
    std::fill(logits.begin(), logits.end(), 0.0f);
    logits[10 + history.size() % 8] = 20.0f;
  };
  return setting;
}

TEST(Speculation, RepetitiveTextTakesFewSteps) {
  for (bool recurrent : {false, true}) {
    Setting setting = repetitive_setting(recurrent);
    Request request;
    request.prompt = {1, 2, 3};
    request.max_tokens = 150;
    request.sampling.temperature = 0.0f;
    EngineStats plain_stats, stats;
    const auto plain = answers(setting, {request}, &plain_stats);
    EXPECT_EQ(plain_stats.steps, 150);
    EXPECT_EQ(plain_stats.drafted_tokens, 0);
    setting.engine.speculation.lookup = setting.engine.speculation.always = true;
    setting.engine.speculation.max_tokens = 7;
    const auto drafted = answers(setting, {request}, &stats);
    expect_same(plain, drafted);
    EXPECT_LT(stats.steps, 40);
    EXPECT_GT(stats.accepted_tokens, 110);
  }
}

// One event a token, as without drafts: a client sees no difference but time.
TEST(Speculation, EventsStaySingle) {
  Setting setting = repetitive_setting(false);
  setting.engine.speculation.lookup = setting.engine.speculation.always = true;
  const auto engine = Engine::create(std::make_unique<FakeModel>(setting.model), nullptr, setting.engine);
  ASSERT_TRUE(engine.ok());
  Request request;
  request.prompt = {1};
  request.max_tokens = 60;
  auto generation = *(*engine)->submit(request);
  int events = 0;
  while (auto event = generation->next_event()) {
    EXPECT_EQ(event->tokens.size(), 1u);
    ++events;
    EXPECT_EQ(event->finish.has_value(), events == 60);
  }
  EXPECT_EQ(events, 60);
}

// Where a drafter has nothing to say, the text's own draft stands in.
TEST(Speculation, AnEmptyDraftIsReplacedByTheTexts) {
  class Silent final : public Drafter {
   public:
    void draft(std::span<DraftTask>) override { ++asked; }
    void forget(SequenceId) override {}
    int asked = 0;
  };
  const auto silent = std::make_shared<Silent>();
  SpeculationOptions options;
  options.lookup = options.always = true;
  options.drafter = silent;
  options.max_tokens = 3;
  Speculation speculation(options, false);
  const std::vector<int32_t> text = {1, 2, 3, 4, 5, 6, 1, 2, 3};
  std::vector<DraftTask> tasks(1);
  tasks[0].tokens = text;
  tasks[0].most = 9;
  speculation.draft(tasks);
  EXPECT_EQ(silent->asked, 1);
  EXPECT_EQ(tasks[0].draft, (std::vector<int32_t>{4, 5, 6}));
}

// What failed drafts make a recurrent model compute anew must not pile up, although every draft fails in the end.
TEST(Speculation, RepeatedTokensDoNotPileUp) {
  class Widest final : public FakeModel {
   public:
    Widest(FakeModelOptions options, size_t* widest) : FakeModel(std::move(options)), widest_(widest) {}
    std::span<const float> forward(std::span<const StepSlice> slices) override {
      if (slices[0].first_position > 0) *widest_ = std::max(*widest_, slices[0].tokens.size());
      return FakeModel::forward(slices);
    }

   private:
    size_t* widest_;
  };
  class NearlyRight final : public Drafter {
   public:
    void draft(std::span<DraftTask> tasks) override {
      for (DraftTask& task : tasks) {
        const auto known = static_cast<int32_t>(task.tokens.size());
        for (int32_t i = 0; i < std::min<int32_t>(4, static_cast<int32_t>(task.most)); ++i) {
          task.draft.push_back(i == 3 ? 1 : 10 + (known + i) % 8);
        }
      }
    }
    void forget(SequenceId) override {}
  };
  Setting setting = repetitive_setting(true);
  setting.model.max_step_tokens = 64;
  setting.engine.speculation.always = true;
  setting.engine.speculation.drafter = std::make_shared<NearlyRight>();
  Request request;
  request.prompt = {1};
  request.max_tokens = 150;
  request.sampling.temperature = 0.0f;
  size_t widest = 0;
  EngineStats stats;
  answers(std::make_unique<Widest>(setting.model, &widest), setting.engine, {request}, &stats);
  EXPECT_GT(stats.accepted_tokens, 90);
  EXPECT_LE(widest, 9u) << "four drafts behind one token and the four that the last failure left";
}

// A pool that gives fewer pages than it promised is a system that refuses memory. An answer that ends before it needs
// the next page must not fail because drafts wanted it.
TEST(Speculation, MemoryRefusedToDraftsIsNoError) {
  FakeModelOptions options = repetitive_setting(false).model;
  options.page_positions = 8;
  SchedulerLimits limits;
  limits.page_positions = 8;
  limits.pages = 8;
  limits.max_running = 1;
  limits.step_tokens = 16;
  SpeculationOptions speculation;
  speculation.always = true;
  speculation.drafter =
      std::make_shared<RandomDrafter>(1, options.vocabulary, [](std::span<const int32_t>) { return -1; });
  const auto mailbox = std::make_shared<Mailbox>();
  EngineThread thread(std::make_unique<FakeModel>(options), BlockPool::create(8 * sizeof(int32_t), 1).value(),
                      StatePool::create(0, 1).value(), limits, {}, speculation, mailbox);
  Request request;
  request.prompt = {1, 2, 3};
  request.max_tokens = 40;
  request.stop_tokens = {10 + 7};  // the fifth token
  request.sampling.temperature = 0.0f;
  const auto ticket = std::make_shared<Ticket>(mailbox);
  mailbox->submissions.push_back({1, std::make_unique<Sequence>(request, nullptr, 1, Sequence::Clock::now()), ticket});
  mailbox->closed = true;
  thread.run();
  std::vector<int32_t> tokens;
  std::optional<FinishInfo> finish;
  while (auto event = ticket->next(std::chrono::steady_clock::time_point::max())) {
    tokens.insert(tokens.end(), event->tokens.begin(), event->tokens.end());
    finish = event->finish;
  }
  ASSERT_TRUE(finish.has_value());
  EXPECT_EQ(finish->reason, FinishReason::kStop) << (finish->error ? finish->error->message : "");
  EXPECT_EQ(tokens, (std::vector<int32_t>{13, 14, 15, 16, 17}));
  EXPECT_GT(mailbox->stats.steps, 0);
}

TEST(Speculation, BadOptionsAreErrors) {
  for (int64_t tokens : {int64_t{0}, SpeculationOptions::kMostTokens + 1}) {
    EngineOptions options;
    options.speculation.lookup = true;
    options.speculation.max_tokens = tokens;
    const auto engine = Engine::create(std::make_unique<FakeModel>(FakeModelOptions{}), nullptr, options);
    ASSERT_FALSE(engine.ok());
    EXPECT_NE(engine.error().message.find(std::to_string(tokens)), std::string::npos);
  }
}

}  // namespace
}  // namespace kinglet
