#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "text/test_vocabularies.h"

namespace kinglet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<int32_t> encode(const Tokenizer& tokenizer, std::string_view text, EncodeOptions options = {}) {
  auto ids = tokenizer.encode(text, options);
  EXPECT_TRUE(ids.ok()) << (ids.ok() ? "" : ids.error().message);
  return ids.ok() ? *ids : std::vector<int32_t>();
}

std::string error_of(Metadata metadata) {
  auto result = Tokenizer::from_checkpoint(test::gguf(std::move(metadata)));
  EXPECT_FALSE(result.ok());
  return result.ok() ? "" : result.error().message;
}

TEST(Tokenizer, ByteLevelMergesAndSpecialTokens) {
  auto tokenizer = test::load(test::byte_level());
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->vocab_size(), 260);
  EXPECT_EQ(tokenizer->kind(), "gpt2/gpt-2");
  EXPECT_THAT(encode(*tokenizer, "he he<|end|>"), ElementsAre(256, 257, 258));
  EXPECT_EQ(encode(*tokenizer, "<|end|>", {.add_special = true, .parse_special = false}).size(), 7u);
  EXPECT_THAT(encode(*tokenizer, "<tool>", {.add_special = true, .parse_special = false}), ElementsAre(259));
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{256, 257, 258, 259}), "he he<tool>");
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{256, 257, 258}, false), "he he<|end|>");
  EXPECT_EQ(tokenizer->token_bytes(257), " he");
  EXPECT_EQ(tokenizer->token_text(257), "Ġhe");
  EXPECT_EQ(tokenizer->token_bytes(0xff), "\xff");
  EXPECT_EQ(tokenizer->id_of("<tool>"), 259);
  EXPECT_TRUE(tokenizer->is_special(258));
  EXPECT_FALSE(tokenizer->is_special(259));
}

TEST(Tokenizer, IdsOutsideTheVocabularyAreHarmless) {
  auto tokenizer = test::load(test::byte_level());
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{-1, 256, 1 << 30}), "he");
  EXPECT_EQ(tokenizer->token_bytes(-1), "");
  EXPECT_EQ(tokenizer->token_bytes(260), "");
  EXPECT_FALSE(tokenizer->is_special(-5));
  EXPECT_EQ(tokenizer->id_of("nothing"), std::nullopt);
}

TEST(Tokenizer, InvalidBytesBecomeReplacementCharacters) {
  auto tokenizer = test::load(test::byte_level());
  EXPECT_EQ(tokenizer->decode(encode(*tokenizer, "a\xff\xc3z\xe2\x82")), "a\uFFFD\uFFFDz\uFFFD");
  EXPECT_EQ(encode(*tokenizer, std::string_view("\0", 1)).size(), 1u);
}

TEST(Tokenizer, SentencePieceScoresAndBytes) {
  auto tokenizer = test::load(test::sentencepiece());
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_TRUE(tokenizer->adds_bos());
  // 260 is "▁hi"; é has no piece and becomes its two bytes.
  EXPECT_THAT(encode(*tokenizer, "hi"), ElementsAre(1, 260));
  EXPECT_THAT(encode(*tokenizer, "hi\u00e9", {.add_special = false}), ElementsAre(260, 3 + 0xc3, 3 + 0xa9));
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{260, 3 + 0xc3, 3 + 0xa9, 260}), "hi\u00e9 hi");
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{260, 3 + 0xc3, 260}), "hi\uFFFD hi");
  EXPECT_EQ(tokenizer->token_bytes(260), " hi");
  EXPECT_EQ(tokenizer->token_bytes(3 + 0xc3), "\xc3");
  auto bare = test::load(test::sentencepiece(false));
  EXPECT_THAT(encode(*bare, "hi", {.add_special = false}), ElementsAre(261));
}

TEST(Tokenizer, EndOfGeneration) {
  auto tokenizer = test::load(test::byte_level());
  EXPECT_TRUE(tokenizer->is_end_of_generation(258));
  EXPECT_FALSE(tokenizer->is_end_of_generation(259));
  EXPECT_EQ(tokenizer->special().eot, 258);
  auto sentencepiece = test::load(test::sentencepiece());
  EXPECT_THAT(sentencepiece->end_of_generation(), ElementsAre(2));
}

