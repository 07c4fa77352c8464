#include "convert/hf_to_gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "convert/test_models.h"
#include "families/family.h"
#include "formats/decode.h"
#include "formats/test_files.h"
#include "text/tokenizer.h"

namespace kinglet::convert {
namespace {

using testing::HasSubstr;
using testing_files::TemporaryFolder;
namespace fs = std::filesystem;

// Folders of models and encoders, and their twins by llama.cpp's converter.
struct Twin {
  std::string name, folder, gguf;
};
std::vector<Twin> twins() {
  std::vector<Twin> all;
  for (const auto& [folders, files] : {std::pair("hf/", "gguf/"), std::pair("encoders/", "encoders/")})
    for (const auto& entry : fs::directory_iterator(kGolden + folders)) {
      const std::string name = entry.path().filename().string(), gguf = kGolden + files + name + ".gguf";
      if (entry.is_directory() && fs::exists(gguf)) all.push_back({name, kGolden + folders + name, gguf});
    }
  return all;
}

std::string bytes_of(const TensorView& tensor) {
  return {reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size()};
}

std::vector<float> values_of(const TensorView& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  for (int64_t row = 0; row < tensor.rows(); ++row)
    decode_row(
        tensor, row,
        std::span(values).subspan(static_cast<size_t>(row * tensor.columns()), static_cast<size_t>(tensor.columns())));
  return values;
}

// Folders of families that Kinglet loads.
std::vector<std::string> folders() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kGolden + "hf"))
    if (find_family(*open(entry.path().string())).ok()) names.push_back(entry.path().filename().string());
  return names;
}

// What is not compared: names made of the folder's name or of a count of weights. `more_layers`: the file has layers
// that predict further tokens, which llama.cpp's converter leaves out (of DeepSeek-V3).
bool is_compared(const std::string& key, bool more_layers) {
  for (const char* name : {"general.name", "general.basename", "general.version", "general.size_label"})
    if (key == name) return false;
  // Phi-3's files state it without LongRoPE, too, where it means nothing.
  if (key == "phi3.rope.scaling.original_context_length") return false;
  // llama.cpp's converter states the context of Hunyuan's largest release whatever the folder says.
  if (key.starts_with("hunyuan-") && key.ends_with("context_length")) return false;
  // llama.cpp's converter reads the configuration as transformers rewrites it, without this; .recurrent_layers says it.
  if (key.starts_with("qwen35") && key.ends_with(".full_attention_interval")) return false;
  // What it says there is the configuration's head_dim, which nothing in these models has.
  if (key == "kimi-linear.attention.value_length") return false;
  // Of GLM-4-9B's folders it takes the width for the context, and says of a vocabulary what these models don't have.
  if (key == "chatglm.context_length" || key == "tokenizer.ggml.add_bos_token") return false;
  return !(more_layers && key.ends_with(".block_count"));
}

bool is_prediction_layer(const std::string& tensor, size_t layers) {
  return tensor.starts_with("blk." + std::to_string(layers) + ".");
}

// Outer dimensions of 1 mean nothing in a GGUF file; converters write or drop them as they please.
std::vector<int64_t> without_ones(std::vector<int64_t> shape) {
  while (shape.size() > 1 && shape.front() == 1) shape.erase(shape.begin());
  return shape;
}

void expect_equal_files(const std::string& name, const Checkpoint& made, const Checkpoint& twin) {
  const int64_t predicts = bind_model(made)->spec.prediction_layers;
  const bool more_layers = predicts > bind_model(twin)->spec.prediction_layers;
  const size_t layers = bind_model(made)->spec.layers.size();
  for (const TensorView& expected : twin.tensors) {
    const TensorView* tensor = made.find(expected.name);
    ASSERT_NE(tensor, nullptr) << name << ' ' << expected.name;
    EXPECT_EQ(without_ones(tensor->shape), without_ones(expected.shape)) << name << ' ' << expected.name;
    const bool same = tensor->dtype == expected.dtype ? bytes_of(*tensor) == bytes_of(expected)
                                                      : values_of(*tensor) == values_of(expected);
    EXPECT_TRUE(same) << name << ' ' << expected.name;
  }
  const auto in_twin = std::count_if(made.tensors.begin(), made.tensors.end(), [&](const TensorView& tensor) {
    return !more_layers || !is_prediction_layer(tensor.name, layers);
  });
  EXPECT_EQ(in_twin, std::ssize(twin.tensors)) << name;
  for (const auto& [key, value] : twin.metadata.values()) {
    if (!is_compared(key, more_layers)) continue;
    if (key.ends_with(".nextn_predict_layers") && value == MetadataValue(uint64_t{0})) continue;  // said of none, too
    ASSERT_TRUE(made.metadata.has(key)) << name << ' ' << key;
    EXPECT_EQ(*made.metadata.find(key), value) << name << ' ' << key;
  }
}

