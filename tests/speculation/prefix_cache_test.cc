// The prefix cache on every family's tiny models: answers that go on from cached pages and states have the bits of
// answers that computed everything, for all kinds of cache, with drafts or without, in pools that are too small.
#include <gtest/gtest.h>

#include <random>

#include "engine/speculation_test_support.h"
#include "tests/speculation/load.h"
#include "tests/support/golden.h"

namespace kinglet::test {
namespace {

// Prompts that share beginnings of all lengths, and conversations that go on from another one's answer.
std::vector<Request> related_requests(std::mt19937& random, int64_t vocabulary) {
  std::vector<Request> requests = random_requests(random, vocabulary, 90, 6);
  const std::vector<int32_t> shared = random_requests(random, vocabulary, 160, 1)[0].prompt;
  for (Request& request : requests) {
    const size_t size = random() % (shared.size() + 1);
    request.prompt.insert(request.prompt.begin(), shared.begin(), shared.begin() + static_cast<std::ptrdiff_t>(size));
    request.prompt.resize(std::min<size_t>(request.prompt.size(), 150));
    request.sampling.logprobs = 2;
    request.max_tokens = std::min<int64_t>(request.max_tokens, 24);
  }
  return requests;
}

// The same in turn, and then what an agent would send next.
std::vector<Completion> two_turns(std::unique_ptr<StepModel> model, const EngineOptions& options,
                                  const std::vector<Request>& requests, EngineStats* stats) {
  const auto engine = Engine::create(std::move(model), nullptr, options);
  EXPECT_TRUE(engine.ok()) << (engine.ok() ? "" : engine.error().message);
  std::vector<Completion> completions;
  std::vector<Request> turn = requests;
  for (int i = 0; i < 2; ++i) {
    std::vector<std::shared_ptr<Generation>> generations;
    for (const Request& request : turn) generations.push_back(*(*engine)->submit(request));
    for (size_t r = 0; r < turn.size(); ++r) {
      completions.push_back(generations[r]->wait());
      const auto& answer = completions.back().tokens;
      turn[r].prompt.insert(turn[r].prompt.end(), answer.begin(), answer.end());
      if (turn[r].prompt.size() < 180) turn[r].prompt.push_back(1);
    }
  }
  (*engine)->drain();
  *stats = (*engine)->stats();
  EXPECT_EQ(stats->pages_used, 0);
  return completions;
}

class PrefixModelInvariance : public testing::TestWithParam<const GoldenModel*> {};

TEST_P(PrefixModelInvariance, AHitChangesNoBit) {
  const GoldenModel& golden = *GetParam();
  std::mt19937 random(static_cast<uint32_t>(GetParam() - golden_models().data()));
  const KvType kv = std::vector<KvType>{KvType::kF32, KvType::kF16, KvType::kQ8_0}[random() % 3];
  const auto requests = related_requests(random, golden.vocabulary);
  auto model = load(golden, kv);
  ASSERT_TRUE(model.ok()) << model.error().message;
  EngineOptions options;
  options.max_sequences = 3;
  options.step_tokens = 40;
  options.prefix_cache = false;
  const uint64_t page_bytes = (*model)->page_bytes();
  EngineStats stats;
  const auto plain = two_turns(std::move(*model), options, requests, &stats);
  options.prefix_cache = true;
  int64_t hit_tokens = 0;
  for (bool hard : {false, true}) {
    SCOPED_TRACE(hard ? "few pages and drafts" : "plain");
    if (hard) {
      options.kv_bytes = page_bytes * 14;  // a full sequence has 12 pages
      options.speculation.always = options.speculation.lookup = true;
      options.speculation.max_tokens = 5;
    }
    model = load(golden, kv);
    ASSERT_TRUE(model.ok()) << model.error().message;
    const auto cached = two_turns(std::move(*model), options, requests, &stats);
    ASSERT_NO_FATAL_FAILURE(expect_same(plain, cached));
    hit_tokens += stats.cache_hit_tokens;
  }
  EXPECT_GT(hit_tokens, 100);
}
INSTANTIATE_TEST_SUITE_P(All, PrefixModelInvariance, testing::ValuesIn(every_golden_model()),
                         [](const auto& row) { return test_name(row.param->name); });

}  // namespace
}  // namespace kinglet::test
