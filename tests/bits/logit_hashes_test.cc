// One table of logit hashes: what every build, compiler, instruction set and machine must compute, bit for bit. A
// change of the table is a change of Kinglet's numerics and is said so in CHANGELOG.md. To write it anew:
//   KINGLET_WRITE_HASHES=1 build/dev/tests/bits/bits_test --gtest_filter='LogitHashes/ModelHashes*'
#include <gtest/gtest.h>

#include "tests/bits/hash_table.h"
#include "tests/support/golden.h"
#include "tests/support/models.h"
#include "tests/support/runner.h"

namespace kinglet::test {
namespace {

constexpr const char* kTable = KINGLET_SOURCE_DIR "/tests/bits/logit_hashes.json";

std::vector<float> logits_of(const std::string& path, const Mode& mode, std::span<const int32_t> tokens) {
  const auto checkpoint = open_checkpoint(path);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  if (!checkpoint.ok()) return {};
  ModelOptions options;
  options.compute = mode.compute;
  options.kv_type = mode.kv;
  options.context = 512;
  options.threads = 2;
  const auto model = Model::load(*checkpoint, options);
  EXPECT_TRUE(model.ok()) << model.error().message;
  return model.ok() ? run_alone(**model, tokens, 32) : std::vector<float>();
}

void check(const std::string& name, const std::string& path, std::span<const int32_t> tokens) {
  check_hashes(kTable, name, [&](const Mode& mode) { return logits_of(path, mode, tokens); });
}

class ModelHashes : public testing::TestWithParam<const GoldenModel*> {};

TEST_P(ModelHashes, ByBothRoads) {
  const GoldenModel& golden = *GetParam();
  if (!golden.folder.empty()) check(golden.name + " (folder)", golden.folder, golden.tokens);
  if (!golden.gguf.empty()) check(golden.name + " (gguf)", golden.gguf, golden.tokens);
}
INSTANTIATE_TEST_SUITE_P(LogitHashes, ModelHashes, testing::ValuesIn(every_golden_model()),
                         [](const auto& row) { return test_name(row.param->name); });

class RealModelHashes : public testing::TestWithParam<const char*> {};

TEST_P(RealModelHashes, RealModel) {
  KINGLET_TEST_MODEL(path, GetParam());
  const RealGolden golden = real_golden(GetParam());
  check(GetParam(), path, std::span(golden.tokens).first(48));
}
INSTANTIATE_TEST_SUITE_P(LogitHashes, RealModelHashes, testing::Values("smollm2", "qwen2.5-coder-0.5b", "gemma3-270m"));

}  // namespace
}  // namespace kinglet::test
