// Vocabularies of encoders: the keys are those that llama.cpp's converter makes of the same tokenizer.json, and the
// file cuts texts as the folder does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "convert/hf_to_gguf.h"
#include "convert/test_models.h"
#include "formats/test_files.h"
#include "text/tokenizer.h"

namespace kinglet::convert {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

Json added(const std::vector<std::pair<std::string, int>>& tokens) {
  Json list = Json::array();
  for (const auto& [text, id] : tokens)
    list.push_back({{"id", id},
                    {"content", text},
                    {"special", true},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", false}});
  return list;
}

// What stands around one text and between two.
Json around(const std::string& first, int first_id, const std::string& last, int last_id, int between) {
  const auto text = [](const char* name, int type) { return Json{{"Sequence", {{"id", name}, {"type_id", type}}}}; };
  const auto token = [](const std::string& name, int type) {
    return Json{{"SpecialToken", {{"id", name}, {"type_id", type}}}};
  };
  Json pair = {token(first, 0), text("A", 0)};
  for (int i = 0; i < between; ++i) pair.push_back(token(last, 0));
  pair.push_back(text("B", 1));
  pair.push_back(token(last, 1));
  const auto listed = [](const std::string& name, int id) {
    return Json{{"id", name}, {"ids", {id}}, {"tokens", {name}}};
  };
  return {{"type", "TemplateProcessing"},
          {"single", {token(first, 0), text("A", 0), token(last, 0)}},
          {"pair", pair},
          {"special_tokens", {{first, listed(first, first_id)}, {last, listed(last, last_id)}}}};
}

Json word_piece() {
  Json vocabulary;
  int id = 0;
  for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "cafe", "caf", "##e", "##s", "é",
                            "##é", "##]", "]", "bird", "Bird", ",", "中"})
    vocabulary[token] = id++;
  return {{"version", "1.0"},
          {"added_tokens", added({{"[PAD]", 0}, {"[UNK]", 1}, {"[CLS]", 2}, {"[SEP]", 3}, {"[MASK]", 4}})},
          {"normalizer",
           {{"type", "BertNormalizer"},
            {"clean_text", true},
            {"handle_chinese_chars", true},
            {"strip_accents", nullptr},
            {"lowercase", true}}},
          {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
          {"post_processor", around("[CLS]", 2, "[SEP]", 3, 1)},
          {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}},
          {"model",
           {{"type", "WordPiece"},
            {"unk_token", "[UNK]"},
            {"continuing_subword_prefix", "##"},
            {"max_input_chars_per_word", 100},
            {"vocab", vocabulary}}}};
}

// A map of characters whose trie holds no text: 4 bytes of its size, 256 empty units.
const std::string kEmptyMap = "AAQA" + std::string(1367, 'A') + "=";

Json unigrams() {
  Json vocabulary = Json::array();
  const auto add = [&](const char* text, double score) { vocabulary.push_back(Json::array({text, score})); };
  for (const char* token : {"<s>", "<pad>", "</s>", "<unk>"}) add(token, 0.0);
  add("▁", -2.0);
  add("▁bird", -2.5);
  for (const char* letter : {"b", "i", "r", "d", "s", "é"}) add(letter, -4.25);
  add("<mask>", 0.0);
  return {{"version", "1.0"},
          {"added_tokens", added({{"<s>", 0}, {"<pad>", 1}, {"</s>", 2}, {"<unk>", 3}, {"<mask>", 12}})},
          {"normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", kEmptyMap}}},
          {"pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers",
             {{{"type", "WhitespaceSplit"}},
              {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "always"}, {"split", true}}}}}},
          {"post_processor", around("<s>", 0, "</s>", 2, 2)},
          {"decoder", {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "always"}, {"split", true}}},
          {"model", {{"type", "Unigram"}, {"unk_id", 3}, {"byte_fallback", false}, {"vocab", vocabulary}}}};
}

Json roberta() {
  Json vocabulary;
  int id = 0;
  for (const char* token : {"<s>", "<pad>", "</s>", "<unk>", "b", "i", "r", "d", "s", "Ġ", "bi", "Ġb", "<mask>"})
    vocabulary[token] = id++;
  return {{"version", "1.0"},
          {"added_tokens", added({{"<s>", 0}, {"<pad>", 1}, {"</s>", 2}, {"<unk>", 3}, {"<mask>", 12}})},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}},
          {"post_processor",
           {{"type", "RobertaProcessing"},
            {"sep", {"</s>", 2}},
            {"cls", {"<s>", 0}},
            {"trim_offsets", true},
            {"add_prefix_space", false}}},
          {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
          {"model", {{"type", "BPE"}, {"unk_token", nullptr}, {"vocab", vocabulary}, {"merges", {"b i", "Ġ b"}}}}};
}

const char* const kBertRoles = R"({"unk_token":"[UNK]","sep_token":"[SEP]","pad_token":"[PAD]","cls_token":"[CLS]",
    "mask_token":"[MASK]"})";
