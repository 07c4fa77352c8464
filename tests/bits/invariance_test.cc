// One meaning, many speeds (docs/NUMERICS.md): for a model, compute mode, KV type and token history the logits have the
// same bits whatever the batch, its neighbours, the chunks of the prompt, the page size, the number of threads and the
// instruction set. Draws all of these at random and compares with one plain run.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "tests/support/golden.h"
#include "tests/support/models.h"
#include "tests/support/runner.h"

namespace kinglet::test {
namespace {

struct Config {
  std::string path;
  ModelOptions options;
};

std::unique_ptr<Model> load(const Config& config) {
  auto checkpoint = open_checkpoint(config.path);
  if (!checkpoint.ok()) {
    ADD_FAILURE() << checkpoint.error().message;
    return nullptr;
  }
  auto model = Model::load(*checkpoint, config.options);
  if (!model.ok()) {
    ADD_FAILURE() << model.error().message;
    return nullptr;
  }
  EXPECT_TRUE(config.options.isa.empty() || isa_name((*model)->isa()) == config.options.isa)
      << "another instruction set ran";
  return std::move(model).value();
}

std::string describe(const ModelOptions& o) {
  return "isa " + o.isa + ", threads " + std::to_string(o.threads) + ", pages of " + std::to_string(o.page_positions) +
         ", compute " + (o.compute == ComputeMode::kInt8 ? "int8" : "f32") + ", KV " +
         std::to_string(static_cast<int>(o.kv_type));
}

class Draw {
 public:
  explicit Draw(uint64_t seed) : engine_(seed) {}
  size_t below(size_t n) { return static_cast<size_t>(engine_() % n); }
  template <class T>
  const T& of(const std::vector<T>& values) {
    return values[below(values.size())];
  }

 private:
  std::mt19937_64 engine_;
};

std::vector<int32_t> random_tokens(Draw& draw, size_t count, int64_t vocabulary) {
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = static_cast<int32_t>(draw.below(static_cast<size_t>(vocabulary)));
  return tokens;
}

// Runs the sequences together, each joining at a random step and cut into random chunks, and returns their logits.
std::vector<std::vector<float>> run_mixed(Model& model, const std::vector<std::vector<int32_t>>& sequences,
                                          Draw& draw) {
  std::vector<std::unique_ptr<SequenceRun>> runs;
  std::vector<SequenceRun*> pointers;
  for (const auto& tokens : sequences) {
    runs.push_back(std::make_unique<SequenceRun>(model, tokens));
    pointers.push_back(runs.back().get());
  }
  const std::vector<size_t> sizes = {0, 1, 1, 2, 3, 5, 7, 16, 17, 40, 64};
  auto pending = [&] {
    return std::any_of(pointers.begin(), pointers.end(), [](const SequenceRun* r) { return !r->done(); });
  };
  while (pending()) {
    std::vector<size_t> counts;
    for (size_t i = 0; i < pointers.size(); i++) counts.push_back(draw.of(sizes));
    step(model, pointers, counts);
  }
  std::vector<std::vector<float>> logits;
  for (const auto& run : runs) logits.push_back(run->logits());
  return logits;
}

size_t first_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return std::min(a.size(), b.size());
  for (size_t i = 0; i < a.size(); i++)
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0) return i;
  return a.size();
}

void expect_invariance(const std::string& path, ComputeMode compute, KvType kv, size_t length, int rounds, Draw& draw) {
  ModelOptions plain;
  plain.compute = compute;
  plain.kv_type = kv;
  plain.context = 512;
  plain.threads = 1;
  const auto reference = load({path, plain});
  ASSERT_NE(reference, nullptr);
  const int64_t vocabulary = reference->spec().vocabulary;
  std::vector<std::vector<int32_t>> sequences;
  for (size_t i = 0; i < 3; i++) sequences.push_back(random_tokens(draw, 1 + draw.below(length), vocabulary));
  sequences.push_back(random_tokens(draw, length, vocabulary));
  std::vector<std::vector<float>> expected;
  for (const auto& tokens : sequences) expected.push_back(run_alone(*reference, tokens, tokens.size()));

  std::vector<std::string> levels;
  for (IsaLevel level : available_isa_levels()) levels.emplace_back(isa_name(level));
  for (int round = 0; round < rounds; round++) {
    ModelOptions options = plain;
    options.isa = levels[static_cast<size_t>(round) % levels.size()];
    options.threads = static_cast<int>(1 + draw.below(3));
    options.page_positions = draw.of(std::vector<int64_t>{16, 32, 64, 128, 256});
    SCOPED_TRACE(path + ": " + describe(options));
    const auto model = load({path, options});
    ASSERT_NE(model, nullptr);
    const auto logits = run_mixed(*model, sequences, draw);
    for (size_t s = 0; s < sequences.size(); s++) {
      const size_t at = first_difference(expected[s], logits[s]);
      ASSERT_EQ(at, expected[s].size()) << "sequence " << s << " of " << sequences[s].size() << " tokens: position "
                                        << at / static_cast<size_t>(vocabulary) << ", token "
                                        << at % static_cast<size_t>(vocabulary);
    }
  }
}

class ModelInvariance : public testing::TestWithParam<const GoldenModel*> {};

TEST_P(ModelInvariance, OnEveryLevel) {
  const GoldenModel& golden = *GetParam();
  Draw draw(20261122 + static_cast<uint64_t>(GetParam() - golden_models().data()));
  const std::string& path = golden.gguf.empty() ? golden.folder : golden.gguf;
  const ComputeMode compute = draw.below(3) == 0 ? ComputeMode::kF32 : ComputeMode::kInt8;
  const KvType kv = draw.of(std::vector<KvType>{KvType::kF32, KvType::kF16, KvType::kQ8_0});
  expect_invariance(path, compute, kv, 90, static_cast<int>(available_isa_levels().size()), draw);
}
INSTANTIATE_TEST_SUITE_P(All, ModelInvariance, testing::ValuesIn(every_golden_model()),
                         [](const auto& row) { return test_name(row.param->name); });

// Blocks of 128 positions end within these texts, in pages of 16 as in pages of 256.
TEST(Invariance, LongBlocksOfCompressedEntries) {
  Draw draw(128);
  const std::string path = KINGLET_SOURCE_DIR "/tests/golden/models/gguf/deepseek-v4-released.gguf";
  for (KvType kv : {KvType::kF32, KvType::kF16, KvType::kQ8_0})
    expect_invariance(path, ComputeMode::kInt8, kv, 280, 2, draw);
}

TEST(Invariance, QuantisedModelsInEveryMode) {
  Draw draw(4);
  for (const GoldenModel& golden : golden_models()) {
    if (golden.kind != "quantised") continue;
    for (ComputeMode compute : {ComputeMode::kInt8, ComputeMode::kF32})
      for (KvType kv : {KvType::kF32, KvType::kF16, KvType::kQ8_0})
        expect_invariance(golden.gguf, compute, kv, 70, static_cast<int>(available_isa_levels().size()), draw);
  }
}

TEST(Invariance, RealModelPastATile) {
  KINGLET_TEST_MODEL(path, "smollm2");
  Draw draw(7);
  expect_invariance(path, ComputeMode::kInt8, KvType::kF16, 300, static_cast<int>(available_isa_levels().size()), draw);
}

}  // namespace
}  // namespace kinglet::test
