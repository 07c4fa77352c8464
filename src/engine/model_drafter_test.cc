#include "engine/model_drafter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "engine/fake_model.h"
#include "engine/speculation_test_support.h"

namespace kinglet {
namespace {

FakeModelOptions drafting_model() {
  FakeModelOptions options;
  options.recurrent = false;
  options.drafts = true;
  options.page_positions = 8;
  options.max_step_tokens = 7;  // texts are taken in in several steps
  return options;
}

// What a model says greedily, by the plain definition.
std::vector<int32_t> greedy(const FakeModelOptions& options, std::vector<int32_t> text, int64_t count) {
  const FakeModel model(options);
  std::vector<int32_t> said;
  for (int64_t i = 0; i < count; ++i) {
    const auto logits = model.logits_after(text);
    said.push_back(static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    text.push_back(said.back());
  }
  return said;
}

// Texts that grow, turn off from what was drafted, and are cut back; several at a time.
TEST(ModelDrafter, SaysWhatItsModelWouldAfterTheWholeText) {
  const FakeModelOptions options = drafting_model();
  const auto drafter = ModelDrafter::create(std::make_unique<FakeModel>(options), 32, 60, options.vocabulary);
  ASSERT_TRUE(drafter.ok());
  std::mt19937 random(5);
  std::vector<std::vector<int32_t>> texts(4);
  for (int round = 0; round < 200; ++round) {
    std::vector<DraftTask> tasks;
    for (size_t i = 0; i < texts.size(); ++i) {
      auto& text = texts[i];
      if (random() % 30 == 0) {
        (*drafter)->forget(i);
        text.clear();
      }
      if (text.size() > 50) text.resize(1 + random() % 40);
      for (uint64_t more = text.empty() ? 1 + random() % 20 : random() % 4; more > 0; --more) {
        const auto likely = greedy(options, text, 1);
        text.push_back(random() % 3 == 0 ? static_cast<int32_t>(random() % 50) : likely[0]);
      }
      if (random() % 4 == 0) continue;
      DraftTask task;
      task.id = i;
      task.tokens = text;
      task.most = 1 + static_cast<int64_t>(random() % 6);
      tasks.push_back(task);
    }
    if (tasks.empty()) continue;
    (*drafter)->draft(tasks);
    for (const DraftTask& task : tasks) {
      ASSERT_FALSE(task.draft.empty());
      EXPECT_EQ(task.draft, greedy(options, {task.tokens.begin(), task.tokens.end()}, task.most));
    }
  }
}

TEST(ModelDrafter, EndsAtItsContextAndItsMemory) {
  const FakeModelOptions options = drafting_model();
  const auto drafter = ModelDrafter::create(std::make_unique<FakeModel>(options), 3, 20, options.vocabulary);
  ASSERT_TRUE(drafter.ok());
  const std::vector<int32_t> text(21, 1);
  const auto drafted = [&](SequenceId id, size_t known) {
    std::vector<DraftTask> tasks(1);
    tasks[0].id = id;
    tasks[0].tokens = std::span(text).first(known);
    tasks[0].most = 4;
    (*drafter)->draft(tasks);
    return tasks[0].draft.size();
  };
  EXPECT_EQ(drafted(1, 18), 3u);
  EXPECT_EQ(drafted(1, 20), 1u);
  EXPECT_EQ(drafted(1, 21), 0u);
  EXPECT_EQ(drafted(2, 3), 0u) << "the first has all pages";
  (*drafter)->forget(1);
  EXPECT_EQ(drafted(2, 3), 4u);
}

// Models of one family differ in rows that pad the vocabulary, and a tuned one may have tokens of its own.
TEST(ModelDrafter, ATextWithTokensThatItsModelLacksHasNoDraft) {
  const FakeModelOptions options = drafting_model();
  const auto drafter = ModelDrafter::create(std::make_unique<FakeModel>(options), 8, 60, options.vocabulary + 10);
  ASSERT_TRUE(drafter.ok());
  std::vector<int32_t> text = {1, 2, 3};
  const auto drafted = [&] {
    std::vector<DraftTask> tasks(1);
    tasks[0].tokens = text;
    tasks[0].most = 4;
    (*drafter)->draft(tasks);
    return tasks[0].draft.size();
  };
  EXPECT_EQ(drafted(), 4u);
  text.push_back(static_cast<int32_t>(options.vocabulary));
  EXPECT_EQ(drafted(), 0u);
  text.push_back(1);
  EXPECT_EQ(drafted(), 0u);
}

TEST(ModelDrafter, ARecurrentModelIsRefused) {
  const auto drafter = ModelDrafter::create(std::make_unique<FakeModel>(FakeModelOptions{}), 3, 20, 50);
  ASSERT_FALSE(drafter.ok());
  EXPECT_EQ(drafter.error().code, ErrorCode::kUnsupported);
}

// A model that drafts for its like is always right, one that errs now and then mostly; answers stay.
TEST(ModelDrafter, DraftsForTheEngine) {
  FakeModelOptions target;
  target.context = 128;
  target.drafts = true;
  std::mt19937 random(9);
  std::vector<Request> requests = random_requests(random, target.vocabulary, 60, 8);
  for (Request& request : requests) {
    request.sampling = {};
    request.sampling.temperature = 0.0f;
  }
  EngineOptions options;
  options.max_sequences = 3;
  EngineStats plain_stats, stats;
  const auto plain = answers(std::make_unique<FakeModel>(target), options, requests, &plain_stats);
  for (bool errs : {false, true}) {
    FakeModelOptions drafting = drafting_model();
    drafting.context = 128;
    if (errs) {
      drafting.logits = [target](std::span<const int32_t> history, std::span<float> logits) {
        const auto row = FakeModel(target).logits_after(history);
        std::copy(row.begin(), row.end(), logits.begin());
        if (history.size() % 5 == 0) logits[3] = 100.0f;
      };
    }
    auto drafter = ModelDrafter::create(std::make_unique<FakeModel>(drafting), 64, 128, target.vocabulary);
    ASSERT_TRUE(drafter.ok());
    options.speculation.always = true;
    options.speculation.max_tokens = 4;
    options.speculation.drafter = std::move(drafter).value();
    const auto drafted = answers(std::make_unique<FakeModel>(target), options, requests, &stats);
    expect_same(plain, drafted);
    EXPECT_LT(stats.steps * 3, plain_stats.steps * 2);
    if (errs) {
      EXPECT_LT(stats.accepted_tokens, stats.drafted_tokens);
    } else {
      // Only tokens behind a stop token were drafted in vain.
      EXPECT_GT(stats.accepted_tokens * 10, stats.drafted_tokens * 9);
    }
  }
}

}  // namespace
}  // namespace kinglet
