#include "text/grammar.h"

#include <gtest/gtest.h>

#include <random>

#include "text/test_vocabularies.h"

namespace kinglet {
namespace {

bool allows(std::span<const uint32_t> mask, int32_t id) {
  return (mask[static_cast<size_t>(id) / 32] >> (id % 32) & 1) != 0;
}

// What the grammar says about a whole text: fed by the bytes of the byte-level vocabulary.
bool accepts(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  GrammarState state(grammar);
  for (char c : text) {
    auto mask = state.mask();
    if (!mask.ok() || !allows(*mask, static_cast<unsigned char>(c))) return false;
    if (!state.commit(static_cast<unsigned char>(c)).ok()) return false;
  }
  return state.is_complete();
}

std::shared_ptr<const Grammar> compiled(Result<std::shared_ptr<const Grammar>> result) {
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
  return result.ok() ? *result : nullptr;
}

TEST(Grammar, JsonSchema) {
  auto tokenizer = test::load(test::byte_level());
  auto grammar = compiled(Grammar::from_json_schema(
      tokenizer, R"({"type":"object","properties":{"n":{"type":"integer"},"s":{"enum":["a","b"]}},"required":["n"],
                     "additionalProperties":false})"));
  ASSERT_NE(grammar, nullptr);
  EXPECT_TRUE(accepts(grammar, R"({"n": 12, "s": "b"})"));
  EXPECT_TRUE(accepts(grammar, R"({"n": -3})"));
  EXPECT_FALSE(accepts(grammar, R"({"s": "b"})"));
  EXPECT_FALSE(accepts(grammar, R"({"n": 1.5})"));
  EXPECT_FALSE(accepts(grammar, R"({"n": 1)"));
}

TEST(Grammar, RegexAndLark) {
  auto tokenizer = test::load(test::byte_level());
  auto regex = compiled(Grammar::from_regex(tokenizer, "(he){2,3}!"));
  EXPECT_TRUE(accepts(regex, "hehe!"));
  EXPECT_FALSE(accepts(regex, "he!"));
  auto lark = compiled(Grammar::from_lark(tokenizer, "start: \"a\" start \"b\" | \"c\""));
  EXPECT_TRUE(accepts(lark, "aacbb"));
  EXPECT_FALSE(accepts(lark, "aacb"));
}

TEST(Grammar, EndsWithAnEndOfGenerationToken) {
  auto tokenizer = test::load(test::byte_level());
  auto grammar = compiled(Grammar::from_regex(tokenizer, "he( he)*"));
  GrammarState state(grammar);
  EXPECT_FALSE(allows(*state.mask(), 258));
  EXPECT_FALSE(state.commit(258).ok());
  EXPECT_FALSE(state.commit(257).ok());
  EXPECT_TRUE(state.commit(256).ok());  // "he", one token
  EXPECT_TRUE(state.is_complete());
  EXPECT_FALSE(state.is_finished());
  EXPECT_TRUE(allows(*state.mask(), 258));
  EXPECT_TRUE(allows(*state.mask(), 257));
  EXPECT_FALSE(allows(*state.mask(), 256));
  EXPECT_FALSE(allows(*state.mask(), 259));
  GrammarState copy = state.clone();
  EXPECT_TRUE(state.commit(258).ok());
  EXPECT_TRUE(state.is_finished());
  EXPECT_FALSE(copy.is_finished());
  EXPECT_TRUE(copy.commit(257).ok());
}

TEST(Grammar, RandomWalksStayInsideTheGrammar) {
  auto tokenizer = test::load(test::byte_level());
  auto grammar =
      compiled(Grammar::from_json_schema(tokenizer, R"({"type":"array","items":{"type":"boolean"},"maxItems":3})"));
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    GrammarState state(grammar);
    std::vector<int32_t> ids;
    while (!state.is_finished() && ids.size() < 200) {
      auto mask = state.mask();
      ASSERT_TRUE(mask.ok());
      std::vector<int32_t> allowed;
      for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
        if (allows(*mask, id)) allowed.push_back(id);
      }
      ASSERT_FALSE(allowed.empty());
      // White space may go on for ever.
      std::erase_if(allowed, [&](int32_t id) { return allowed.size() > 4 && tokenizer->token_bytes(id) <= " "; });
      ids.push_back(allowed[random() % allowed.size()]);
      ASSERT_TRUE(state.commit(ids.back()).ok());
    }
    if (state.is_finished()) {
      EXPECT_EQ(tokenizer->decode(ids).find_first_not_of(" \t\r\n[],truefalse"), std::string::npos);
    }
  }
}

TEST(Grammar, BadGrammarsAreErrors) {
  auto tokenizer = test::load(test::byte_level());
  EXPECT_FALSE(Grammar::from_json_schema(tokenizer, "{").ok());
  EXPECT_FALSE(Grammar::from_json_schema(tokenizer, R"({"type":"nonsense"})").ok());
  EXPECT_FALSE(Grammar::from_regex(tokenizer, "(").ok());
  EXPECT_FALSE(Grammar::from_lark(tokenizer, "start: missing").ok());
  EXPECT_FALSE(Grammar::from_json_schema(tokenizer, std::string(100'000, '[')).ok());
  EXPECT_FALSE(Grammar::from_regex(tokenizer, std::string(10'000, '(') + std::string(10'000, ')')).ok() &&
               Grammar::from_regex(tokenizer, "((((a{1000}){1000}){1000}){1000})").ok());
}

}  // namespace
}  // namespace kinglet
