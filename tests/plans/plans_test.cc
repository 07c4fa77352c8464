// Published dimensions of whole models: the parameters that the families' name tables make of a config.json must be
// those that transformers' own model has, to the last one (golden/plans).
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "families/outline.h"
#include "formats/config_json.h"
#include "nn/plan.h"

namespace kinglet {
namespace {

const std::string kPlans = KINGLET_SOURCE_DIR "/tests/golden/plans/";

std::string contents_of(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

Checkpoint configuration(const std::string& path) {
  Checkpoint checkpoint;
  checkpoint.format = CheckpointFormat::kHuggingFace;
  checkpoint.path = path;
  auto metadata = flatten_config(contents_of(path), path);
  EXPECT_TRUE(metadata.ok()) << path;
  if (metadata.ok()) checkpoint.metadata = std::move(metadata).value();
  return checkpoint;
}

std::vector<nlohmann::json> plans() {
  return nlohmann::json::parse(contents_of(kPlans + "plans.json")).at("plans");
}

ModelOptions at_32k() {
  ModelOptions options;
  options.kv_type = KvType::kF16;
  options.context = 32768;
  return options;
}

class Plans : public testing::TestWithParam<nlohmann::json> {};

TEST_P(Plans, ParametersAreThoseOfTransformers) {
  const nlohmann::json& plan = GetParam();
  const Checkpoint checkpoint = configuration(kPlans + plan.at("config").get<std::string>());
  if (const auto family = find_family(checkpoint); !family.ok() && family.error().code == ErrorCode::kUnsupported)
    GTEST_SKIP() << "NOT CHECKED: " << plan.at("name") << " is of a family that Kinglet does not know yet";
  const auto outline = outline_model(checkpoint);
  ASSERT_TRUE(outline.ok()) << outline.error().message;
  const ParameterCount count = count_parameters(outline->bound);
  EXPECT_EQ(count.parameters, plan.at("parameters").get<int64_t>());
  EXPECT_EQ(count.active, plan.at("active").get<int64_t>());
  EXPECT_EQ(count.buffers, plan.at("buffers").get<int64_t>());
  EXPECT_EQ(count.prediction > 0, outline->bound.spec.prediction_layers > 0);
  int64_t values = 0;
  for (const TensorView& tensor : outline->tensors) values += tensor.elements();
  EXPECT_EQ(values, count.parameters + count.buffers) << "the tensors of the outline hold something else";
  const auto memory = plan_memory(outline->bound, at_32k());
  ASSERT_TRUE(memory.ok()) << memory.error().message;
  EXPECT_GT(memory->weight_bytes, static_cast<uint64_t>(count.parameters));
}

INSTANTIATE_TEST_SUITE_P(Golden, Plans, testing::ValuesIn(plans()), [](const auto& tested) {
  std::string name = tested.param.at("name");
  for (char& c : name)
    if (c == '-' || c == '.') c = '_';
  return name;
});

// DeepSeek-V3's cache is one latent and one rotated key a layer, whatever its number of heads.
TEST(PlanBytes, DeepSeekV3) {
  const auto outline = outline_model(configuration(kPlans + "configs/deepseek-v3.json"));
  ASSERT_TRUE(outline.ok()) << outline.error().message;
  const auto memory = plan_memory(outline->bound, at_32k());
  ASSERT_TRUE(memory.ok()) << memory.error().message;
  EXPECT_EQ(memory->kv_bytes_per_token, 61u * (512 + 64) * 2);
  EXPECT_EQ(memory->state_bytes, 0u);
}

// Of Gemma 4 E2B's 35 layers 12 windowed and 3 global ones store one key and one value head; the others read theirs.
TEST(PlanBytes, Gemma4E2b) {
  const auto outline = outline_model(configuration(kPlans + "configs/gemma-4-e2b.json"));
  ASSERT_TRUE(outline.ok()) << outline.error().message;
  const auto memory = plan_memory(outline->bound, at_32k());
  ASSERT_TRUE(memory.ok()) << memory.error().message;
  EXPECT_EQ(memory->kv_bytes_per_token, (12u * 256 + 3 * 512) * 2 * 2);
}

// DeepSeek-V4-Flash: a key of 512 a token in 43 layers, whose values are keys; in 21 of them 16 entries and index keys
// a page of 64, in 20 half an entry, which takes the room of 16. Running mixtures: maximum, sum and values a channel.
TEST(PlanBytes, DeepSeekV4Flash) {
  const auto outline = outline_model(configuration(kPlans + "configs/deepseek-v4-flash.json"));
  ASSERT_TRUE(outline.ok()) << outline.error().message;
  const auto memory = plan_memory(outline->bound, at_32k());
  ASSERT_TRUE(memory.ok()) << memory.error().message;
  EXPECT_EQ(memory->page_bytes, 64u * 43 * 512 * 2 + 21u * 16 * (512 + 128) * 2 + 20u * 16 * 512 * 2);
  EXPECT_EQ(memory->state_bytes, (21u * 2 * (512 + 128) + 20u * 512) * 3 * 4);
}

}  // namespace
}  // namespace kinglet
