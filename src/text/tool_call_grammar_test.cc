#include "text/tool_call_grammar.h"

#include <gtest/gtest.h>

#include <random>

#include "text/grammar.h"
#include "text/test_vocabularies.h"
#include "text/tool_call_readers.h"

namespace kinglet {
namespace {

using Kind = ToolCallPiece::Kind;

const std::vector<Tool> kTools{
    {"f", R"({"type": "object", "properties": {"s": {"type": "string", "maxLength": 6}, "n": {"type": "integer",
              "minimum": 0, "maximum": 99}, "k": {"enum": ["one", "two"]}, "b": {"type": "boolean"},
              "l": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
              "o": {"type": "object", "properties": {"x": {"type": "null"}, "y": {"type": "string", "enum": ["q"]}},
              "required": ["x"], "additionalProperties": false}},
              "required": ["n", "k"], "additionalProperties": false})"},
    {"now", ""}};

// Bytes alone, and the markers of the formats as special tokens where `special`.
std::shared_ptr<const Tokenizer> vocabulary(bool special) {
  Metadata metadata = test::byte_level();
  std::vector<std::string> tokens;
  std::vector<int64_t> types(256, 1);
  for (unsigned byte = 0; byte < 256; ++byte) tokens.push_back(test::byte_spelling(byte));
  for (const char* token : {"he", "Ġhe", "<|end|>", "<tool>"}) tokens.emplace_back(token);
  types.insert(types.end(), {1, 1, 3, 4});
  if (special) {
    for (const char* token : {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>", "<|\"|>", "<|tool_call>",
                              "<tool_call|>", "｜DSML｜", "<｜tool▁sep｜>", "<arg_key>", "</arg_value>", "[ARGS]"}) {
      tokens.emplace_back(token);
      types.push_back(3);
    }
  }
  metadata.set("tokenizer.ggml.tokens", tokens);
  metadata.set("tokenizer.ggml.token_type", types);
  return test::load(std::move(metadata));
}

bool allows(std::span<const uint32_t> mask, int32_t id) {
  return (mask[static_cast<size_t>(id) / 32] >> (id % 32) & 1) != 0;
}

bool matches(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  GrammarState state(grammar);
  for (char c : text) {
    if (!state.mask().ok() || !state.commit(static_cast<unsigned char>(c)).ok()) return false;
  }
  return state.is_complete();
}

// A random sentence of the grammar: printable bytes and special tokens, ending as soon as it may after `enough` tokens.
std::string walk(const std::shared_ptr<const Grammar>& grammar, const Tokenizer& tokenizer, std::mt19937& random,
                 bool* complete) {
  GrammarState state(grammar);
  std::string text;
  *complete = false;
  for (int step = 0; step < 3000; ++step) {
    if (state.is_finished() || (state.is_complete() && random() % 3 == 0)) break;
    auto mask = state.mask();
    if (!mask.ok()) break;
    std::vector<int32_t> open, printable;
    for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
      if (!allows(*mask, id) || tokenizer.is_end_of_generation(id)) continue;
      open.push_back(id);
      if (id == '\n' || (id >= 0x20 && id < 0x7f) || id >= 256) printable.push_back(id);
    }
    if (!printable.empty()) open = printable;  // else the bytes of a marker
    if (open.empty()) break;
    // Free text would go on for ever: what closes it is preferred.
    int32_t id = open[random() % open.size()];
    if (open.size() > 20 && random() % 2 == 0) {
      for (int32_t one : open) {
        if (one == '<' || one == '"' || one >= 260) id = one;
      }
    }
    if (!state.commit(id).ok()) break;
    text += std::string(tokenizer.token_bytes(id));
  }
  *complete = state.is_complete();
  return text;
}

