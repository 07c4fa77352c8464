#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "base/memory.h"
#include "formats/checkpoint.h"
#include "formats/decode.h"
#include "formats/safetensors.h"
#include "formats/test_files.h"

namespace kinglet {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using namespace testing_files;

std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(KINGLET_SOURCE_DIR "/tests/golden/formats/quantised") / name;
}

struct Scheme {
  const char* name;
  const char* description;
  DType dtype;
  bool exact = true;  // the reference multiplies in the same order
  bool signed_zeros = true;
};
void PrintTo(const Scheme& scheme, std::ostream* out) {
  *out << scheme.name;
}

class QuantisedScheme : public testing::TestWithParam<Scheme> {};

void expect_equal(const std::vector<float>& found, const std::vector<float>& expected, const Scheme& scheme) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    if (std::isnan(expected[i])) {
      ASSERT_TRUE(std::isnan(found[i])) << "value " << i;
    } else if (expected[i] == 0.0f && !scheme.signed_zeros) {
      ASSERT_EQ(found[i], 0.0f) << "value " << i;
    } else if (scheme.exact) {
      ASSERT_EQ(std::bit_cast<uint32_t>(found[i]), std::bit_cast<uint32_t>(expected[i]))
          << "value " << i << ": " << found[i] << ", expected " << expected[i];
    } else {
      ASSERT_LE(std::abs(found[i] - expected[i]), std::abs(expected[i]) * 0x1p-22f) << "value " << i;
    }
  }
}

TEST_P(QuantisedScheme, EqualsTheReference) {
  const std::filesystem::path folder = golden(GetParam().name);
  const auto opened = open_checkpoint(folder.string());
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  const Checkpoint& checkpoint = **opened;
  EXPECT_EQ(checkpoint.quantisation, GetParam().description);
  const auto file = MappedFile::open((folder / "expected.safetensors").string());
  ASSERT_TRUE(file.ok()) << file.error().message;
  const auto expected = parse_safetensors((*file)->bytes(), "expected.safetensors");
  ASSERT_TRUE(expected.ok()) << expected.error().message;
  // No part is left beside the matrices and the one ordinary tensor; what they hold counts once.
  EXPECT_EQ(checkpoint.tensors.size(), expected->size() + 1);
  bool seen = false;
  for (const TensorView& want : *expected) {
    SCOPED_TRACE(want.name);
    const TensorView* tensor = checkpoint.find(want.name);
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(tensor->shape, want.shape);
    EXPECT_LT(tensor->stored_bytes(), want.data.size());
    seen = seen || tensor->dtype == GetParam().dtype;
    std::vector<float> wanted(static_cast<size_t>(want.elements())), found(wanted.size());
    decode_tensor(want, wanted);
    decode_tensor(*tensor, found);
    expect_equal(found, wanted, GetParam());
  }
  EXPECT_TRUE(seen) << "no tensor of type " << dtype_info(GetParam().dtype).name;
}

INSTANTIATE_TEST_SUITE_P(
    Quantised, QuantisedScheme,
    testing::Values(
        Scheme{"gptq-int4-act-order", "gptq int4, groups of 32, columns in the order of activation", DType::kInt4G32},
        Scheme{"gptq-int4-rows", "gptq int4, a scale for each output", DType::kInt4G128},
        Scheme{"gptq-int8-v2", "gptq_v2 int8, groups of 64", DType::kInt8G64},
        Scheme{"awq-int4", "awq int4, groups of 64", DType::kInt4G64},
        Scheme{"compressed-int4", "compressed-tensors int4, groups of 32", DType::kInt4G32},
        Scheme{"compressed-int4-zeros", "compressed-tensors int4, groups of 32", DType::kInt4G32},
        Scheme{"compressed-int4-act-order", "compressed-tensors int4, groups of 64", DType::kInt4G64},
        Scheme{"compressed-int8-packed", "compressed-tensors int8, a scale for each output", DType::kInt8G128},
        Scheme{"compressed-int8", "compressed-tensors int8, a scale for each output", DType::kInt8G128},
        Scheme{"compressed-int8-zeros", "compressed-tensors int8, a scale for each output", DType::kInt8G128},
        Scheme{"compressed-fp8", "compressed-tensors float8, a scale for each output", DType::kFp8G128},
        Scheme{"fp8-blocks", "fp8 e4m3, blocks of 16x128", DType::kFp8G128},
        Scheme{"fp8-one-scale", "fp8 e4m3, one scale", DType::kFp8G128},
        Scheme{"fp8-powers", "fp8 e4m3, blocks of 16x128", DType::kMXFP4, true, false},
        Scheme{"mxfp4-stack", "mxfp4, groups of 32", DType::kMXFP4, true, false},
        Scheme{"nvfp4-modelopt", "nvfp4, groups of 16", DType::kNVFP4, false, false},
        Scheme{"nvfp4-compressed", "compressed-tensors float4, groups of 16", DType::kNVFP4, false, false},
        Scheme{"nf4", "bitsandbytes nf4, groups of 64 or more", DType::kNf4G64},
        Scheme{"nf4-across-rows", "bitsandbytes nf4, groups of 64 or more", DType::kNf4G64},
        Scheme{"nf4-nested", "bitsandbytes nf4, groups of 64 or more, quantised scales", DType::kNf4G64}),
    [](const auto& scheme) {
      std::string name = scheme.param.name;
      for (char& c : name) c = c == '-' ? '_' : c;
      return name;
    });