const char* const kRobertaRoles = R"({"bos_token":"<s>","eos_token":"</s>","sep_token":"</s>","cls_token":"<s>",
    "unk_token":"<unk>","pad_token":"<pad>","mask_token":"<mask>"})";

class Vocabulary : public testing::Test {
 protected:
  // A golden encoder under another tokenizer, converted.
  Result<StreamReport> convert(const std::string& encoder, const Json& tokenizer, const char* roles) {
    fs::remove_all(folder_.path("model"));
    fs::copy(kGolden + "encoders/" + encoder, folder_.path("model"), fs::copy_options::recursive);
    folder_.write("model/tokenizer.json", tokenizer.dump());
    folder_.write("model/tokenizer_config.json", roles);
    ThreadPool pool(1);
    return convert_folder(*open(folder_.path("model")), folder_.path("out.gguf"), {}, pool);
  }
  std::shared_ptr<const Checkpoint> made() const { return open(folder_.path("out.gguf")); }

  void expect_ids(const std::map<std::string, int64_t>& roles) const {
    for (const auto& [role, id] : roles)
      EXPECT_EQ(*made()->metadata.get_int("tokenizer.ggml." + role + "_token_id", 0, 99), id) << role;
  }
  void expect_same_cuts(const std::vector<std::string>& texts) const {
    const auto before = Tokenizer::from_checkpoint(*open(folder_.path("model")));
    const auto after = Tokenizer::from_checkpoint(*made());
    ASSERT_TRUE(before.ok() && after.ok());
    for (const std::string& text : texts)
      for (const bool special : {true, false}) {
        const EncodeOptions options{.add_special = special};
        EXPECT_EQ(*(*before)->encode(text, options), *(*after)->encode(text, options)) << text;
      }
    for (int32_t id = 0; id < (*before)->vocab_size(); ++id)
      EXPECT_EQ((*before)->token_text(id), (*after)->token_text(id)) << id;
  }

  testing_files::TemporaryFolder folder_;
};

TEST_F(Vocabulary, WordPiece) {
  const auto report = convert("bert-mean", word_piece(), kBertRoles);
  ASSERT_TRUE(report.ok()) << report.error().message;
  const auto file = made();
  const Metadata& m = file->metadata;
  EXPECT_EQ(*m.get_string("tokenizer.ggml.model"), "bert");
  auto tokens = *m.get_strings("tokenizer.ggml.tokens");
  EXPECT_EQ(tokens.size(), 91u);
  tokens.resize(19);
  EXPECT_THAT(tokens, ElementsAre("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁[unused0]", "▁cafe", "▁caf", "e", "s",
                                  "▁é", "é", "]", "▁]", "▁bird", "▁Bird", "▁,", "▁中", "▁[PAD18]"));
  auto types = *m.get_ints("tokenizer.ggml.token_type");
  types.resize(7);
  EXPECT_THAT(types, ElementsAre(3, 3, 3, 3, 3, 1, 1));
  expect_ids({{"bos", 2}, {"eos", 3}, {"unknown", 1}, {"seperator", 3}, {"padding", 0}, {"mask", 4}});
  EXPECT_TRUE(*m.get_bool("tokenizer.ggml.add_bos_token"));
  EXPECT_TRUE(*m.get_bool("tokenizer.ggml.add_eos_token"));
  EXPECT_FALSE(*m.get_bool("tokenizer.ggml.add_sep_token"));
  EXPECT_TRUE(*m.get_bool("tokenizer.ggml.normalizer.lowercase"));
  EXPECT_FALSE(m.has("tokenizer.ggml.normalizer.strip_accents"));
  EXPECT_EQ(*m.get_int("tokenizer.ggml.token_type_count", 0, 99), 2);
}

TEST_F(Vocabulary, WordPieceCutsTextsTheSame) {
  const std::vector<std::string> texts = {"",     "Birds, CAFÉ cafés", "[MASK] bird[SEP]",
                                          "x]é]", "bird<x>kinglets,",  "中bird\tcaf\u0301"};
  for (const bool lowercase : {true, false})
    for (const Json& strip : {Json(nullptr), Json(true), Json(false)}) {
      Json tokenizer = word_piece();
      tokenizer["normalizer"]["lowercase"] = lowercase;
      tokenizer["normalizer"]["strip_accents"] = strip;
      tokenizer["added_tokens"].push_back(added({{"<x>", 18}})[0]);
      tokenizer["added_tokens"].push_back(added({{"kinglet", 19}})[0]);
      tokenizer["added_tokens"].back()["special"] = false;
      const auto report = convert("bert-mean", tokenizer, kBertRoles);
      ASSERT_TRUE(report.ok()) << report.error().message;
      EXPECT_EQ(made()->metadata.has("tokenizer.ggml.normalizer.strip_accents"), !strip.is_null());
      SCOPED_TRACE(testing::Message() << lowercase << strip);
      expect_same_cuts(texts);
    }
}

