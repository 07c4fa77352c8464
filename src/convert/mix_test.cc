#include "convert/mix.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace kinglet::convert {
namespace {

std::vector<MixTensor> some_tensors() {
  return {{"token_embd.weight", {64, 256}, DType::kF32},
          {"blk.0.attn_v.weight", {64, 256}, DType::kF32},
          {"blk.0.attn_norm.weight", {256}, DType::kF32},
          {"blk.1.attn_v.weight", {64, 256}, DType::kF32}};
}

TEST(Mix, ChoosesAsLlamaCppDoes) {
  std::ifstream file(KINGLET_SOURCE_DIR "/tests/golden/convert/mixes.json");
  const auto models = nlohmann::json::parse(file);
  ASSERT_EQ(models.size(), 5u);
  for (const auto& model : models) {
    std::vector<MixTensor> tensors;
    for (const auto& tensor : model["tensors"]) tensors.push_back({tensor[0], tensor[1], DType::kF32});
    MixFacts facts{"llama", model["layers"], model["experts"], int64_t{model["heads"]} / int64_t{model["kv_heads"]},
                   false};
    for (const auto& [name, types] : model["mixes"].items()) {
      // A dense model as MXFP4: llama.cpp knows that mix for experts only, and makes Q8_0 of everything.
      if (name == "MXFP4" && facts.experts == 0) continue;
      const auto chosen = choose_types(*find_mix(name), facts, tensors, {});
      ASSERT_TRUE(chosen.ok());
      std::istringstream words(types.get<std::string>());
      for (size_t i = 0; i < tensors.size(); ++i) {
        std::string expected;
        words >> expected;
        EXPECT_EQ(dtype_info((*chosen)[i]).name, expected) << model["name"] << ' ' << name << ' ' << tensors[i].name;
      }
    }
  }
}

TEST(Mix, DenseModelsCanBeMxfp4) {
  const auto types = choose_types(*find_mix("mxfp4"), {"llama", 2, 0, 1, false}, some_tensors(), {});
  ASSERT_TRUE(types.ok());
  EXPECT_EQ(*types, (std::vector{DType::kQ8_0, DType::kMXFP4, DType::kF32, DType::kMXFP4}));
}

TEST(Mix, MatricesThatMixStreamsStay) {
  const std::vector<MixTensor> tensors = {{"blk.0.hc_attn_fn.weight", {24, 256}, DType::kF32},
                                          {"blk.0.attn_q_a.weight", {24, 256}, DType::kF32}};
  EXPECT_EQ(*choose_types(*find_mix("Q4_0"), {"deepseek4", 2, 8, 1, false}, tensors, {}),
            (std::vector{DType::kF32, DType::kQ4_0}));
}

TEST(Mix, FirstFittingOverrideWins) {
  const std::vector<TypeOverride> overrides = {*parse_override("blk.1.*_v=q3_k"), *parse_override("attn_v=Q8_0")};
  const auto types = choose_types(*find_mix("Q4_0"), {"llama", 2, 0, 1, false}, some_tensors(), overrides);
  ASSERT_TRUE(types.ok());
  EXPECT_EQ(*types, (std::vector{DType::kQ6_K, DType::kQ8_0, DType::kF32, DType::kQ3_K}));
}

TEST(Mix, SaysWhatIsWrong) {
  EXPECT_NE(find_mix("Q4_K_L").error().message.find("\"Q4_K_L\""), std::string::npos);
  EXPECT_NE(find_mix("Q4_K_L").error().message.find("Q4_K_M"), std::string::npos);
  for (const char* text : {"attn_v", "=Q8_0", "attn_v=", "attn_v=Q9", "attn_v=IQ1_S"})
    EXPECT_FALSE(parse_override(text).ok()) << text;
  const std::vector<TypeOverride> overrides = {*parse_override("attn_norm=Q8_0")};
  const auto types = choose_types(*find_mix("Q4_0"), {"llama", 2, 0, 1, false}, some_tensors(), overrides);
  ASSERT_FALSE(types.ok());
  EXPECT_NE(types.error().message.find("\"attn_norm\" fits no matrix"), std::string::npos);
}

}  // namespace
}  // namespace kinglet::convert