// ---- bad input

struct Part {
  const char* name;
  const char* dtype;
  std::vector<int64_t> shape;
  std::string data;
};

class QuantisedRefusals : public testing::Test {
 protected:
  // The error of a folder with this quantization_config and these tensors.
  Error refusal(const std::string& config, const std::vector<Part>& parts = {}) const {
    std::string header = "{", data;
    for (const Part& part : parts) {
      std::string shape;
      for (int64_t d : part.shape) shape += (shape.empty() ? "" : ",") + std::to_string(d);
      header += std::string(data.empty() ? "" : ",") + "\"" + part.name + R"(":{"dtype":")" + part.dtype +
                R"(","shape":[)" + shape + R"(],"data_offsets":[)" + std::to_string(data.size()) + "," +
                std::to_string(data.size() + part.data.size()) + "]}";
      data += part.data;
    }
    if (parts.empty()) header += R"("x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})", data = "x";
    folder_.write("config.json",
                  R"({"model_type":"llama")" + (config.empty() ? "" : R"(,"quantization_config":)" + config) + "}");
    folder_.write("model.safetensors", safetensors(header + "}", data));
    const auto opened = open_checkpoint(folder_.path());
    return opened.ok() ? Error{ErrorCode::kIo, "no error"} : opened.error();
  }
  void expect_unsupported(const std::string& config, const std::string& key, const std::string& found) const {
    const Error error = refusal(config);
    EXPECT_EQ(error.code, ErrorCode::kUnsupported) << error.message;
    EXPECT_THAT(error.message, AllOf(HasSubstr("\"quantization_config." + key + "\""), HasSubstr("found " + found),
                                     HasSubstr("supported: ")));
  }

  const TemporaryFolder folder_;
};

TEST_F(QuantisedRefusals, SchemesThatAreNotSupported) {
  expect_unsupported(R"({"quant_method":"gptqq","bits":4})", "quant_method", "\"gptqq\"");
  EXPECT_THAT(refusal(R"({"quant_method":"gptqq","bits":4})").message, HasSubstr("supported: gptq, "));
  expect_unsupported(R"({"group_size":64,"bits":4})", "bits", "a model packed for mlx");
  expect_unsupported(R"({"quant_method":"gptq","bits":3,"group_size":128})", "bits", "3");
  expect_unsupported(R"({"quant_method":"gptq","bits":4,"checkpoint_format":"marlin"})", "checkpoint_format",
                     "\"marlin\"");
  expect_unsupported(R"({"quant_method":"awq","bits":4,"version":"gemv"})", "version", "\"gemv\"");
  expect_unsupported(R"({"quant_method":"fp8","fmt":"e5m2"})", "fmt", "\"e5m2\"");
  expect_unsupported(R"({"quant_method":"modelopt","quant_algo":"W4A8_AWQ"})", "quant_algo", "\"W4A8_AWQ\"");
  expect_unsupported(R"({"quant_method":"bitsandbytes","load_in_8bit":true})", "load_in_8bit", "true");
  expect_unsupported(R"({"quant_method":"bitsandbytes","bnb_4bit_quant_type":"fp4"})", "bnb_4bit_quant_type",
                     "\"fp4\"");
  expect_unsupported(R"({"quant_method":"compressed-tensors","format":"marlin-24"})", "format", "\"marlin-24\"");
  expect_unsupported(R"({"quant_method":"compressed-tensors","sparsity_config":{"format":"sparse-24-bitmask"}})",
                     "sparsity_config.format", "\"sparse-24-bitmask\"");
  expect_unsupported(
      R"({"quant_method":"compressed-tensors","config_groups":{"group_0":{"weights":{"num_bits":2,"type":"int"}}}})",
      "config_groups.group_0.weights.num_bits", "2");
}

TEST_F(QuantisedRefusals, ConfigsThatMakeNoSense) {
  EXPECT_THAT(refusal(R"({"quant_method":"gptq"})").message,
              HasSubstr("quantization_config.bits: expected an integer"));
  EXPECT_THAT(refusal(R"({"quant_method":"gptq","bits":4,"group_size":0})").message, HasSubstr("group_size"));
  EXPECT_THAT(refusal(R"({"quant_method":"fp8","weight_block_size":[128]})").message,
              HasSubstr("weight_block_size\": expected two positive numbers"));
  EXPECT_THAT(refusal(R"({"quant_method":"fp8","weight_block_size":[0,128]})").message,
              HasSubstr("expected two positive numbers"));
}

