// ReasoningSplitter: separates what a model thinks (<think>…</think> and its relatives, Harmony's channels) from what
// it answers, while the text streams. Any split of the text into pieces gives the same result. Works on text, never on
// tokens.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace kinglet {

struct ReasoningMarkers {
  std::string open;   // "<think>"
  std::string close;  // "</think>"
  // What wraps the answer behind the thinking, "<answer>" (Hunyuan); empty where nothing does.
  std::string answer_open = {}, answer_close = {};
  // Harmony (gpt-oss): an answer is a row of messages, each "<|channel|>NAME…<|message|>TEXT<|end|>", the later ones
  // after
  // "<|start|>assistant". Channel `open` holds thinking, the others are for the user; `close` ends a message.
  bool channels = false;
  // Harmony: a message to a tool ("to=functions.NAME" in its header) is a part of the answer with header and end, as a
  // ToolCallParser reads it. Else its text alone is.
  bool keep_recipients = false;

  // Whether a special token of this spelling sets thinking and answer apart, so that it must reach the splitter.
  bool mention(std::string_view special_token) const;
};

struct ReasoningPiece {
  std::string reasoning;
  std::string answer;
};

// The markers that a model's template speaks of, absent when it shows no sign of reasoning.
std::optional<ReasoningMarkers> find_reasoning_markers(std::string_view template_source);

// Whether a rendered prompt ends inside an open thinking block, as templates of always-thinking models leave it.
bool prompt_opens_reasoning(std::string_view prompt, const ReasoningMarkers& markers);

class ReasoningSplitter {
 public:
  // `inside`: the prompt already opened the block (prompt_opens_reasoning).
  explicit ReasoningSplitter(ReasoningMarkers markers, bool inside = false);

  // What became certain with `text`. Text that may be the start of a marker is held back. White space next to the
  // markers (after open, around close) is dropped. Only a block at the very start of the answer is reasoning: a later
  // "<think>" is ordinary text. Messages of channels are set apart by an empty line.
  ReasoningPiece push(std::string_view text);
  // What was held back. An unfinished block stays reasoning.
  ReasoningPiece finish();
  // Whether a block is open.
  bool inside() const { return state_ == State::kReasoning; }

 private:
  enum class State { kStart, kReasoning, kAfterClose, kAnswer };
  bool step(ReasoningPiece* out, bool last);
  bool step_start(ReasoningPiece* out, bool last);
  bool step_header(ReasoningPiece* out, bool last);
  bool step_reasoning(ReasoningPiece* out, bool last);
  bool step_after_close(bool last);
  bool step_answer(ReasoningPiece* out, bool last);

  ReasoningMarkers markers_;
  State state_;
  bool trim_left_;
  bool in_answer_block_ = false;             // behind answer_open, or in a channel's message
  bool to_tool_ = false;                     // channels: in a message to a tool
  bool thought_ = false, answered_ = false;  // channels: something came out before
  std::string held_;
};

}  // namespace kinglet
