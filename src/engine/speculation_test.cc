// Drafts change the speed and nothing else: answers with them are compared with answers without.
#include "engine/speculation.h"

#include <gtest/gtest.h>

#include <random>

#include "engine/engine.h"
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