// Of encoders nothing more stands in the file than what llama.cpp's readers ask for, which count tokens; the twins have
// no vocabulary.
void expect_no_other_keys(const std::string& name, const Checkpoint& made, const Checkpoint& twin) {
  for (const auto& [key, value] : made.metadata.values()) {
    const bool of_tokens = key == "bert.vocab_size" || key.starts_with("tokenizer.ggml.");
    EXPECT_TRUE(of_tokens || twin.metadata.has(key)) << name << ' ' << key;
  }
}

TEST(ConvertFolder, EveryTwinTensorForTensor) {
  const TemporaryFolder folder;
  ThreadPool pool(1);
  int checked = 0;
  std::vector<std::string> encoders;
  for (const auto& [name, source_path, twin_path] : twins()) {
    const auto source = open(source_path);
    if (!find_family(*source).ok()) continue;
    const auto twin = open(twin_path);
    ConvertOptions options;
    // A twin of BF16 has the folder's types, but for a few matrices that Kinglet's files hold as floats.
    const DType type = twin->find("token_embd.weight")->dtype;
    options.keep_types = type == DType::kBF16;
    if (!options.keep_types) options.quantise.mix = *find_mix(type == DType::kF16 ? "F16" : "F32");
    const std::string path = folder.path(name + ".gguf");
    const auto report = convert_folder(*source, path, options, pool);
    EXPECT_TRUE(report.ok()) << name << ": " << (report.ok() ? "" : report.error().message);
    if (!report.ok()) continue;
    const auto made = open(path);
    expect_equal_files(name, *made, *twin);
    ++checked;
    if (bind_model(*made)->spec.is_encoder()) {
      encoders.push_back(name);
      expect_no_other_keys(name, *made, *twin);
    }
  }
  EXPECT_GE(checked, 30);
  EXPECT_THAT(encoders, testing::UnorderedElementsAre("bert-mean", "roberta-cross", "xlm-roberta-first"));
}

// Every folder becomes a file that computes the same bits, or is refused for what GGUF can't state.
TEST(ConvertFolder, TheFileComputesTheSameBits) {
  const TemporaryFolder folder;
  ThreadPool pool(1);
  std::map<std::string, std::string> refused;
  int checked = 0;
  for (const std::string& name : folders()) {
    const auto report = convert_folder(*open(kGolden + "hf/" + name), folder.path(name + ".gguf"), {}, pool);
    if (!report.ok()) {
      EXPECT_EQ(report.error().code, ErrorCode::kUnsupported) << name << ": " << report.error().message;
      refused[name] = report.error().message.substr(0, report.error().message.find(':'));
      continue;
    }
    const std::vector<float> before = logits_of(kGolden + "hf/" + name), after = logits_of(folder.path(name + ".gguf"));
    ASSERT_EQ(before.size(), after.size()) << name;
    EXPECT_EQ(std::memcmp(before.data(), after.data(), before.size() * sizeof(float)), 0) << name;
    ++checked;
  }
  EXPECT_EQ(refused, (std::map<std::string, std::string>{{"gemma2-scalar", "scale of the scores"},
                                                         {"gemma3-scalar", "scale of the scores"},
                                                         {"gpt-oss-three", "activation's limit"},
                                                         {"kimi-linear-two", "recurrent heads"},
                                                         {"minimax-01-factors", "residual scales"},
                                                         {"minimax-m3-three", "activation's limit"},
                                                         {"qwen2-moe-sparse-step", "experts"},
                                                         {"qwen2-window", "sliding windows"},
                                                         {"qwen3-moe-dense-layer", "experts"},
                                                         {"smollm3-list", "layers with rotary embedding"}}));
  EXPECT_GE(checked, 30);
}

TEST(ConvertFolder, TypesStayAsTheyAreOrBecomeAMix) {
  const TemporaryFolder folder;
  ThreadPool pool(1);
  const auto source = open(kGolden + "hf/llama31-rope");
  ASSERT_TRUE(convert_folder(*source, folder.path("kept.gguf"), {}, pool).ok());
  const auto kept = open(folder.path("kept.gguf"));
  EXPECT_EQ(kept->find("blk.0.attn_q.weight")->dtype, DType::kBF16);
  EXPECT_EQ(kept->find("blk.0.attn_norm.weight")->dtype, DType::kF32);
  EXPECT_EQ(*kept->metadata.get_int("general.file_type", 0, 99), 32);
  ConvertOptions options;
  options.keep_types = false;
  options.quantise.mix = *find_mix("Q8_0");
  ASSERT_TRUE(convert_folder(*source, folder.path("q8.gguf"), options, pool).ok());
  const auto made = open(folder.path("q8.gguf"));
  EXPECT_EQ(*made->metadata.get_int("general.file_type", 0, 99), 7);
}

