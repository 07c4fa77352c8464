#include "engine/rerank.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kinglet {
namespace {

// Words, and what a RoBERTa's or a BERT's tokenizer puts around a text; `kind` is the model's type.
std::shared_ptr<const Tokenizer> words(const std::string& kind) {
  const std::string json = R"({"version":"1.0","added_tokens":[
      {"id":0,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},
      {"id":1,"content":"</s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
      "normalizer":null,"pre_tokenizer":{"type":"Whitespace"},"decoder":null,
      "post_processor":{"type":"TemplateProcessing",
        "single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}},
                  {"SpecialToken":{"id":"</s>","type_id":0}}],
        "pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],
        "special_tokens":{"<s>":{"id":"<s>","ids":[0],"tokens":["<s>"]},"</s>":{"id":"</s>","ids":[1],"tokens":["</s>"]}}},
      "model":{"type":")" + kind +
                           R"(","unk_token":"?","continuing_subword_prefix":"##","max_input_chars_per_word":100,
      "vocab":{"<s>":0,"</s>":1,"?":2,"small":3,"bird":4,"the":5,"tree":6,"sings":7}}})";
  auto tokenizer = Tokenizer::from_json(json);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  return *tokenizer;
}

ModelSpec two_types() {
  ModelSpec spec;
  spec.encoder = {.positions = 16, .position_offset = 0, .token_types = 2, .pooler = true};
  return spec;
}

TEST(Pairs, OfBertHaveTwoTypes) {
  const auto pair = encode_pair({}, two_types(), *words("WordPiece"), "small bird", "the tree sings", {.limit = 16});
  ASSERT_TRUE(pair.ok()) << pair.error().message;
  EXPECT_THAT(pair->tokens, testing::ElementsAre(0, 3, 4, 1, 5, 6, 7, 1));
  EXPECT_THAT(pair->types, testing::ElementsAre(0, 0, 0, 0, 1, 1, 1, 1));
  const auto empty = encode_pair({}, two_types(), *words("WordPiece"), "bird", "", {.limit = 16});
  ASSERT_TRUE(empty.ok());
  EXPECT_THAT(empty->tokens, testing::ElementsAre(0, 4, 1, 1));
  EXPECT_THAT(empty->types, testing::ElementsAre(0, 0, 0, 1));
}

TEST(Pairs, OfRobertaHaveTwoSeparators) {
  const auto pair = encode_pair({}, two_types(), *words("WordLevel"), "small bird", "the tree", {.limit = 16});
  ASSERT_TRUE(pair.ok()) << pair.error().message;
  EXPECT_THAT(pair->tokens, testing::ElementsAre(0, 3, 4, 1, 1, 5, 6, 1));
  EXPECT_TRUE(pair->types.empty());
}

TEST(Pairs, AreCutAtTheDocumentsEndAlone) {
  const auto tokenizer = words("WordPiece");
  const auto refused = encode_pair({}, two_types(), *tokenizer, "small bird", "the tree sings", {.limit = 7});
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, testing::HasSubstr("8 tokens with the query, more than the 7 allowed"));
  const auto cut =
      encode_pair({}, two_types(), *tokenizer, "small bird", "the tree sings", {.limit = 7, .truncate = true});
  ASSERT_TRUE(cut.ok()) << cut.error().message;
  EXPECT_THAT(cut->tokens, testing::ElementsAre(0, 3, 4, 1, 5, 6, 1));
  const auto none = encode_pair({}, two_types(), *tokenizer, "small bird", "the", {.limit = 5, .truncate = true});
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.error().message, testing::HasSubstr("no room"));
}

TEST(EncodeWithin, KeepsWhatStandsAroundAText) {
  const auto tokenizer = words("WordPiece");
  const auto whole = encode_within(*tokenizer, "the small bird sings", 6, false);
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  EXPECT_THAT(*whole, testing::ElementsAre(0, 5, 3, 4, 7, 1));
  const auto refused = encode_within(*tokenizer, "the small bird sings", 5, false);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, testing::HasSubstr("6 tokens, more than the 5 allowed"));
  const auto cut = encode_within(*tokenizer, "the small bird sings", 4, true);
  ASSERT_TRUE(cut.ok()) << cut.error().message;
  EXPECT_THAT(*cut, testing::ElementsAre(0, 5, 3, 1));
  EXPECT_FALSE(encode_within(*tokenizer, "the small bird sings", 2, true).ok());
}

}  // namespace
}  // namespace kinglet
