#include "text/reasoning.h"

#include <gtest/gtest.h>

#include <random>

namespace kinglet {
namespace {

const ReasoningMarkers kThink{"<think>", "</think>"};

const ReasoningMarkers kWrapped{"<think>", "</think>", "<answer>", "</answer>"};  // Hunyuan
const ReasoningMarkers kHarmony = *find_reasoning_markers("'<|channel|>analysis<|message|>' + message.thinking");
const ReasoningMarkers kGemma4 = *find_reasoning_markers("'<|channel>thought\n<channel|>'");

ReasoningPiece split(const std::vector<std::string>& pieces, bool inside = false,
                     const ReasoningMarkers& markers = kThink) {
  ReasoningSplitter splitter(markers, inside);
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

TEST(Reasoning, AnAnswerInItsOwnBlock) {
  ReasoningPiece piece = split({"<think>\nWhy?\n</think>\n<answer>\nBecause.\n</answer>"}, false, kWrapped);
  EXPECT_EQ(piece.reasoning, "Why?");
  EXPECT_EQ(piece.answer, "Because.");
  EXPECT_EQ(split({"<think>a</think>\nno <answer> block"}, false, kWrapped).answer, "no <answer> block");
  EXPECT_EQ(split({"<think>a</think><answer>cut </ans"}, false, kWrapped).answer, "cut </ans");
}

TEST(Reasoning, ChannelsOfHarmony) {
  ReasoningPiece piece =
      split({"<|channel|>analysis<|message|>Why not?<|end|><|start|>assistant<|channel|>final<|message|>"
             "Because."},
            false, kHarmony);
  EXPECT_EQ(piece.reasoning, "Why not?");
  EXPECT_EQ(piece.answer, "Because.");
  // Thinking in two messages, a preamble for the user before the answer.
  piece =
      split({"<|channel|>analysis<|message|>One.<|end|><|start|>assistant<|channel|>analysis<|message|>Two.<|end|>"
             "<|start|>assistant<|channel|>commentary<|message|>Let me see.<|end|><|start|>assistant<|channel|>final"
             "<|message|>Yes."},
            false, kHarmony);
  EXPECT_EQ(piece.reasoning, "One.\n\nTwo.");
  EXPECT_EQ(piece.answer, "Let me see.\n\nYes.");
  EXPECT_EQ(split({"<|channel|>final<|message|>Yes."}, false, kHarmony).answer, "Yes.");
  EXPECT_EQ(split({"Yes, without a header"}, false, kHarmony).answer, "Yes, without a header");
  EXPECT_EQ(split({"<|channel|>analysis<|message|>cut <|en"}, false, kHarmony).reasoning, "cut <|en");
  EXPECT_EQ(split({"<|channel|>" + std::string(2000, 'x') + "<|message|>y"}, false, kHarmony).answer.size(), 2023u);
}

TEST(Reasoning, ChannelOfGemma4) {
  ReasoningPiece piece = split({"<|channel>thought\nWhy not?\n<channel|>Because."}, false, kGemma4);
  EXPECT_EQ(piece.reasoning, "Why not?");
  EXPECT_EQ(piece.answer, "Because.");
  EXPECT_EQ(split({"<|channel>thought\n<channel|>Because."}, false, kGemma4).answer, "Because.");
}

TEST(Reasoning, SpecialTokensThatMatter) {
  for (const char* token : {"<|channel|>", "<|message|>", "<|start|>", "<|end|>"}) EXPECT_TRUE(kHarmony.mention(token));
  for (const char* token : {"<|channel>", "<channel|>"}) EXPECT_TRUE(kGemma4.mention(token));
  EXPECT_TRUE(kWrapped.mention("</answer>"));
  for (const auto& markers : {kThink, kWrapped, kHarmony, kGemma4}) {
    EXPECT_FALSE(markers.mention("<|im_end|>"));
    EXPECT_FALSE(markers.mention(""));
  }
}

TEST(Reasoning, EverySplitGivesTheSame) {
  const std::vector<std::string> parts{"<think>", "</think>", "<thi", "nk>", "</",       " ",         "\n\n",
                                       "a",       "<",        ">",    "é",   "<answer>", "</answer>", "answer"};
  const std::vector<std::string> channels{"<|channel|>",
                                          "analysis",
                                          "final",
                                          "<|message|>",
                                          "<|end|>",
                                          "<|start|>assistant",
                                          "<|",
                                          " ",
                                          "\n",
                                          "b",
                                          "<|channel|>analysis<|message|>",
                                          "<|end|><|start|>assistant<|channel|>final<|message|>"};
  std::mt19937 random(5);
  for (int round = 0; round < 9000; ++round) {
    const ReasoningMarkers& markers = round % 3 == 0 ? kThink : round % 3 == 1 ? kWrapped : kHarmony;
    const std::vector<std::string>& of = markers.channels ? channels : parts;
    std::string text = random() % 2 == 0 ? of.front() : "";
    for (auto n = random() % 9; n > 0; --n) text += of[random() % of.size()];
    bool inside = random() % 3 == 0 && !markers.channels;
    std::vector<std::string> pieces;
    for (size_t at = 0; at < text.size();) {
      size_t size = 1 + random() % 5;
      pieces.push_back(text.substr(at, size));
      at += size;
    }
    ReasoningPiece whole = split({text}, inside, markers);
    ReasoningPiece cut = split(pieces, inside, markers);
    EXPECT_EQ(whole.reasoning, cut.reasoning) << text;
    EXPECT_EQ(whole.answer, cut.answer) << text;
  }
}

TEST(Reasoning, FindsMarkersInTemplates) {
  EXPECT_EQ(find_reasoning_markers("{{ content.split('</think>')[-1] }}")->open, "<think>");
  EXPECT_EQ(find_reasoning_markers("[THINK]x[/THINK]")->close, "[/THINK]");
  EXPECT_EQ(find_reasoning_markers("'</mm:think>'")->open, "<mm:think>");
  EXPECT_EQ(find_reasoning_markers("'</think{}>'.format(HYTK)")->close, "</think:opensource>");
  EXPECT_EQ(find_reasoning_markers("'</think>' in c or '</answer>' in c")->answer_close, "</answer>");
  EXPECT_FALSE(find_reasoning_markers("{{ message.content }}").has_value());
  EXPECT_TRUE(prompt_opens_reasoning("<|assistant|><think>\n", kThink));
  EXPECT_FALSE(prompt_opens_reasoning("<|assistant|><think>\n\n</think>\n", kThink));
  EXPECT_FALSE(prompt_opens_reasoning("", kThink));
}

}  // namespace
}  // namespace kinglet
