#include "cli/answer.h"

#include <fmt/format.h>

#include "cli/terminal.h"

namespace kinglet::cli {
namespace {

// Prints the two kinds of text, thinking dimmed on a terminal and set off by <think> and </think>, whatever the model's
// own markers are.
class Printer {
 public:
  explicit Printer(const AnswerOptions& options) : options_(options) {}

  bool put(const Event& event) {
    if (!options_.print) return true;
    bool alive = true;
    if (!event.reasoning.empty() && !options_.hide_thinking) {
      if (!thinking_) alive = write_out(fmt::format("{}<think>\n", style_code(Style::kDim, false)));
      thinking_ = true;
      alive = alive && write_out(event.reasoning);
    }
    if (!event.text.empty()) {
      alive = alive && end_thinking();
      alive = alive && write_out(event.text);
    }
    return alive;
  }
  bool end_thinking() {
    if (!thinking_) return true;
    thinking_ = false;
    return write_out(fmt::format("\n</think>{}\n\n", style_code(Style::kPlain, false)));
  }

 private:
  const AnswerOptions& options_;
  bool thinking_ = false;
};

}  // namespace

Result<Answer> stream_answer(Engine& engine, const Conversation& conversation, Prompt prompt,
                             const AnswerOptions& options) {
  Request request;
  request.prompt = std::move(prompt.tokens);
  request.sampling = options.sampling;
  request.max_tokens = options.max_tokens;
  request.stop = options.stop;
  request.grammar = options.grammar;
  if (conversation.markers()) request.thinking = Thinking{*conversation.markers(), prompt.inside_reasoning};
  KL_TRY(const std::shared_ptr<Generation> generation, engine.submit(std::move(request)));

  Answer answer;
  Printer printer(options);
  bool asked_to_stop = false;
  for (bool ended = false; !ended;) {
    if (!asked_to_stop && (interrupted() || terminated())) {
      generation->cancel();
      asked_to_stop = true;
    }
    const std::optional<Event> event = generation->next_event(std::chrono::milliseconds(50));
    if (!event) continue;
    answer.reasoning += event->reasoning;
    answer.text += event->text;
    if (!answer.pipe_closed && !printer.put(*event)) {
      answer.pipe_closed = true;
      generation->cancel();
    }
    if (event->finish) {
      answer.finish = *event->finish;
      ended = true;
    }
  }
  printer.end_thinking();
  return answer;
}

std::optional<std::string> length_note(const Answer& answer, const AnswerOptions& options) {
  if (answer.finish.reason != FinishReason::kLength) return std::nullopt;
  const bool limited = options.max_tokens > 0 && answer.finish.stats.generated_tokens >= options.max_tokens;
  const char* bound = limited ? "--max-tokens was reached" : "the context is full";
  if (answer.text.empty() && !answer.reasoning.empty())
    return fmt::format("{} before the thinking came to an end; allow more, or use --no-think", bound);
  return fmt::format("the answer ended because {}", bound);
}

std::string speed_text(const RequestStats& s) {
  const std::string drafts =
      s.drafted_tokens == 0 ? "" : fmt::format(", {} of {} drafted ones accepted", s.accepted_tokens, s.drafted_tokens);
  const std::string cached = s.cached_tokens == 0 ? "" : fmt::format(" ({} of them cached)", s.cached_tokens);
  return fmt::format(
      "prompt {} tokens{}, {:.1f} tokens/s; answer {} tokens, {:.1f} tokens/s{}; first token after {:.2f} s; seed {}",
      s.prompt_tokens, cached, s.prompt_tokens_per_second(), s.generated_tokens, s.generated_tokens_per_second(),
      drafts, s.first_token_seconds, s.seed);
}

}  // namespace kinglet::cli
