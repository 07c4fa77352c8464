// The same vocabulary by two roads: a tokenizer.json rewritten as GGUF metadata, as converters do, must give the ids
// that the reference gave for the tokenizer.json.
#include <gtest/gtest.h>

#include "formats/checkpoint.h"
#include "text/golden_test_support.h"
#include "text/tokenizer.h"

namespace kinglet {
namespace {

using Json = nlohmann::json;

struct Listed {
  std::vector<std::string> tokens, merges;
  std::vector<int64_t> types;
};

Listed list(const Json& json) {
  Listed listed;
  auto put = [&](size_t id, const std::string& text, int64_t type) {
    if (listed.tokens.size() <= id) {
      listed.tokens.resize(id + 1);
      listed.types.resize(id + 1, 5);
    }
    listed.tokens[id] = text;
    listed.types[id] = type;
  };
  for (const auto& [text, id] : json["model"]["vocab"].items()) put(id, text, 1);
  for (const Json& token : json["added_tokens"]) put(token["id"], token["content"], token["special"] ? 3 : 4);
  if (json["model"].contains("merges")) {
    for (const Json& merge : json["model"]["merges"]) {
      listed.merges.push_back(merge.is_string() ? merge.get<std::string>()
                                                : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
    }
  }
  return listed;
}

void compare(const std::string& name, Metadata metadata) {
  Checkpoint checkpoint;
  checkpoint.path = name;
  checkpoint.metadata = std::move(metadata);
  auto tokenizer = Tokenizer::from_checkpoint(checkpoint);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  Json golden = Json::parse(golden::read_file(golden::folder() / "tokenizers" / (name + ".json")));
  std::vector<std::string> texts = golden::texts();
  int wrong = 0;
  for (size_t i = 0; i < texts.size() && wrong < 10; ++i) {
    auto ids = (*tokenizer)->encode(texts[i], {.add_special = false});
    ASSERT_TRUE(ids.ok()) << ids.error().message;
    std::string found = std::to_string(ids->size()) + ":" + golden::hash_ids(*ids) + ":";
    std::string want = golden["texts"][i];
    wrong += want.starts_with(found) ? 0 : 1;
    EXPECT_TRUE(want.starts_with(found)) << "text " << i << ": " << Json(texts[i]) << " " << Json(*ids);
  }
}

TEST(GgufRoad, DeepSeekByPreTokenizerName) {
  std::filesystem::path file = golden::tokenizer_folder("deepseek") / "tokenizer.json";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "SKIPPED: deepseek's tokenizer is not on this machine";
  Listed listed = list(Json::parse(golden::read_file(file)));
  Metadata metadata(file.string());
  metadata.set("tokenizer.ggml.model", std::string("gpt2"));
  metadata.set("tokenizer.ggml.pre", std::string("deepseek-v3"));
  metadata.set("tokenizer.ggml.tokens", listed.tokens);
  metadata.set("tokenizer.ggml.token_type", listed.types);
  metadata.set("tokenizer.ggml.merges", listed.merges);
  compare("deepseek", std::move(metadata));
}

TEST(GgufRoad, BertWordPiece) {
  std::filesystem::path file = golden::tokenizer_folder("minilm") / "tokenizer.json";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "SKIPPED: minilm's tokenizer is not on this machine";
  Listed listed = list(Json::parse(golden::read_file(file)));
  for (std::string& token : listed.tokens) {
    // Converters turn the marks around: beginnings of words are marked instead of what continues them.
    if (token.starts_with("##")) {
      token.erase(0, 2);
    } else if (!(token.starts_with('[') && token.ends_with(']'))) {
      token.insert(0, "▁");
    }
  }
  Metadata metadata(file.string());
  metadata.set("tokenizer.ggml.model", std::string("bert"));
  metadata.set("tokenizer.ggml.tokens", listed.tokens);
  metadata.set("tokenizer.ggml.token_type", listed.types);
  metadata.set("tokenizer.ggml.unknown_token_id", uint64_t{100});
  compare("minilm", std::move(metadata));
}

}  // namespace
}  // namespace kinglet
