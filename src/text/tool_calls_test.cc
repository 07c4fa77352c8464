#include "text/tool_calls.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "text/json_scanner.h"
#include "text/reasoning.h"
#include "text/tool_call_corpus.h"
#include "text/tool_call_readers.h"

namespace kinglet {
namespace {

using Kind = ToolCallPiece::Kind;
using test::Example;

std::vector<ToolCallPiece> merged(const std::vector<ToolCallPiece>& pieces) {
  std::vector<ToolCallPiece> all;
  for (const ToolCallPiece& piece : pieces) {
    const bool content = piece.kind == Kind::kText || piece.kind == Kind::kArguments;
    if (content && !all.empty() && all.back().kind == piece.kind && all.back().call == piece.call) {
      all.back().text += piece.text;
    } else {
      all.push_back(piece);
    }
  }
  return all;
}

// The pieces of a text that comes cut at `cuts` (sorted).
std::vector<ToolCallPiece> pieces_of(const ToolCallFormat& format, std::string_view text,
                                     const std::vector<size_t>& cuts = {}) {
  ToolCallParser parser(format, test::tools());
  std::vector<ToolCallPiece> all;
  auto add = [&](const std::vector<ToolCallPiece>& pieces) { all.insert(all.end(), pieces.begin(), pieces.end()); };
  size_t begin = 0;
  for (size_t cut : cuts) {
    add(parser.push(text.substr(begin, cut - begin)));
    begin = cut;
  }
  add(parser.push(text.substr(begin)));
  add(parser.finish());
  return merged(all);
}

ParsedAnswer parse(const ToolCallFormat& format, std::string_view text) {
  ToolCallCollector collector;
  collector.add(pieces_of(format, text));
  return collector.take();
}

ToolCallFormat format_named(std::string_view name) {
  for (const ToolCallFormat& format : tool_call_formats()) {
    if (format.name == name) return format;
  }
  ADD_FAILURE() << "no format " << name;
  return {};
}

ParsedAnswer parse(std::string_view format, std::string_view text) {
  return parse(format_named(format), text);
}

std::string shown(const ParsedAnswer& answer) {
  std::string out = answer.text;
  for (const ToolCall& call : answer.calls) {
    out += "|" + call.name + (call.id.empty() ? "" : "#" + call.id) + call.arguments;
  }
  return out;
}

TEST(ToolCalls, EveryFormat) {
  for (const Example& example : test::examples()) {
    EXPECT_EQ(shown(parse(example.format, example.text)), example.shown) << example.format << ": " << example.text;
  }
  for (const ToolCallFormat& format : tool_call_formats()) {
    EXPECT_TRUE(std::ranges::any_of(test::examples(), [&](const Example& e) { return e.format == format.name; }))
        << format.name << " has no example";
  }
}

TEST(ToolCalls, AnySplitGivesTheSame) {
  std::mt19937 random(1);
  for (const Example& example : test::examples()) {
    const ToolCallFormat format = format_named(example.format);
    // The text itself, and cut short, and with a byte that does not belong there.
    for (int variant = 0; variant < 12; ++variant) {
      std::string text(example.text);
      if (variant >= 4) text.resize(random() % (text.size() + 1));
      if (variant >= 8 && !text.empty()) text[random() % text.size()] = "{}[]<>\"'\\:, a\n"[random() % 14];
      const auto whole = pieces_of(format, text);
      std::vector<size_t> every(text.size());
      for (size_t i = 0; i < every.size(); ++i) every[i] = i;
      EXPECT_EQ(pieces_of(format, text, every), whole) << example.format << ": " << text;
      for (int round = 0; round < 4; ++round) {
        std::vector<size_t> cuts;
        for (size_t at = 0; at < text.size(); at += 1 + random() % 17) cuts.push_back(at);
        EXPECT_EQ(pieces_of(format, text, cuts), whole) << example.format << ": " << text;
      }
    }
  }
}

std::string without_space(std::string_view text) {
  std::string out;
  std::ranges::copy_if(text, std::back_inserter(out), [](char c) { return !is_space(c); });
  return out;
}

// Whatever comes, arguments of complete calls are JSON objects, events are in order, and a text in which no call is
// complete comes back byte by byte.
TEST(ToolCalls, MangledCallsComeBackAsText) {
  std::mt19937 random(2);
  int broken = 0, none = 0;
  for (int round = 0; round < 3000; ++round) {
    const Example& example = test::examples()[random() % test::examples().size()];
    std::string text(example.text);
    for (int edits = 1 + static_cast<int>(random() % 3); edits > 0 && !text.empty(); --edits) {
      const size_t at = random() % text.size();
      if (random() % 2 == 0) {
        text.erase(at, 1 + random() % 12);
      } else {
        text.insert(at, std::string_view("{}[]<>\"'\\:,\n").substr(random() % 12, 1));
      }
    }
    const auto pieces = pieces_of(format_named(example.format), text);
    std::string back, arguments;
    int64_t open = -1, next = 0;
    for (const ToolCallPiece& piece : pieces) {
      if (piece.kind == Kind::kText) {
        EXPECT_EQ(open, -1);
        back += piece.text;
        continue;
      }
      if (piece.kind == Kind::kBegin) {
        EXPECT_EQ(open, -1);
        EXPECT_EQ(piece.call, next++);
        EXPECT_TRUE(is_tool_name(piece.text)) << piece.text;
        open = piece.call;
        arguments.clear();
        continue;
      }
      EXPECT_EQ(piece.call, open);
      if (piece.kind == Kind::kArguments) arguments += piece.text;
      if (piece.kind == Kind::kEnd) {
        const auto json = as_json(arguments);
        EXPECT_TRUE(json && json->starts_with('{')) << arguments;
      }
      if (piece.kind == Kind::kBroken) ++broken;
      if (piece.kind != Kind::kArguments) open = -1;
    }
    EXPECT_EQ(open, -1);
    if (std::ranges::none_of(pieces, [](const auto& piece) { return piece.kind == Kind::kEnd; })) {
      EXPECT_EQ(back, text) << example.format;
      ++none;
    } else {
      EXPECT_LE(without_space(back).size(), without_space(text).size());
    }
  }
  EXPECT_GT(broken, 150);
  EXPECT_GT(none, 500);
}

TEST(ToolCalls, ABrokenCallIsTakenBack) {
  const auto pieces = pieces_of(format_named("hermes"), "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": oops}}");
  ASSERT_EQ(pieces.size(), 4u);
  EXPECT_EQ(pieces[0], (ToolCallPiece{Kind::kBegin, 0, "f"}));
  EXPECT_EQ(pieces[1], (ToolCallPiece{Kind::kArguments, 0, "{\"a\": "}));
  EXPECT_EQ(pieces[2], (ToolCallPiece{Kind::kBroken, 0}));
  EXPECT_EQ(pieces[3], (ToolCallPiece{Kind::kText, -1, "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": oops}}"}));
}

TEST(ToolCalls, ArgumentsStreamBeforeTheCallEnds) {
  struct Case {
    const char *format, *text, *arguments;
  };
  for (const Case& one :
       {Case{"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"long te", "{\"a\": \"long te"},
        Case{"qwen3_coder", "<function=write><parameter=text>\nlong te", "{\"text\": \"long te"},
        Case{"pythonic", "[write(text='long te", "{\"text\": \"long te"},
        Case{"gemma4", "<|tool_call>call:f{a:<|\"|>long te", "{\"a\": \"long te"},
        Case{"kimi_k2", "<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{\"a\"", "{\"a\""}}) {
    ToolCallParser parser(format_named(one.format), test::tools());
    std::string arguments;
    for (const ToolCallPiece& piece : parser.push(one.text)) {
      if (piece.kind == Kind::kArguments) arguments += piece.text;
    }
    EXPECT_EQ(arguments, one.arguments) << one.format;
  }
}

TEST(ToolCalls, PlainTextIsNotHeldBack) {
  ToolCallParser parser(format_named("hermes"), test::tools());
  EXPECT_EQ(parser.push("Hello <b"), (std::vector<ToolCallPiece>{{Kind::kText, -1, "Hello <b"}}));
  EXPECT_EQ(parser.push("old> {"), (std::vector<ToolCallPiece>{{Kind::kText, -1, "old> {"}}));
  EXPECT_EQ(parser.calls(), 0);
}

TEST(ToolCalls, AnotherJsonAnswerIsNoCall) {
  // Llama's calls have no marker: JSON that is no call of a known tool comes through as soon as that shows.
  ToolCallParser parser(format_named("llama_json"), test::tools());
  EXPECT_EQ(parser.push("{\"answer\""), (std::vector<ToolCallPiece>{{Kind::kText, -1, "{\"answer\""}}));
  for (const char* text :
       {"{\"name\": \"nobody\", \"parameters\": {}}", "[1, 2]", "[unknown(a=1)]", "{}", "[]", "{\"name\""}) {
    EXPECT_EQ(shown(parse("llama_json", text)), text);
    EXPECT_EQ(shown(parse("pythonic", text)), text);
  }
}

TEST(ToolCalls, BoundsHold) {
  const std::string deep = "<tool_call>{\"name\": \"f\", \"arguments\": " + std::string(100000, '[') + "{";
  EXPECT_EQ(shown(parse("hermes", deep)), deep);
  std::string nested = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": ";
  for (int i = 0; i < 1000; ++i) nested += "{\"a\": ";
  EXPECT_EQ(shown(parse("hermes", nested)), nested);
  const std::string name = "<tool_call><function=" + std::string(1000000, 'n') + ">";
  EXPECT_EQ(shown(parse("qwen3_coder", name)), name);
  const std::string spaces = std::string(20000, ' ') + "x";
  EXPECT_EQ(shown(parse("hermes", spaces)), spaces);
  // Openings inside an unending argument: each byte is read a bounded number of times.
  std::string openings;
  while (openings.size() < 300000) openings += "<function=f><parameter=a>";
  EXPECT_EQ(shown(parse("qwen3_coder", openings)), openings);
}

TEST(ToolCalls, WorksBehindTheReasoningSplitter) {
  auto run = [](ReasoningMarkers markers, bool inside, std::string_view format, std::string_view text) {
    std::string first;
    for (size_t step : {size_t{1}, size_t{7}, text.size()}) {
      ReasoningSplitter splitter(markers, inside);
      ToolCallParser parser(format_named(format), test::tools());
      ToolCallCollector collector;
      std::string reasoning;
      for (size_t at = 0; at < text.size(); at += step) {
        const ReasoningPiece piece = splitter.push(text.substr(at, step));
        reasoning += piece.reasoning;
        collector.add(parser.push(piece.answer));
      }
      const ReasoningPiece piece = splitter.finish();
      collector.add(parser.push(piece.answer));
      collector.add(parser.finish());
      const std::string all = reasoning + piece.reasoning + "/" + shown(collector.take());
      if (first.empty()) first = all;
      EXPECT_EQ(all, first) << step;
    }
    return first;
  };
  EXPECT_EQ(
      run({"<think>", "</think>"}, true, "hermes",
          "Maybe <tool_call>?\n</think>\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>"),
      "Maybe <tool_call>?/|f{\"a\": 1}");
  ReasoningMarkers harmony{"analysis", "<|end|>", "", "", true};
  harmony.keep_recipients = true;
  EXPECT_EQ(run(harmony, false, "harmony",
                "<|channel|>analysis<|message|>Look it up.<|end|><|start|>assistant<|channel|>commentary<|message|>One "
                "moment.<|end|><|start|>assistant<|channel|>commentary to=functions.f "
                "<|constrain|>json<|message|>{\"a\": \"<|end\"}"),
            "Look it up./One moment.|f{\"a\": \"<|end\"}");
  EXPECT_EQ(run(harmony, false, "harmony", " to=functions.f<|channel|>commentary json<|message|>{}"), "/|f{}");
  EXPECT_EQ(run(harmony, false, "harmony",
                "<|start|>assistant to=functions.f<|channel|>commentary json<|message|>{}<|end|><|start|>assistant"
                "<|channel|>commentary to=functions.write<|message|>{\"text\": \"x\"}<|end|><|start|>assistant"
                "<|channel|>final<|message|>Done."),
            "/Done.|f{}|write{\"text\": \"x\"}");
}

TEST(ToolCalls, SpecialTokensOfTheFormatAreMentioned) {
  EXPECT_TRUE(format_named("kimi_k2").mention("<|tool_call_argument_begin|>"));
  EXPECT_TRUE(format_named("deepseek_v3").mention("<｜tool▁sep｜>"));
  EXPECT_TRUE(format_named("deepseek_v3.2").mention("｜DSML｜"));
  EXPECT_TRUE(format_named("gemma4").mention("<|\"|>"));
  EXPECT_TRUE(format_named("harmony").mention("<|constrain|>"));
  EXPECT_TRUE(format_named("mistral_ids").mention("[CALL_ID]"));
  EXPECT_FALSE(format_named("hermes").mention("<|im_end|>"));
  EXPECT_FALSE(format_named("hermes").mention(""));
}

TEST(ToolCalls, FormatsAreSound) {
  for (const ToolCallFormat& format : tool_call_formats()) {
    std::vector<std::string_view> openings = format.section_open;
    openings.insert(openings.end(), format.call_open.begin(), format.call_open.end());
    EXPECT_TRUE(!openings.empty() || format.at_start) << format.name;
    for (std::string_view one : openings) {
      EXPECT_FALSE(one.empty()) << format.name;
      EXPECT_FALSE(is_space(one.front())) << format.name;
      for (std::string_view other : openings) EXPECT_TRUE(one == other || !other.starts_with(one)) << format.name;
    }
  }
}

TEST(JsonScanner, AgreesWithTheGrammar) {
  for (const char* good : {"{}", "[]", "[1, -0.5e+3, 0, 1E9, true, false, null, \"\\u00e9\\n\"]",
                           "{\"a\":{\"b\":[{}]}}", " {} ", "\"x\"", "12", "-1", "true"}) {
    EXPECT_TRUE(as_json(good)) << good;
  }
  for (const char* bad : {"",     "{",    "[1,]", "{\"a\":}", "{\"a\" 1}", "{a:1}",         "[01]",          "[1.]",
                          "[.5]", "[+1]", "[1e]", "[tru]",    "[truee]",   "[\"\\x\"]",     "[\"\\u12g4\"]", "{}{}",
                          "[1}",  "nul",  "1 2",  "[NaN]",    "{,}",       "\xEF\xBB\xBF{}"}) {
    EXPECT_FALSE(as_json(bad)) << bad;
  }
  EXPECT_EQ(as_json("[\"a\nb\x01\"]"), "[\"a\\nb\\u0001\"]");
  EXPECT_TRUE(as_json(std::string(64, '[') + std::string(64, ']')));
  EXPECT_FALSE(as_json(std::string(65, '[') + std::string(65, ']')));
}

}  // namespace
}  // namespace kinglet
