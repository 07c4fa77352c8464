// Speculation on every family's tiny models: answers with drafts have the bits of answers without, sampled or greedy,
// whatever the drafts are worth and however few pages there are.
#include <gtest/gtest.h>

#include <random>

#include "engine/loader.h"
#include "engine/speculation_test_support.h"
#include "kinglet/kinglet.h"
#include "tests/speculation/load.h"
#include "tests/support/golden.h"
#include "tests/support/models.h"

namespace kinglet::test {
namespace {

class ModelSpeculation : public testing::TestWithParam<const GoldenModel*> {};

TEST_P(ModelSpeculation, NeverChangesABit) {
  const GoldenModel& golden = *GetParam();
  std::mt19937 random(static_cast<uint32_t>(GetParam() - golden_models().data()));
  const KvType kv = std::vector<KvType>{KvType::kF32, KvType::kF16, KvType::kQ8_0}[random() % 3];
  auto model = load(golden, kv);
  ASSERT_TRUE(model.ok()) << model.error().message;
  EngineOptions options;
  options.max_sequences = 4;
  options.step_tokens = 24;
  options.kv_bytes = (*model)->page_bytes() * 14;  // a full sequence has 12 pages
  const auto requests = random_requests(random, golden.vocabulary, 120, 6);
  EngineStats plain_stats, stats;
  const auto plain = answers(std::move(*model), options, requests, &plain_stats);
  int64_t accepted = 0, failed = 0;
  for (bool lookup : {true, false}) {
    SCOPED_TRACE(lookup ? "lookup" : "adversary");
    options.speculation.always = true;
    options.speculation.lookup = lookup;
    options.speculation.max_tokens = lookup ? 5 : 9;
    if (!lookup) {
      options.speculation.drafter =
          std::make_shared<RandomDrafter>(7, golden.vocabulary, truth_of(whole_texts(requests, plain)));
    }
    model = load(golden, kv);
    ASSERT_TRUE(model.ok()) << model.error().message;
    const auto drafted = answers(std::move(*model), options, requests, &stats);
    ASSERT_NO_FATAL_FAILURE(expect_same(plain, drafted));
    accepted += stats.accepted_tokens;
    failed += stats.drafted_tokens - stats.accepted_tokens;
  }
  EXPECT_GT(accepted, 20);
  EXPECT_GT(failed, 20);
}
INSTANTIATE_TEST_SUITE_P(All, ModelSpeculation, testing::ValuesIn(every_golden_model()),
                         [](const auto& row) { return test_name(row.param->name); });

// The public interface, with a model that drafts for itself.
TEST(RealModelSpeculation, ThroughTheInterface) {
  KINGLET_TEST_MODEL(path, "smollm2");
  std::vector<std::vector<int32_t>> answers;
  for (int way = 0; way < 3; ++way) {
    api::LoadOptions options;
    options.context = 512;
    options.speculate = way > 0;
    options.draft = way == 2 ? path : "";
    auto model = api::Model::load(path, options);
    ASSERT_TRUE(model.ok()) << model.failure().message;
    api::GenerateOptions generate;
    generate.sampling.seed = 5;
    generate.sampling.temperature = 0.5f;
    generate.max_tokens = 40;
    const auto answer = model->generate("one two three four, one two three four, one two three", generate);
    ASSERT_TRUE(answer.ok()) << answer.failure().message;
    EXPECT_LE(answer->accepted_tokens, answer->drafted_tokens);
    if (way == 0) {
      EXPECT_EQ(answer->drafted_tokens, 0);
    }
    answers.push_back(answer->tokens);
  }
  EXPECT_EQ(answers[1], answers[0]);
  EXPECT_EQ(answers[2], answers[0]);
  api::LoadOptions missing;
  missing.draft = "/nowhere/m.gguf";
  const auto model = api::Model::load(path, missing);
  ASSERT_FALSE(model.ok());
  EXPECT_NE(model.failure().message.find("/nowhere/m.gguf"), std::string::npos);
}

}  // namespace
}  // namespace kinglet::test
