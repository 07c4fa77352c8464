// One table of logit hashes: what every build, compiler, instruction set and machine must compute, bit for bit. A
// change of the table is a change of Kinglet's numerics and is said so in CHANGELOG.md. To write it anew:
//   KINGLET_WRITE_HASHES=1 build/dev/tests/bits/bits_test --gtest_filter='LogitHashes.*'
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "tests/support/golden.h"
#include "tests/support/models.h"
#include "tests/support/runner.h"

namespace kinglet::test {
namespace {

constexpr const char* kTable = KINGLET_SOURCE_DIR "/tests/bits/logit_hashes.json";

struct Mode {
  const char* name;
  ComputeMode compute;
  KvType kv;
};
constexpr Mode kModes[] = {{"int8/f16", ComputeMode::kInt8, KvType::kF16},
                           {"int8/q8_0", ComputeMode::kInt8, KvType::kQ8_0},
                           {"f32/f32", ComputeMode::kF32, KvType::kF32}};

std::string hash_of(const std::string& path, const Mode& mode, std::span<const int32_t> tokens) {
  const auto checkpoint = open_checkpoint(path);
  if (!checkpoint.ok()) return checkpoint.error().message;
  ModelOptions options;
  options.compute = mode.compute;
  options.kv_type = mode.kv;
  options.context = 512;
  options.threads = 2;
  const auto model = Model::load(*checkpoint, options);
  if (!model.ok()) return model.error().message;
  const std::vector<float> logits = run_alone(**model, tokens, 32);
  return xxh3_128(std::as_bytes(std::span(logits))).hex();
}

nlohmann::ordered_json read_table() {
  std::ifstream file(kTable);
  return file ? nlohmann::ordered_json::parse(file) : nlohmann::ordered_json::object();
}

bool writing() {
  return std::getenv("KINGLET_WRITE_HASHES") != nullptr;
}

// Compares (or, when writing, notes) the hashes of one model by one road.
void check(const std::string& name, const std::string& path, std::span<const int32_t> tokens) {
  nlohmann::ordered_json table = read_table();
  for (const Mode& mode : kModes) {
    const std::string hash = hash_of(path, mode, tokens);
    if (writing())
      table[name][mode.name] = hash;
    else
      EXPECT_EQ(hash, table.value(name, nlohmann::ordered_json::object()).value(mode.name, "no such row"))
          << name << " " << mode.name;
  }
  if (writing()) std::ofstream(kTable) << table.dump(1) << "\n";
}

TEST(LogitHashes, TinyModels) {
  for (const GoldenModel& golden : golden_models()) {
    if (!golden.folder.empty()) check(golden.name + " (folder)", golden.folder, golden.tokens);
    if (!golden.gguf.empty()) check(golden.name + " (gguf)", golden.gguf, golden.tokens);
  }
}

class RealModelHashes : public testing::TestWithParam<const char*> {};

TEST_P(RealModelHashes, RealModel) {
  KINGLET_TEST_MODEL(path, GetParam());
  const RealGolden golden = real_golden(GetParam());
  check(GetParam(), path, std::span(golden.tokens).first(48));
}
INSTANTIATE_TEST_SUITE_P(LogitHashes, RealModelHashes, testing::Values("smollm2", "qwen2.5-coder-0.5b", "gemma3-270m"));

}  // namespace
}  // namespace kinglet::test