TEST_F(QuantisedRefusals, PartsThatDoNotGoTogether) {
  const std::string config = R"({"quant_method":"gptq","bits":4,"group_size":32})";
  const auto gptq = [](std::vector<int64_t> scales, const char* type, int32_t index) {
    std::string g_idx;
    for (int i = 0; i < 32; ++i) append<int32_t>(g_idx, i == 3 ? index : 0);
    const auto bytes = static_cast<size_t>(scales[0] * scales[1] * 2);
    return std::vector<Part>{{"m.qweight", "I32", {4, 8}, std::string(128, 'q')},
                             {"m.qzeros", "I32", {1, 1}, "zzzz"},
                             {"m.scales", type, scales, std::string(bytes, '\1')},
                             {"m.g_idx", "I32", {32}, g_idx}};
  };
  EXPECT_EQ(refusal(config, gptq({1, 8}, "F16", 0)).message, "no error");
  EXPECT_THAT(refusal(config, gptq({2, 8}, "F16", 0)).message,
              HasSubstr("tensor \"m.scales\": shape: expected [1, 8], found [2, 8]"));
  EXPECT_THAT(refusal(config, gptq({1, 8}, "I16", 0)).message,
              HasSubstr("dtype: expected F16 or BF16 or F32, found I16"));
  for (int32_t index : {1, -1, 1 << 30}) {
    EXPECT_THAT(refusal(config, gptq({1, 8}, "F16", index)).message,
                HasSubstr("tensor \"m.g_idx\": column 3: expected a group below 1, found " + std::to_string(index)));
  }
  EXPECT_THAT(refusal(config, {{"m.qweight", "I32", {4, 8}, std::string(128, 'q')}}).message,
              HasSubstr("tensor \"m.qweight\": expected a companion \"m.scales\", found none"));
  EXPECT_THAT(refusal("", gptq({1, 8}, "F16", 0)).message, HasSubstr("quant_method gptq or awq, found none"));
}

TEST_F(QuantisedRefusals, GroupsThatNoBlockHolds) {
  std::string g_idx;
  for (int i = 0; i < 64; ++i) append<int32_t>(g_idx, i < 40 ? 0 : 1);
  EXPECT_THAT(refusal(R"({"quant_method":"gptq","bits":4,"group_size":32})",
                      {{"m.qweight", "I32", {8, 8}, std::string(256, 'q')},
                       {"m.qzeros", "I32", {2, 1}, "zzzzzzzz"},
                       {"m.scales", "F16", {2, 8}, std::string(32, '\1')},
                       {"m.g_idx", "I32", {64}, g_idx}})
                  .message,
              HasSubstr("tensor \"m.g_idx\": expected groups of multiples of 32 columns"));
  EXPECT_THAT(refusal(R"({"quant_method":"awq","bits":4,"group_size":16})",
                      {{"m.qweight", "I32", {32, 1}, std::string(128, 'q')},
                       {"m.qzeros", "I32", {2, 1}, "zzzzzzzz"},
                       {"m.scales", "F16", {2, 8}, std::string(32, '\1')}})
                  .message,
              HasSubstr("groups of 16 columns are not supported; supported: multiples of 32"));
}

TEST_F(QuantisedRefusals, FloatsWithoutTheirScales) {
  const std::string fp8 = R"({"quant_method":"fp8","weight_block_size":[128,128]})";
  const Part weight = {"m.weight", "F8_E4M3", {2, 3}, "abcdef"};
  EXPECT_THAT(refusal(fp8, {weight}).message, HasSubstr("expected a companion \"m.weight_scale_inv\", found none"));
  EXPECT_EQ(refusal("", {weight}).message, "no error");  // small floats, and nothing says that they are more
  EXPECT_THAT(refusal(fp8, {weight, {"m.weight_scale_inv", "F32", {2, 2}, std::string(16, '\1')}}).message,
              HasSubstr("tensor \"m.weight_scale_inv\": shape: expected [1, 1]"));
  EXPECT_THAT(refusal(fp8, {weight, {"m.weight_scale_inv", "I32", {1, 1}, "1234"}}).message,
              HasSubstr("dtype: expected F32"));
  EXPECT_THAT(refusal(R"({"quant_method":"bitsandbytes","bnb_4bit_quant_type":"nf4"})",
                      {{"m.weight", "U8", {4, 1}, "abcd"}, {"m.weight.absmax", "F32", {1}, "1234"}})
                  .message,
              HasSubstr("expected a companion \"m.weight.quant_state.bitsandbytes__nf4\""));
}

}  // namespace
}  // namespace kinglet
