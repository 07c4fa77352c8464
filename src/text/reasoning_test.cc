#include "text/reasoning.h"

#include <gtest/gtest.h>

#include <random>

namespace kinglet {
namespace {

const ReasoningMarkers kThink{"<think>", "</think>"};

ReasoningPiece split(const std::vector<std::string>& pieces, bool inside = false) {
  ReasoningSplitter splitter(kThink, inside);
  ReasoningPiece all;
  auto add = [&](const ReasoningPiece& piece) {
    all.reasoning += piece.reasoning;
    all.answer += piece.answer;
  };
  for (const std::string& piece : pieces) add(splitter.push(piece));
  add(splitter.finish());
  return all;
}

TEST(Reasoning, SeparatesThoughtFromAnswer) {
  ReasoningPiece piece = split({"<think>\nWhy not?\n</think>\n\nBecause."});
  EXPECT_EQ(piece.reasoning, "Why not?");
  EXPECT_EQ(piece.answer, "Because.");
}

TEST(Reasoning, OpenedByThePrompt) {
  ReasoningPiece piece = split({"Why not?</think>Because."}, true);
  EXPECT_EQ(piece.reasoning, "Why not?");
  EXPECT_EQ(piece.answer, "Because.");
}

TEST(Reasoning, AnAnswerWithoutABlockKeepsItsSpaces) {
  EXPECT_EQ(split({"  \n<thin", " ice"}).answer, "  \n<thin ice");
}

TEST(Reasoning, EmptyBlock) {
  ReasoningPiece piece = split({"<think>\n\n</think>\n\nYes"});
  EXPECT_EQ(piece.reasoning, "");
  EXPECT_EQ(piece.answer, "Yes");
}

TEST(Reasoning, AnUnfinishedBlockStaysReasoning) {
  EXPECT_EQ(split({"<think>I wonder </thi"}).reasoning, "I wonder </thi");
  EXPECT_EQ(split({"<think>I wonder </thi"}).answer, "");
}

TEST(Reasoning, ALaterMarkerIsText) {
  EXPECT_EQ(split({"Use <think> and </think> tags"}).answer, "Use <think> and </think> tags");
  EXPECT_EQ(split({"<think>a</think>b <think>c</think>"}).answer, "b <think>c</think>");
}

TEST(Reasoning, StreamsWhatIsCertain) {
  ReasoningSplitter splitter(kThink);
  EXPECT_EQ(splitter.push("<think>one two").reasoning, "one two");
  EXPECT_EQ(splitter.push(" three</").reasoning, " three");
  EXPECT_EQ(splitter.push("think>four").answer, "four");
}

TEST(Reasoning, EverySplitGivesTheSame) {
  const std::vector<std::string> parts{"<think>", "</think>", "<thi",   "nk>", "</", " ",
                                       "\n\n",    "a",        "answer", "<",   ">",  "é"};
  std::mt19937 random(5);
  for (int round = 0; round < 3000; ++round) {
    std::string text = random() % 2 == 0 ? "<think>" : "";
    for (auto n = random() % 9; n > 0; --n) text += parts[random() % parts.size()];
    bool inside = random() % 3 == 0;
    std::vector<std::string> pieces;
    for (size_t at = 0; at < text.size();) {
      size_t size = 1 + random() % 5;
      pieces.push_back(text.substr(at, size));
      at += size;
    }
    ReasoningPiece whole = split({text}, inside);
    ReasoningPiece cut = split(pieces, inside);
    EXPECT_EQ(whole.reasoning, cut.reasoning) << text;
    EXPECT_EQ(whole.answer, cut.answer) << text;
  }
}

TEST(Reasoning, FindsMarkersInTemplates) {
  EXPECT_EQ(find_reasoning_markers("{{ content.split('</think>')[-1] }}")->open, "<think>");
  EXPECT_EQ(find_reasoning_markers("[THINK]x[/THINK]")->close, "[/THINK]");
  EXPECT_FALSE(find_reasoning_markers("{{ message.content }}").has_value());
  EXPECT_TRUE(prompt_opens_reasoning("<|assistant|><think>\n", kThink));
  EXPECT_FALSE(prompt_opens_reasoning("<|assistant|><think>\n\n</think>\n", kThink));
  EXPECT_FALSE(prompt_opens_reasoning("", kThink));
}

}  // namespace
}  // namespace kinglet