TEST(Tokenizer, VocabularyMustFitTheModel) {
  auto tokenizer = test::load(test::byte_level());
  EXPECT_TRUE(tokenizer->check_vocabulary(260).ok());
  Status status = tokenizer->check_vocabulary(259);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("ids up to 259"));
  EXPECT_THAT(status.error().message, HasSubstr("only 259 rows"));
}

TEST(Tokenizer, EveryKnownPreTokenizerWorks) {
  std::string message = error_of(test::byte_level("no-such-thing"));
  EXPECT_THAT(message, HasSubstr("'no-such-thing' is not known; known are "));
  size_t at = message.find("known are ") + 10;
  int count = 0;
  for (std::string name; at < message.size(); at += name.size() + 2, ++count) {
    name = message.substr(at, message.find(", ", at) - at);
    auto tokenizer = test::load(test::byte_level(name));
    ASSERT_NE(tokenizer, nullptr) << name;
    std::string text = "Hello he's 12345 x+y\n\n  ok 你好 ü";
    EXPECT_EQ(tokenizer->decode(encode(*tokenizer, text, {.add_special = false})), text) << name;
  }
  EXPECT_GT(count, 50);
}

TEST(Tokenizer, MalformedVocabulariesAreErrors) {
  Metadata metadata = test::byte_level();
  metadata.set("tokenizer.ggml.model", std::string("rwkv"));
  EXPECT_THAT(error_of(metadata), HasSubstr("'rwkv' is not known"));
  metadata = test::byte_level();
  metadata.set("tokenizer.ggml.merges", std::vector<std::string>{"h zz"});
  EXPECT_THAT(error_of(metadata), HasSubstr("merges[0]: 'zz' is not in the vocabulary"));
  metadata.set("tokenizer.ggml.merges", std::vector<std::string>{"hzz"});
  EXPECT_THAT(error_of(metadata), HasSubstr("has no space"));
  metadata = test::byte_level();
  metadata.set("tokenizer.ggml.token_type", std::vector<int64_t>{1, 2});
  EXPECT_THAT(error_of(metadata), HasSubstr("found 2 entries"));
  metadata = test::byte_level();
  metadata.set("tokenizer.ggml.eos_token_id", uint64_t{99999});
  EXPECT_THAT(error_of(metadata), HasSubstr("eos id is 99999, outside its vocabulary of 260"));
  metadata = test::byte_level();
  metadata.set("tokenizer.ggml.tokens", std::vector<std::string>{"\xff\xfe"});
  metadata.set("tokenizer.ggml.token_type", std::vector<int64_t>{1});
  EXPECT_THAT(error_of(metadata), HasSubstr("tokens[0]: not UTF-8"));
  metadata = test::byte_level();
  metadata.set("tokenizer.ggml.tokens", std::string("text"));
  EXPECT_THAT(error_of(metadata), HasSubstr("expected an array of strings"));
  metadata = test::sentencepiece();
  metadata.set("tokenizer.ggml.add_bos_token", std::string("yes"));
  EXPECT_FALSE(error_of(metadata).empty());
  EXPECT_THAT(error_of(Metadata("x")), HasSubstr("carries no tokenizer"));
}

TEST(Tokenizer, WordPiece) {
  Metadata metadata("test.gguf");
  metadata.set("tokenizer.ggml.model", std::string("bert"));
  metadata.set("tokenizer.ggml.tokens",
               std::vector<std::string>{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁hello", "ing", "▁,"});
  metadata.set("tokenizer.ggml.token_type", std::vector<int64_t>{3, 2, 3, 3, 1, 1, 1});
  metadata.set("tokenizer.ggml.bos_token_id", uint64_t{2});
  metadata.set("tokenizer.ggml.seperator_token_id", uint64_t{3});
  metadata.set("tokenizer.ggml.unknown_token_id", uint64_t{1});
  auto tokenizer = test::load(metadata);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(encode(*tokenizer, "Helloing, what"), ElementsAre(2, 4, 5, 6, 1, 3));
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{4, 5, 6}), "helloing,");
  // Today's converters say so of one separator, under the other of its two roles; control tokens need no brackets.
  metadata.set("tokenizer.ggml.tokens",
               std::vector<std::string>{"[PAD]", "[UNK]", "<s>", "</s>", "▁hello", "ing", "▁king"});
  metadata.set("tokenizer.ggml.token_type", std::vector<int64_t>{3, 3, 3, 3, 1, 1, 4});
  metadata.set("tokenizer.ggml.eos_token_id", uint64_t{3});
  for (const bool sep : {false, true}) {
    metadata.set("tokenizer.ggml.add_bos_token", true);
    metadata.set("tokenizer.ggml.add_eos_token", true);
    metadata.set("tokenizer.ggml.add_sep_token", sep);
    tokenizer = test::load(metadata);
    ASSERT_NE(tokenizer, nullptr);
    EXPECT_THAT(encode(*tokenizer, "helloking</s>"), ElementsAre(2, 4, 6, 3, 3)) << sep;
    EXPECT_EQ(tokenizer->token_text(2), "<s>");
  }
}

