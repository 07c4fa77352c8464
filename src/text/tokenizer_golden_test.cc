// Real tokenizers against Hugging Face's, SentencePiece's and tiktoken's own: ids and decoded text of 2,200 texts each.
#include <gtest/gtest.h>

#include "formats/checkpoint.h"
#include "text/detokenizer.h"
#include "text/golden_test_support.h"
#include "text/tokenizer.h"

namespace kinglet {
namespace {

using Json = nlohmann::json;

struct Case {
  std::string name;
  bool gguf = false;
  bool parse_special = true;  // SentencePiece's own library reads special tokens as text
  bool compare_text = true;   // its decoding of invalid bytes and ours, Hugging Face's, are not the same
};

void PrintTo(const Case& test, std::ostream* out) {
  *out << test.name;
}

class TokenizerGolden : public testing::TestWithParam<Case> {
 protected:
  // nullptr when the files are not there.
  static std::shared_ptr<const Tokenizer> load(const Case& test) {
    Checkpoint checkpoint;
    if (test.gguf) {
      if (!std::filesystem::exists(golden::model(test.name))) return nullptr;
      auto opened = open_checkpoint(golden::model(test.name).string(), {.vocabulary_only = true});
      EXPECT_TRUE(opened.ok()) << opened.error().message;
      if (opened.ok()) return unwrap(Tokenizer::from_checkpoint(**opened));
      return nullptr;
    }
    std::filesystem::path folder = golden::tokenizer_folder(test.name);
    if (!std::filesystem::exists(folder)) return nullptr;
    checkpoint.format = CheckpointFormat::kHuggingFace;
    checkpoint.path = test.name;
    checkpoint.side_files.tokenizer_json = golden::read_file(folder / "tokenizer.json");
    checkpoint.side_files.tokenizer_config_json = golden::read_file(folder / "tokenizer_config.json");
    checkpoint.side_files.tokenizer_model = golden::read_file(folder / "tokenizer.model");
    checkpoint.side_files.tiktoken_model = golden::read_file(folder / "tiktoken.model");
    return unwrap(Tokenizer::from_checkpoint(checkpoint));
  }

  static std::shared_ptr<const Tokenizer> unwrap(Result<std::shared_ptr<const Tokenizer>> result) {
    EXPECT_TRUE(result.ok()) << result.error().message;
    return result.ok() ? *result : nullptr;
  }

  static Json expected(const Case& test) {
    return Json::parse(golden::read_file(golden::folder() / "tokenizers" / (test.name + ".json")));
  }
};

std::string stream(const std::shared_ptr<const Tokenizer>& tokenizer, std::span<const int32_t> ids, bool skip) {
  StreamingDetokenizer detokenizer(tokenizer, skip);
  std::string text;
  for (int32_t id : ids) text += detokenizer.push(id);
  return text + detokenizer.finish();
}

TEST_P(TokenizerGolden, IdsAndTextsAreTheReferences) {
  const Case& test = GetParam();
  std::shared_ptr<const Tokenizer> tokenizer = load(test);
  if (tokenizer == nullptr) GTEST_SKIP() << "SKIPPED: " << test.name << " is not on this machine";
  Json golden = expected(test);
  std::vector<std::string> texts = golden::texts();
  ASSERT_EQ(golden["texts"].size(), texts.size());
  ASSERT_GE(texts.size(), 2000u);
  int wrong = 0;
  for (size_t i = 0; i < texts.size() && wrong < 10; ++i) {
    auto ids = tokenizer->encode(texts[i], {.add_special = false, .parse_special = test.parse_special});
    ASSERT_TRUE(ids.ok()) << ids.error().message;
    if (i < golden["first"].size()) {
      EXPECT_EQ(*ids, golden["first"][i].get<std::vector<int32_t>>()) << Json(texts[i]);
    }
    std::string whole = tokenizer->decode(*ids, false);
    EXPECT_EQ(stream(tokenizer, *ids, false), whole) << Json(texts[i]);
    std::string found = std::to_string(ids->size()) + ":" + golden::hash_ids(*ids) + ":" + golden::hash_text(whole) +
                        ":" + golden::hash_text(tokenizer->decode(*ids, true));
    std::string want = golden["texts"][i];
    if (!test.compare_text) {
      found.resize(found.find(':', found.find(':') + 1));
      want.resize(want.find(':', want.find(':') + 1));
    }
    EXPECT_EQ(found, want) << "text " << i << ": " << Json(texts[i]) << "\nids " << Json(*ids) << "\ndecoded "
                           << Json(whole);
    wrong += found != want ? 1 : 0;
  }
}

TEST_P(TokenizerGolden, SpecialTokensAroundTexts) {
  const Case& test = GetParam();
  std::shared_ptr<const Tokenizer> tokenizer = load(test);
  if (tokenizer == nullptr) GTEST_SKIP() << "SKIPPED: " << test.name << " is not on this machine";
  Json golden = expected(test);
  std::vector<std::string> texts = golden::texts();
  for (size_t i = 0; i < golden["with_special"].size(); ++i) {
    auto ids = tokenizer->encode(texts[i]);
    ASSERT_TRUE(ids.ok());
    EXPECT_EQ(*ids, golden["with_special"][i].get<std::vector<int32_t>>()) << Json(texts[i]);
  }
}

TEST_P(TokenizerGolden, RandomIdsDecodeAsTheReferenceDoes) {
  const Case& test = GetParam();
  std::shared_ptr<const Tokenizer> tokenizer = load(test);
  if (tokenizer == nullptr) GTEST_SKIP() << "SKIPPED: " << test.name << " is not on this machine";
  Json golden = expected(test);
  if (!golden.contains("random_ids")) return;
  for (const Json& entry : golden["random_ids"]) {
    auto ids = entry[0].get<std::vector<int32_t>>();
    std::string text = tokenizer->decode(ids, true);
    EXPECT_EQ(golden::hash_text(text), entry[1].get<std::string>()) << entry << Json(text);
    EXPECT_EQ(stream(tokenizer, ids, true), text) << entry;
  }
}

INSTANTIATE_TEST_SUITE_P(Real, TokenizerGolden,
                         testing::Values(Case{.name = "smollm2", .gguf = true},
                                         Case{.name = "qwen2.5-coder-0.5b", .gguf = true},
                                         Case{.name = "gemma3-270m", .gguf = true}, Case{.name = "claude"},
                                         Case{.name = "deepseek"}, Case{.name = "minilm"},
                                         Case{.name = "mistral-v1", .parse_special = false, .compare_text = false},
                                         Case{.name = "mistral-v3", .parse_special = false, .compare_text = false},
                                         Case{.name = "qwen-tiktoken", .parse_special = false}),
                         [](const auto& param) {
                           std::string name = param.param.name;
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

}  // namespace
}  // namespace kinglet