TEST(ConvertFolder, SaysWhatItCannotDo) {
  const TemporaryFolder folder;
  ThreadPool pool(1);
  const auto windows = convert_folder(*open(kGolden + "hf/qwen2-window"), folder.path("a.gguf"), {}, pool);
  ASSERT_FALSE(windows.ok());
  EXPECT_THAT(windows.error().message, HasSubstr("sliding windows"));
  const auto heads = convert_folder(*open(kGolden + "hf/kimi-linear-two"), folder.path("a.gguf"), {}, pool);
  ASSERT_FALSE(heads.ok());
  EXPECT_EQ(heads.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(heads.error().message, HasSubstr("recurrent heads"));
  const auto gguf = convert_folder(*open(kGolden + "gguf/qwen2-tied.gguf"), folder.path("a.gguf"), {}, pool);
  ASSERT_FALSE(gguf.ok());
  EXPECT_THAT(gguf.error().message, HasSubstr("expected a Hugging Face folder"));
  EXPECT_FALSE(fs::exists(folder.path("a.gguf")));
}

// A vocabulary of bytes, two merges and three added tokens, as transformers writes it.
std::string small_tokenizer() {
  nlohmann::json vocabulary, added = nlohmann::json::array();
  const char* const letters[] = {"a", "b", "c", "Ġ", "ab", "Ġab"};
  int id = 0;
  for (const char* letter : letters) vocabulary[letter] = id++;
  for (const char* text : {"<s>", "</s>", "<tool>"})
    added.push_back({{"id", id++},
                     {"content", text},
                     {"special", std::string(text) != "<tool>"},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false}});
  const nlohmann::json json = {
      {"version", "1.0"},
      {"added_tokens", added},
      {"normalizer", {{"type", "NFC"}}},
      {"pre_tokenizer",
       {{"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"},
           {"pattern",
            {{"Regex",
              "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
              "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
              "\\s+(?!\\S)|\\s+"}}},
           {"behavior", "Isolated"},
           {"invert", false}},
          {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}}}}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"vocab", vocabulary},
        {"merges", nlohmann::json::array({"a b", "Ġ ab"})}}}};
  return json.dump();
}

TEST(ConvertFolder, TheTokenizerComesAlong) {
  const TemporaryFolder folder;
  fs::copy(kGolden + "hf/qwen3-five", folder.path("model"), fs::copy_options::recursive);
  folder.write("model/tokenizer.json", small_tokenizer());
  folder.write("model/tokenizer_config.json",
               R"({"eos_token":"</s>","bos_token":"<s>","chat_template":"{{ messages[0].content }}"})");
  ThreadPool pool(1);
  const auto source = open(folder.path("model"));
  const auto report = convert_folder(*source, folder.path("out.gguf"), {}, pool);
  ASSERT_TRUE(report.ok()) << report.error().message;
  const auto made = open(folder.path("out.gguf"));
  EXPECT_EQ(*made->metadata.get_string("tokenizer.ggml.model"), "gpt2");
  EXPECT_EQ(*made->metadata.get_string("tokenizer.ggml.pre"), "qwen2");
  EXPECT_EQ(*made->metadata.get_strings("tokenizer.ggml.merges"), (std::vector<std::string>{"a b", "Ġ ab"}));
  EXPECT_EQ(*made->metadata.get_string("tokenizer.chat_template"), "{{ messages[0].content }}");
  const auto types = *made->metadata.get_ints("tokenizer.ggml.token_type");
  EXPECT_EQ(std::vector<int64_t>(types.begin(), types.begin() + 10),
            (std::vector<int64_t>{1, 1, 1, 1, 1, 1, 3, 3, 4, 5}));
  const auto before = Tokenizer::from_checkpoint(*source), after = Tokenizer::from_checkpoint(*made);
  ASSERT_TRUE(before.ok() && after.ok()) << after.error().message;
  for (const char* text : {"ab ab", "c<tool>ab</s>", "a bc  ab"})
    EXPECT_EQ(*(*before)->encode(text), *(*after)->encode(text)) << text;
  EXPECT_EQ((*before)->special().eos, (*after)->special().eos);
}

}  // namespace
}  // namespace kinglet::convert