TEST(Tokenizer, Unigram) {
  Metadata metadata("test.gguf");
  metadata.set("tokenizer.ggml.model", std::string("t5"));
  metadata.set("tokenizer.ggml.tokens", std::vector<std::string>{"<pad>", "</s>", "<unk>", "▁", "▁hi", "h", "i", "ii"});
  metadata.set("tokenizer.ggml.scores", std::vector<double>{0, 0, 0, -2, -1, -3, -3, -4});
  metadata.set("tokenizer.ggml.token_type", std::vector<int64_t>{3, 3, 2, 1, 1, 1, 1, 1});
  metadata.set("tokenizer.ggml.eos_token_id", uint64_t{1});
  metadata.set("tokenizer.ggml.unknown_token_id", uint64_t{2});
  auto tokenizer = test::load(metadata);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(encode(*tokenizer, "hi  hii</s>"), ElementsAre(4, 4, 6, 1, 1));
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{4, 4, 6}), "hi hii");
  // It stands between two texts, not behind one.
  metadata.set("tokenizer.ggml.seperator_token_id", uint64_t{1});
  metadata.set("tokenizer.ggml.add_sep_token", true);
  EXPECT_THAT(encode(*test::load(metadata), "hi"), ElementsAre(4, 1));
  metadata.set("tokenizer.ggml.precompiled_charsmap", std::vector<int64_t>{255, 255, 0, 0, 1});
  EXPECT_THAT(error_of(metadata), HasSubstr("precompiled_charsmap"));
}

TEST(Tokenizer, FolderConfigurationDecides) {
  Checkpoint folder;
  folder.format = CheckpointFormat::kHuggingFace;
  folder.path = "folder";
  folder.side_files.tokenizer_json = R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]},
      "added_tokens":[{"id":3,"content":"<s>","special":true}],"decoder":null,"normalizer":null,"pre_tokenizer":null})";
  folder.side_files.tokenizer_config_json = R"({"add_bos_token":true,"bos_token":"<s>","eos_token":{"content":"</s>"},
      "added_tokens_decoder":{"4":{"content":"</s>","special":true}}})";
  folder.side_files.generation_config_json = R"({"eos_token_id":[4,2]})";
  auto tokenizer = Tokenizer::from_checkpoint(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_THAT(encode(**tokenizer, "ab</s>"), ElementsAre(3, 2, 4));
  EXPECT_THAT((*tokenizer)->end_of_generation(), ElementsAre(2, 4));
  EXPECT_EQ((*tokenizer)->special().eos, 4);
  for (const char* bad : {"{", "[]", R"({"model":{"type":"BPE"}})", R"({"model":{"type":"Nope"}})",
                          R"({"model":{"type":"BPE","vocab":{"a":4294967295},"merges":[]}})",
                          R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"decoder":{"type":"CTC"}})"}) {
    folder.side_files.tokenizer_json = bad;
    EXPECT_FALSE(Tokenizer::from_checkpoint(folder).ok()) << bad;
  }
  folder.side_files.tokenizer_json.clear();
  EXPECT_EQ(Tokenizer::from_checkpoint(folder).error().code, ErrorCode::kNotFound);
  folder.side_files.tokenizer_model = "\x0a\xff";
  EXPECT_FALSE(Tokenizer::from_checkpoint(folder).ok());
}

TEST(Tokenizer, ManyThreadsAtOnce) {
  auto tokenizer = test::load(test::byte_level());
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        auto ids = tokenizer->encode("he he " + std::to_string(i));
        wrong += ids.ok() && tokenizer->decode(*ids) == "he he " + std::to_string(i) ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace kinglet
