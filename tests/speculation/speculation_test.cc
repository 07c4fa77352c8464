// Speculation on every family's tiny models: answers with drafts have the bits of answers without, sampled or greedy,
// whatever the drafts are worth and however few pages there are.
#include <gtest/gtest.h>

#include <random>

#include "engine/loader.h"
#include "engine/speculation_test_support.h"
#include "tests/support/golden.h"

namespace kinglet::test {
namespace {

std::unique_ptr<StepModel> load(const GoldenModel& golden, KvType kv) {
  auto checkpoint = open_checkpoint(golden.gguf.empty() ? golden.folder : golden.gguf);
  if (!checkpoint.ok()) {
    ADD_FAILURE() << checkpoint.error().message;
    return nullptr;
  }
  ModelOptions options;
  options.context = 192;
  options.page_positions = 16;
  options.threads = 1;
  options.kv_type = kv;
  auto model = load_step_model(*checkpoint, options);
  if (!model.ok()) {
    ADD_FAILURE() << model.error().message;
    return nullptr;
  }
  return std::move(model).value();
}

class ModelSpeculation : public testing::TestWithParam<const GoldenModel*> {};

TEST_P(ModelSpeculation, NeverChangesABit) {
  const GoldenModel& golden = *GetParam();
  std::mt19937 random(static_cast<uint32_t>(GetParam() - golden_models().data()));
  const KvType kv = std::vector<KvType>{KvType::kF32, KvType::kF16, KvType::kQ8_0}[random() % 3];
  auto model = load(golden, kv);
  ASSERT_NE(model, nullptr);
  EngineOptions options;
  options.max_sequences = 4;
  options.step_tokens = 24;
  options.kv_bytes = model->page_bytes() * 14;  // a full sequence has 12 pages
  const auto requests = random_requests(random, golden.vocabulary, 120, 6);
  EngineStats plain_stats, stats;
  const auto plain = answers(std::move(model), options, requests, &plain_stats);
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
    ASSERT_NE(model, nullptr);
    const auto drafted = answers(std::move(model), options, requests, &stats);
    ASSERT_NO_FATAL_FAILURE(expect_same(plain, drafted));
    accepted += stats.accepted_tokens;
    failed += stats.drafted_tokens - stats.accepted_tokens;
  }
  EXPECT_GT(accepted, 20);
  EXPECT_GT(failed, 20);
}
INSTANTIATE_TEST_SUITE_P(All, ModelSpeculation, testing::ValuesIn(every_golden_model()),
                         [](const auto& row) { return test_name(row.param->name); });

}  // namespace
}  // namespace kinglet::test
