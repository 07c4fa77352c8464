#include "formats/config_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kinglet {
namespace {

using testing::HasSubstr;

std::string refusal(const std::string& text) {
  const auto config = flatten_config(text, "config.json");
  return config.ok() ? "no error" : config.error().message;
}

TEST(ConfigJson, Flattens) {
  const auto config = flatten_config(
      R"({"model_type":"llama","hidden_size":576,"eps":1e-5,"tied":true,"absent":null,"theta":10000.0,"negative":-1,
          "rope_scaling":{"factor":8.0,"rope_type":"llama3","nested":{"deep":1}},
          "eos":[1,2],"scales":[1,0.5],"architectures":["LlamaForCausalLM"],"flags":[true,false],"none":[],
          "layers":[{"kind":"a"},{"kind":"b","size":3}],"mixed":[1,"x",null,[2,3]],"big":18446744073709551615,
          "list_of_big":[18446744073709551615]})",
      "config.json");
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(*config->get_string("model_type"), "llama");
  EXPECT_EQ(*config->get_int("hidden_size", 0, 1000), 576);
  EXPECT_EQ(*config->get_int("negative", -1, 0), -1);
  EXPECT_EQ(*config->get_float("eps"), 1e-5);
  EXPECT_EQ(*config->get_int("theta", 0, 1000000), 10000);
  EXPECT_EQ(*config->get_bool("tied"), true);
  EXPECT_FALSE(config->has("absent"));
  EXPECT_EQ(*config->get_float("rope_scaling.factor"), 8.0);
  EXPECT_EQ(*config->get_int("rope_scaling.nested.deep", 0, 9), 1);
  EXPECT_EQ(*config->get_ints("eos"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(*config->get_floats("scales"), (std::vector<double>{1, 0.5}));
  EXPECT_EQ(*config->get_strings("architectures"), (std::vector<std::string>{"LlamaForCausalLM"}));
  EXPECT_EQ(std::get<std::vector<bool>>(*config->find("flags")), (std::vector<bool>{true, false}));
  EXPECT_TRUE(config->get_strings("none")->empty());
  EXPECT_EQ(*config->get_string("layers.1.kind"), "b");
  EXPECT_EQ(*config->get_int("layers.1.size", 0, 9), 3);
  EXPECT_EQ(*config->get_int("mixed.0", 0, 9), 1);
  EXPECT_EQ(*config->get_string("mixed.1"), "x");
  EXPECT_FALSE(config->has("mixed.2"));
  EXPECT_EQ(*config->get_ints("mixed.3"), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(std::get<uint64_t>(*config->find("big")), UINT64_MAX);
  EXPECT_EQ(config->get_floats("list_of_big")->at(0), 0x1p64);
}

TEST(ConfigJson, Refusals) {
  EXPECT_THAT(refusal("{"), HasSubstr("config.json: expected JSON: parse error"));
  EXPECT_THAT(refusal(""), HasSubstr("config.json: expected JSON"));
  EXPECT_THAT(refusal("[1]"), HasSubstr("config.json: expected a JSON object"));
  EXPECT_THAT(refusal("{\"a\":1e999}"), HasSubstr("config.json: expected JSON"));
  EXPECT_THAT(refusal(R"({"a":{"b":1},"a.b":2})"), HasSubstr("config.json: \"a.b\": expected one value, found two"));
  EXPECT_THAT(refusal("{\"a\":" + std::string(100'000, '[')), HasSubstr("levels of nesting"));
  EXPECT_THAT(refusal("{\"a\":" + std::string(64, '[') + std::string(64, ']') + "}"),
              HasSubstr("expected at most 64 levels"));
  EXPECT_EQ(refusal("{\"a\":" + std::string(63, '[') + std::string(63, ']') + "}"), "no error");
}

}  // namespace
}  // namespace kinglet