TEST(ToolCallGrammar, SentencesAreCallsOfEveryFormat) {
  std::mt19937 random(3);
  for (bool special : {false, true}) {
    auto tokenizer = vocabulary(special);
    ASSERT_NE(tokenizer, nullptr);
    auto schema = Grammar::from_json_schema(tokenizer, kTools[0].parameters);
    ASSERT_TRUE(schema.ok());
    for (const ToolCallFormat& format : tool_call_formats()) {
      auto source = tool_call_grammar(format, kTools, *tokenizer);
      ASSERT_TRUE(source.ok()) << format.name << ": " << source.error().message;
      auto grammar = Grammar::from_lark(tokenizer, *source);
      ASSERT_TRUE(grammar.ok()) << format.name << ": " << grammar.error().message << "\n" << *source;
      int good = 0;
      for (int round = 0; round < 6; ++round) {
        bool complete = false;
        const std::string text = walk(*grammar, *tokenizer, random, &complete);
        if (!complete) continue;  // cut
        ++good;
        ToolCallCollector collector;
        ToolCallParser parser(format, kTools);
        collector.add(parser.push(text));
        collector.add(parser.finish());
        const ParsedAnswer answer = collector.take();
        EXPECT_TRUE(answer.text.empty() || format.name == "harmony") << format.name << ": " << text;
        ASSERT_FALSE(answer.calls.empty()) << format.name << ": " << text;
        for (const ToolCall& call : answer.calls) {
          if (call.name == "now") continue;
          ASSERT_EQ(call.name, "f") << text;
          // The schema's own grammar judges the arguments, apart from what bare strings may break.
          const bool bare = format.body == ToolCallFormat::Body::kTags || !format.string_mark.empty();
          EXPECT_TRUE(bare || matches(*schema, call.arguments)) << format.name << ": " << call.arguments;
          EXPECT_NE(call.arguments.find("\"n\""), std::string::npos) << call.arguments;
          EXPECT_NE(call.arguments.find("\"k\""), std::string::npos) << call.arguments;
        }
      }
      EXPECT_GT(good, 0) << format.name << "\n" << *source;
    }
  }
}

TEST(ToolCallGrammar, RefusesWhatItCannotWrite) {
  auto tokenizer = vocabulary(false);
  const ToolCallFormat& format = tool_call_formats().front();
  EXPECT_FALSE(tool_call_grammar(format, {}, *tokenizer).ok());
  for (const Tool& tool : {Tool{"a b", ""}, Tool{"", ""}, Tool{"f", "{"}, Tool{"f", "[]"},
                           Tool{"f", "{\"a\": " + std::string(500, '[')}}) {
    auto source = tool_call_grammar(format, {tool}, *tokenizer);
    ASSERT_FALSE(source.ok()) << tool.name << tool.parameters;
    EXPECT_NE(source.error().message.find("tool " + tool.name), std::string::npos) << source.error().message;
  }
}

TEST(ToolCallGrammar, TextMayStandInstead) {
  for (bool special : {false, true}) {
    auto tokenizer = vocabulary(special);
    for (const ToolCallFormat& format : tool_call_formats()) {
      auto source = tool_call_grammar(format, {{"now", ""}}, *tokenizer, {.text_instead = true});
      ASSERT_TRUE(source.ok());
      auto grammar = Grammar::from_lark(tokenizer, *source);
      ASSERT_TRUE(grammar.ok()) << format.name << ": " << grammar.error().message << "\n" << *source;
      EXPECT_TRUE(matches(*grammar, "Hello <there>.\n")) << format.name << "\n" << *source;
      EXPECT_TRUE(matches(*grammar, "")) << format.name;
    }
    const ToolCallFormat& hermes = tool_call_formats().front();
    auto grammar =
        Grammar::from_lark(tokenizer, *tool_call_grammar(hermes, {{"now", ""}}, *tokenizer, {.text_instead = true}));
    ASSERT_TRUE(grammar.ok());
    const std::string call = "Hm.\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
    EXPECT_TRUE(matches(*grammar, call));
    EXPECT_FALSE(matches(*grammar, "Hm.\n<tool_call>\n{\"name\": \"then\""));
  }
}

TEST(ToolCallGrammar, OneCallOnlyWhereMoreAreNotWanted) {
  auto tokenizer = vocabulary(false);
  const ToolCallFormat& hermes = tool_call_formats().front();
  const std::string call = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
  for (bool parallel : {false, true}) {
    auto source = tool_call_grammar(hermes, {{"now", ""}}, *tokenizer, {.parallel = parallel});
    ASSERT_TRUE(source.ok());
    auto grammar = Grammar::from_lark(tokenizer, *source);
    ASSERT_TRUE(grammar.ok()) << grammar.error().message;
    EXPECT_TRUE(matches(*grammar, call));
    EXPECT_EQ(matches(*grammar, call + "\n" + call), parallel);
    EXPECT_FALSE(matches(*grammar, "Hello"));
  }
}

}  // namespace
}  // namespace kinglet
