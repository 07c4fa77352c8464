// Folders of the quantised schemes become GGUF files: F32 holds them exactly, MXFP4 stays as it is, and the rest is
// rounded to BF16. The folders are made here, of random parts.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/half.h"
#include "convert/hf_to_gguf.h"
#include "convert/test_models.h"
#include "formats/test_files.h"

namespace kinglet::convert {
namespace {

using nlohmann::json;
using testing_files::TemporaryFolder;
using Shape = std::vector<int64_t>;

constexpr int64_t kGroup = 32;

json read_json(const std::string& path) {
  std::ifstream file(path);
  return json::parse(file);
}

// A safetensors file as it grows.
class Parts {
 public:
  template <class Make>
  void add(const std::string& name, const char* type, const Shape& shape, Make make) {
    const size_t begin = data_.size();
    int64_t count = 1;
    for (const int64_t n : shape) count *= n;
    for (int64_t i = 0; i < count; ++i) testing_files::append(data_, make(i));
    header_[name] = {{"dtype", type}, {"shape", shape}, {"data_offsets", {begin, data_.size()}}};
  }
  std::string file() const { return testing_files::safetensors(header_.dump(), data_); }

  uint32_t word() { return static_cast<uint32_t>(draw_()); }
  uint8_t byte() { return static_cast<uint8_t>(draw_()); }
  uint8_t small_float() {  // E4M3, no NaN
    const uint8_t bits = byte();
    return (bits & 0x7f) == 0x7f ? 0 : bits;
  }
  float scale(double size) { return static_cast<float>(size * (0.5 + static_cast<double>(draw_() % 1024) / 1024)); }
  float normal(double size) { return static_cast<float>(std::normal_distribution<double>(0, size)(draw_)); }