TEST_F(Vocabulary, Unigrams) {
  const auto report = convert("xlm-roberta-first", unigrams(), kRobertaRoles);
  ASSERT_TRUE(report.ok()) << report.error().message;
  const auto file = made();
  const Metadata& m = file->metadata;
  EXPECT_EQ(*m.get_string("tokenizer.ggml.model"), "t5");
  auto tokens = *m.get_strings("tokenizer.ggml.tokens");
  tokens.resize(6);
  EXPECT_THAT(tokens, ElementsAre("<s>", "<pad>", "</s>", "<unk>", "▁", "▁bird"));
  auto types = *m.get_ints("tokenizer.ggml.token_type");
  types.resize(14);
  EXPECT_THAT(types, ElementsAre(3, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 3, 5));
  auto scores = *m.get_floats("tokenizer.ggml.scores");
  scores.resize(14);
  EXPECT_THAT(scores, ElementsAre(0, 0, 0, 0, -2, -2.5, -4.25, -4.25, -4.25, -4.25, -4.25, -4.25, 0, -10000));
  const auto map = *m.get_ints("tokenizer.ggml.precompiled_charsmap");
  ASSERT_EQ(map.size(), 1028u);
  EXPECT_EQ(map[1], 4);
  expect_ids({{"bos", 0}, {"eos", 2}, {"unknown", 3}, {"seperator", 2}, {"padding", 1}, {"mask", 12}});
  for (const char* flag :
       {"add_bos_token", "add_eos_token", "add_sep_token", "add_space_prefix", "remove_extra_whitespaces"})
    EXPECT_TRUE(*m.get_bool(std::string("tokenizer.ggml.") + flag)) << flag;
  EXPECT_EQ(*m.get_int("tokenizer.ggml.token_type_count", 0, 99), 1);
  expect_same_cuts({"", "bird", "  birds   bird  ", "é x<mask>b", "</s>"});
}

TEST_F(Vocabulary, RobertasBytes) {
  const auto report = convert("roberta-cross", roberta(), kRobertaRoles);
  ASSERT_TRUE(report.ok()) << report.error().message;
  const auto file = made();
  const Metadata& m = file->metadata;
  EXPECT_EQ(*m.get_string("tokenizer.ggml.model"), "gpt2");
  EXPECT_EQ(*m.get_string("tokenizer.ggml.pre"), "roberta-bpe");
  EXPECT_THAT(*m.get_strings("tokenizer.ggml.merges"), ElementsAre("b i", "Ġ b"));
  expect_ids({{"bos", 0}, {"eos", 2}, {"unknown", 3}, {"seperator", 2}, {"padding", 1}, {"mask", 12}});
  for (const char* flag : {"add_bos_token", "add_eos_token", "add_sep_token"})
    EXPECT_TRUE(*m.get_bool(std::string("tokenizer.ggml.") + flag)) << flag;
  expect_same_cuts({"", "bird", " bird birds", "b</s>"});
}

TEST_F(Vocabulary, NamesWhatFilesCannotState) {
  const auto refusal = [&](const Json& tokenizer, const char* encoder = "bert-mean") {
    const auto report = convert(encoder, tokenizer, "{}");
    EXPECT_FALSE(report.ok());
    if (report.ok()) return std::string();
    EXPECT_EQ(report.error().code, ErrorCode::kUnsupported) << report.error().message;
    return report.error().message;
  };
  Json json = word_piece();
  json["normalizer"]["handle_chinese_chars"] = false;
  EXPECT_THAT(refusal(json), HasSubstr("normalizer.handle_chinese_chars: found false"));
  json = word_piece();
  json["pre_tokenizer"]["type"] = "Whitespace";
  EXPECT_THAT(refusal(json), HasSubstr("pre_tokenizer: found Whitespace"));
  json = word_piece();
  json["model"]["max_input_chars_per_word"] = 50;
  EXPECT_THAT(refusal(json), HasSubstr("max_input_chars_per_word: found 50"));
  json = unigrams();
  json["normalizer"] = {{"type", "Lowercase"}};
  EXPECT_THAT(refusal(json, "xlm-roberta-first"), HasSubstr("normalizer: found Lowercase"));
  json = unigrams();
  json["normalizer"] = nullptr;
  EXPECT_THAT(refusal(json, "xlm-roberta-first"), HasSubstr("WhitespaceSplit without"));
  json = unigrams();
  json["model"]["unk_id"] = nullptr;
  EXPECT_THAT(refusal(json, "xlm-roberta-first"), HasSubstr("model.unk_id: found none"));
  json = word_piece();
  json["model"] = {{"type", "WordLevel"}, {"vocab", {{"[UNK]", 0}, {"a", 1}}}, {"unk_token", "[UNK]"}};
  json["added_tokens"] = Json::array();
  json["post_processor"] = nullptr;
  EXPECT_THAT(refusal(json), HasSubstr("\"WordLevel\", only BPE, WordPiece and Unigram"));
}

}  // namespace
}  // namespace kinglet::convert
