#include "convert/hf_to_gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "families/family.h"
#include "formats/test_files.h"
#include "text/tokenizer.h"

namespace kinglet::convert {
namespace {

using testing::HasSubstr;
using testing_files::TemporaryFolder;
namespace fs = std::filesystem;

const std::string kGolden = KINGLET_SOURCE_DIR "/tests/golden/models/";

std::shared_ptr<const Checkpoint> open(const std::string& path) {
  auto opened = open_checkpoint(path);
  EXPECT_TRUE(opened.ok()) << opened.error().message;
  return opened.ok() ? *opened : nullptr;
}

// Folders whose GGUF twin lies beside them.
std::vector<std::string> twins() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kGolden + "hf"))
    if (fs::exists(kGolden + "gguf/" + entry.path().filename().string() + ".gguf"))
      names.push_back(entry.path().filename().string());
  return names;
}

std::string bytes_of(const TensorView& tensor) {
  return {reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size()};
}

TEST(ConvertFolder, EveryTwinTensorForTensor) {
  const TemporaryFolder folder;
  ThreadPool pool(2);
  int checked = 0;
  for (const std::string& name : twins()) {
    const auto twin = open(kGolden + "gguf/" + name + ".gguf");
    const auto architecture = *twin->metadata.get_string("general.architecture");
    ConvertOptions options;
    options.keep_types = false;
    options.quantise.mix = *find_mix(twin->find("token_embd.weight")->dtype == DType::kF16 ? "F16" : "F32");
    const auto source = open(kGolden + "hf/" + name);
    if (!find_family(*source).ok()) continue;
    const std::string path = folder.path(name + ".gguf");
    const auto report = convert_folder(*source, path, options, pool);
    if (!report.ok() && report.error().code == ErrorCode::kUnsupported) continue;
    ASSERT_TRUE(report.ok()) << name << ": " << report.error().message;
    const auto made = open(path);
    ASSERT_EQ(made->tensors.size(), twin->tensors.size()) << name;
    for (const TensorView& expected : twin->tensors) {
      const TensorView* tensor = made->find(expected.name);
      ASSERT_NE(tensor, nullptr) << name << ' ' << expected.name;
      EXPECT_EQ(tensor->shape, expected.shape) << name << ' ' << expected.name;
      EXPECT_EQ(bytes_of(*tensor), bytes_of(expected)) << name << ' ' << expected.name;
    }
    for (const auto& [key, value] : twin->metadata.values()) {
      if (key == "general.name") continue;
      ASSERT_TRUE(made->metadata.has(key)) << name << ' ' << key;
      EXPECT_EQ(*made->metadata.find(key), value) << name << ' ' << key;
    }
    EXPECT_TRUE(bind_model(*made).ok()) << name;
    ++checked;
  }
  EXPECT_GE(checked, 9);
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