 private:
  json header_;
  std::string data_;
  std::mt19937 draw_{7};
};

// Writes the parts of the matrix `module`.weight of [rows][columns].
using Writer = void (*)(Parts& parts, const std::string& module, int64_t rows, int64_t columns);

void fp8_blocks(Parts& p, const std::string& module, int64_t rows, int64_t columns) {
  p.add(module + ".weight", "F8_E4M3", {rows, columns}, [&](int64_t) { return p.small_float(); });
  p.add(module + ".weight_scale_inv", "F32", {(rows + 15) / 16, (columns + 127) / 128},
        [&](int64_t) { return p.scale(0.003); });
}
void fp8_one_scale(Parts& p, const std::string& module, int64_t rows, int64_t columns) {
  p.add(module + ".weight", "F8_E4M3", {rows, columns}, [&](int64_t) { return p.small_float(); });
  p.add(module + ".weight_scale", "F32", {}, [&](int64_t) { return p.scale(0.003); });
}
void gptq(Parts& p, const std::string& module, int64_t rows, int64_t columns) {
  const int64_t groups = columns / kGroup;
  p.add(module + ".qweight", "I32", {columns / 8, rows}, [&](int64_t) { return p.word(); });
  p.add(module + ".qzeros", "I32", {groups, rows / 8}, [&](int64_t) { return p.word(); });
  p.add(module + ".scales", "F16", {groups, rows}, [&](int64_t) { return float_to_half(p.scale(0.03)); });
  p.add(module + ".g_idx", "I32", {columns}, [&](int64_t i) { return static_cast<int32_t>(i * 7 % columns / kGroup); });
}
void awq(Parts& p, const std::string& module, int64_t rows, int64_t columns) {
  const int64_t groups = columns / kGroup;
  p.add(module + ".qweight", "I32", {columns, rows / 8}, [&](int64_t) { return p.word(); });
  p.add(module + ".qzeros", "I32", {groups, rows / 8}, [&](int64_t) { return p.word(); });
  p.add(module + ".scales", "F16", {groups, rows}, [&](int64_t) { return float_to_half(p.scale(0.03)); });
}
void compressed_int4(Parts& p, const std::string& module, int64_t rows, int64_t columns) {
  p.add(module + ".weight_packed", "I32", {rows, columns / 8}, [&](int64_t) { return p.word(); });
  p.add(module + ".weight_scale", "BF16", {rows, columns / kGroup},
        [&](int64_t) { return float_to_bfloat16(p.scale(0.03)); });
  p.add(module + ".weight_shape", "I64", {2}, [&](int64_t i) { return i == 0 ? rows : columns; });
}
void compressed_int8(Parts& p, const std::string& module, int64_t rows, int64_t columns) {
  p.add(module + ".weight", "I8", {rows, columns}, [&](int64_t) { return p.byte(); });
  p.add(module + ".weight_scale", "BF16", {rows, 1}, [&](int64_t) { return float_to_bfloat16(p.scale(0.002)); });
}
void nf4(Parts& p, const std::string& module, int64_t rows, int64_t columns) {
  static constexpr float kMap[16] = {-1.0f,         -0.6961928f, -0.52507305f, -0.3949175f, -0.28444138f, -0.18477343f,
                                     -0.091050036f, 0.0f,        0.0795803f,   0.1609302f,  0.2461123f,   0.33791524f,
                                     0.44070983f,   0.562617f,   0.72295684f,  1.0f};
  const std::string weight = module + ".weight";
  const std::string state =
      json{{"quant_type", "nf4"}, {"blocksize", 64}, {"dtype", "float32"}, {"shape", {rows, columns}}}.dump();
  p.add(weight, "U8", {rows * columns / 2, 1}, [&](int64_t) { return p.byte(); });
  p.add(weight + ".absmax", "F32", {(rows * columns + 63) / 64}, [&](int64_t) { return p.scale(0.3); });
  p.add(weight + ".quant_map", "F32", {16}, [&](int64_t i) { return kMap[i]; });
  p.add(weight + ".quant_state.bitsandbytes__nf4", "U8", {std::ssize(state)},
        [&](int64_t i) { return state[static_cast<size_t>(i)]; });
}
void mxfp4(Parts& p, const std::string& module, int64_t rows, int64_t columns) {
  p.add(module + ".weight_packed", "U8", {rows, columns / 2}, [&](int64_t) { return p.byte(); });
  p.add(module + ".weight_scale", "U8", {rows, columns / 32},
        [&](int64_t) { return static_cast<uint8_t>(122 + p.byte() % 4); });
}
// Two scales: one of 16 values in E4M3, one of the matrix, which compressed-tensors divides by.
template <bool kCompressed>
void nvfp4(Parts& p, const std::string& module, int64_t rows, int64_t columns) {
  p.add(module + (kCompressed ? ".weight_packed" : ".weight"), "U8", {rows, columns / 2},
        [&](int64_t) { return p.byte(); });
  p.add(module + ".weight_scale", "F8_E4M3", {rows, columns / 16},
        [&](int64_t) { return static_cast<uint8_t>(0x30 + p.byte() % 16); });
  if (kCompressed)
    p.add(module + ".weight_global_scale", "F32", {1}, [&](int64_t) { return 1 / p.scale(0.03); });
  else
    p.add(module + ".weight_scale_2", "F32", {}, [&](int64_t) { return p.scale(0.03); });
}

struct Scheme {
  const char* config;  // golden/formats/quantised/…
  Writer writer;
  int64_t columns = kGroup;  // rows are made of so many
  bool sums_otherwise = false;
};
constexpr Scheme kSchemes[] = {{"fp8-blocks", fp8_blocks},
                               {"fp8-one-scale", fp8_one_scale},
                               {"gptq-int4-act-order", gptq, kGroup, true},
                               {"awq-int4", awq},
                               {"compressed-int4", compressed_int4},
                               {"compressed-int8", compressed_int8},
                               {"nf4", nf4, 64},
                               {"mxfp4-stack", mxfp4},
                               {"nvfp4-compressed", nvfp4<true>, 64, true},
                               {"nvfp4-modelopt", nvfp4<false>, 64, true}};

// The golden model `name` with random quantised matrices wherever the scheme's groups divide them.
void write_folder(const TemporaryFolder& folder, const std::string& name, const Scheme& scheme) {
  json config = read_json(kGolden + "hf/" + name + "/config.json");
  json& quantisation = config["quantization_config"];
  quantisation = read_json(kGolden + "../formats/quantised/" + scheme.config + "/config.json")["quantization_config"];
  if (quantisation.contains("group_size")) quantisation["group_size"] = kGroup;
  folder.write("config.json", config.dump());
  const auto source = open(kGolden + "hf/" + name);
  Parts parts;
  int quantised = 0;
  for (const TensorView& tensor : source->tensors) {
    const bool matrix = tensor.name.ends_with("_proj.weight") && !tensor.name.starts_with("mtp.");
    if (matrix && tensor.columns() % scheme.columns == 0 && tensor.rows() % 8 == 0) {
      scheme.writer(parts, tensor.name.substr(0, tensor.name.size() - 7), tensor.rows(), tensor.columns());
      ++quantised;
    } else {
      const auto* values = reinterpret_cast<const uint16_t*>(tensor.data.data());
      ASSERT_EQ(tensor.dtype, DType::kBF16) << tensor.name;
      parts.add(tensor.name, "BF16", tensor.shape, [&](int64_t i) { return values[i]; });
    }
  }
  EXPECT_GE(quantised, 10);
  folder.write("model.safetensors", parts.file());
}

// Root mean square of the differences over that of `a`.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double missing = 0, size = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    missing += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(a[i]), 2);
  }
  return std::sqrt(missing / size);
}

