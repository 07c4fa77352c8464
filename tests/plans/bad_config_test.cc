// Configurations that lie: tiny models whose config.json was changed must be refused with a message that names the key,
// what was found and what is supported; never by a crash, and never by asking for memory without end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "families/family.h"
#include "formats/checkpoint.h"
#include "formats/test_files.h"

namespace kinglet {
namespace {

using Json = nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

// What is said of the tiny model `name` after its configuration was patched (null removes a key).
std::string refusal(const std::string& name, const Json& patch) {
  const std::filesystem::path source = KINGLET_SOURCE_DIR "/tests/golden/models/hf/" + name;
  const testing_files::TemporaryFolder folder;
  std::ifstream in(source / "config.json");
  Json config = Json::parse(in);
  config.merge_patch(patch);
  folder.write("config.json", config.dump());
  std::filesystem::create_symlink(source / "model.safetensors", folder.path("model.safetensors"));
  const auto checkpoint = open_checkpoint(folder.path());
  if (!checkpoint.ok()) return "unreadable: " + checkpoint.error().message;
  const auto bound = bind_model(**checkpoint);
  return bound.ok() ? "no error" : bound.error().message;
}

// The bounds refuse no model that there is.
TEST(BadConfig, TheTinyModelsAreGood) {
  int bound = 0;
  for (const char* form : {"hf", "gguf"})
    for (const auto& entry :
         std::filesystem::directory_iterator(KINGLET_SOURCE_DIR "/tests/golden/models/" + std::string(form))) {
      const auto checkpoint = open_checkpoint(entry.path().string());
      ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
      if (!find_family(**checkpoint).ok()) continue;  // golden values that are there before their family
      const auto model = bind_model(**checkpoint);
      EXPECT_TRUE(model.ok()) << entry.path() << ": " << model.error().message;
      bound++;
    }
  EXPECT_GT(bound, 80);
}

TEST(BadConfig, UnknownArchitecture) {
  EXPECT_THAT(refusal("qwen3-five", {{"architectures", {"Qwen3ForCausalML"}}}),
              AllOf(HasSubstr("config.json: architectures: found \"Qwen3ForCausalML\""),
                    HasSubstr("supported are Qwen3ForCausalLM, ")));
  EXPECT_THAT(refusal("qwen3-five", {{"architectures", Json::array()}}), HasSubstr("architectures"));
}

TEST(BadConfig, UnknownActivationAndRopeType) {
  EXPECT_THAT(refusal("qwen3-five", {{"hidden_act", "gelu_pytorch"}}),
              HasSubstr("hidden_act: found \"gelu_pytorch\", supported are gelu_pytorch_tanh, "));
  EXPECT_THAT(refusal("qwen3-five", {{"rope_scaling", {{"rope_type", "yam"}}}, {"rope_parameters", nullptr}}),
              HasSubstr("rope_scaling.rope_type: found \"yam\", supported are yarn, "));
}

TEST(BadConfig, LiesAboutItsTensors) {
  EXPECT_THAT(refusal("qwen3-five", {{"vocab_size", 4096}}),
              AllOf(HasSubstr("model.embed_tokens.weight (embedding): found shape ["), HasSubstr("expected [4096, ")));
  EXPECT_THAT(refusal("qwen3-five", {{"intermediate_size", 17}}), HasSubstr("(ffn gate): found shape ["));
  EXPECT_THAT(refusal("qwen3-five", {{"num_hidden_layers", 400}}),
              AllOf(HasSubstr("is missing"), HasSubstr("400 layers")));
  EXPECT_THAT(refusal("qwen3-five", {{"num_key_value_heads", 4}, {"num_attention_heads", 5}}),
              AllOf(HasSubstr("num_key_value_heads"), HasSubstr("divisor of 5")));
  EXPECT_THAT(refusal("qwen3-five", {{"hidden_size", "many"}}), HasSubstr("config.json: hidden_size: "));
}

TEST(BadConfig, Experts) {
  EXPECT_THAT(refusal("deepseek-v3-mtp", {{"num_experts_per_tok", 4000}}),
              AllOf(HasSubstr("num_experts_per_tok: found 4000 experts used of ")));
  EXPECT_THAT(refusal("deepseek-v3-mtp", {{"n_group", 7}}), HasSubstr("expected groups that divide"));
  EXPECT_THAT(refusal("deepseek-v3-mtp", {{"topk_group", 1000}}), HasSubstr("topk_group: found 1000 of "));
  EXPECT_THAT(refusal("hunyuan-moe-alpha", {{"moe_topk", 4000}}), HasSubstr("moe_topk: found 4000 experts used of "));
  EXPECT_THAT(refusal("hunyuan-moe-alpha", {{"num_shared_expert", INT64_MIN}}),
              HasSubstr("num_shared_expert: found -9"));
}

// Each number is within its own bounds; what they make together is not.
TEST(BadConfig, ProductsWithoutEnd) {
  constexpr int64_t kMost = int64_t{1} << 24;
  const Json many = {{"num_attention_heads", kMost}, {"num_key_value_heads", kMost}, {"head_dim", 4096}};
  EXPECT_THAT(refusal("qwen3-five", many),
              HasSubstr("rows of queries: the configuration makes it more, expected 1 to "));
  EXPECT_THAT(refusal("qwen3-five", {{"num_attention_heads", 4096}, {"num_key_value_heads", 1}, {"head_dim", nullptr}}),
              HasSubstr("heads and their sizes: the configuration makes it 0, expected 1 to "));
  EXPECT_THAT(refusal("deepseek-v3-mtp", {{"n_routed_experts", kMost}}),
              HasSubstr("experts: the configuration makes it 16777216"));
  EXPECT_THAT(refusal("deepseek-v3-mtp", {{"n_routed_experts", 65536}, {"moe_intermediate_size", kMost}}),
              AllOf(HasSubstr("layer "), HasSubstr("the configuration makes it more")));
  EXPECT_THAT(refusal("qwen3-next-three", {{"linear_num_value_heads", kMost}, {"linear_value_head_dim", kMost}}),
              HasSubstr("the configuration makes it more"));
  EXPECT_THAT(refusal("qwen3-next-three", {{"linear_num_key_heads", 0}}), HasSubstr("linear_num_key_heads"));
  EXPECT_THAT(refusal("glm4-moe-norms", {{"rotary_dim", 65536}}), HasSubstr("rotary dimensions"));
  EXPECT_THAT(refusal("glm4-moe-norms", {{"rotary_dim", 3}}), HasSubstr("an even number"));
}

}  // namespace
}  // namespace kinglet
