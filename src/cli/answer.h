// One answer, streamed: submits a request, prints text as it comes, obeys Ctrl-C, separates thinking from answer.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "cli/conversation.h"
#include "engine/engine.h"

namespace kinglet::cli {

struct AnswerOptions {
  SamplingParams sampling;
  int64_t max_tokens = -1;
  std::vector<std::string> stop;
  std::shared_ptr<const Grammar> grammar;
  bool hide_thinking = false;
  bool print = true;  // false: only collect (for --json)
};

struct Answer {
  std::string text, reasoning;
  FinishInfo finish;
  bool pipe_closed = false;  // nobody reads standard output any more
};

// Errors are those of submitting; what goes wrong later is in Answer::finish.
Result<Answer> stream_answer(Engine& engine, const Conversation& conversation, Prompt prompt,
                             const AnswerOptions& options);

// What there is to say about an answer that --max-tokens or the context ended.
std::optional<std::string> length_note(const Answer& answer, const AnswerOptions& options);

// "prompt 12 tokens, 340.1 tokens/s; answer 80 tokens, 95.2 tokens/s; first token after 0.04 s", and what became of
// drafts.
std::string speed_text(const RequestStats& stats);

}  // namespace kinglet::cli