class QuantisedFolder : public testing::TestWithParam<Scheme> {};

// qwen35-text has rows and columns that stand in another order in files.
TEST_P(QuantisedFolder, BecomesAFile) {
  const bool is_mxfp4 = GetParam().writer == mxfp4;
  ThreadPool pool(1);
  for (const char* name : {"qwen3-five", "qwen35-text"}) {
    SCOPED_TRACE(name);
    if (name == std::string("qwen35-text") && GetParam().columns > kGroup) continue;  // its rows are shorter
    const TemporaryFolder folder;
    write_folder(folder, name, GetParam());
    const auto source = open(folder.path());
    ASSERT_NE(source, nullptr);
    ConvertOptions exact;
    exact.keep_types = false;
    exact.quantise.mix = *find_mix("F32");
    const auto whole = convert_folder(*source, folder.path("f32.gguf"), exact, pool);
    ASSERT_TRUE(whole.ok()) << whole.error().message;
    const auto kept = convert_folder(*source, folder.path("kept.gguf"), {}, pool);
    ASSERT_TRUE(kept.ok()) << kept.error().message;
    const std::vector<float> wanted = logits_of(folder.path());
    const double by_f32 = distance(wanted, logits_of(folder.path("f32.gguf")));
    const double by_kept = distance(wanted, logits_of(folder.path("kept.gguf")));
    // In the folder columns in the order of activation are summed group by group, and a scale of the whole matrix comes
    // behind the sum; in the file the values are summed as they stand.
    EXPECT_LE(by_f32, GetParam().sums_otherwise ? 1e-4 : 0.0);
    const DType type = open(folder.path("kept.gguf"))->find("blk.0.ffn_gate.weight")->dtype;
    EXPECT_EQ(type, is_mxfp4 ? DType::kMXFP4 : DType::kBF16);
    if (is_mxfp4)
      EXPECT_EQ(by_kept, 0.0);
    else
      EXPECT_LT(by_kept, 0.02);
  }
}
INSTANTIATE_TEST_SUITE_P(Convert, QuantisedFolder, testing::ValuesIn(kSchemes), [](const auto& scheme) {
  std::string name = scheme.param.config;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

// gpt-oss as it is released: gate and up rows in turn, in stacks of MXFP4 blocks.
TEST(ConvertFolder, StacksOfMxfp4StayBlockForBlock) {
  const TemporaryFolder folder;
  const auto wider = [](int64_t n) { return n == 48 || n == 56 ? 64 : n == 28 ? 32 : n; };
  json config = read_json(kGolden + "hf/gpt-oss-sinks/config.json");
  config["hidden_size"] = 64;
  config["intermediate_size"] = 32;
  config["quantization_config"] = {{"quant_method", "mxfp4"}};
  folder.write("config.json", config.dump());
  Parts p;
  const auto narrow = open(kGolden + "hf/gpt-oss-sinks");
  for (const TensorView& tensor : narrow->tensors) {
    Shape shape = tensor.shape;
    std::transform(shape.begin(), shape.end(), shape.begin(), wider);
    if (shape.size() == 3) {  // the other way round
      p.add(tensor.name + "_blocks", "U8", {shape[0], shape[2], shape[1] / 32, 16}, [&](int64_t) { return p.byte(); });
      p.add(tensor.name + "_scales", "U8", {shape[0], shape[2], shape[1] / 32},
            [&](int64_t) { return static_cast<uint8_t>(122 + p.byte() % 4); });
    } else {
      p.add(tensor.name, "BF16", shape, [&](int64_t) { return float_to_bfloat16(p.normal(0.2)); });
    }
  }
  folder.write("model.safetensors", p.file());
  ThreadPool pool(1);
  const auto report = convert_folder(*open(folder.path()), folder.path("out.gguf"), {}, pool);
  ASSERT_TRUE(report.ok()) << report.error().message;
  const auto made = open(folder.path("out.gguf"));
  for (const char* name : {"gate", "up", "down"})
    EXPECT_EQ(made->find("blk.1.ffn_" + std::string(name) + "_exps.weight")->dtype, DType::kMXFP4);
  EXPECT_EQ(*made->metadata.get_int("general.file_type", 0, 99), 38);
  EXPECT_EQ(distance(logits_of(folder.path()), logits_of(folder.path("out.gguf"))), 0.0);
}

}  // namespace
}  // namespace kinglet::convert
