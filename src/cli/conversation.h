// A conversation with one model: messages, the prompt they make, and what to do when they outgrow the context. Knows
// the template and tokenizer, not the engine.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "engine/chat_format.h"
#include "formats/checkpoint.h"
#include "text/tokenizer.h"

namespace kinglet::cli {

struct Message {
  std::string role, content;
  std::string reasoning;  // of an assistant's message; sent back as the template wants it
};

struct Prompt {
  std::vector<int32_t> tokens;
  int dropped = 0;                // oldest messages that had to be left out
  bool inside_reasoning = false;  // the template opened a thinking block already
};

class Conversation {
 public:
  // A model without a chat template is no error: uses_template() is false and text goes in as it is.
  static Result<Conversation> create(const Checkpoint& checkpoint, std::shared_ptr<const Tokenizer> tokenizer);

  bool uses_template() const { return format_.uses_template(); }
  // Whether the template asks if the model is to think.
  bool knows_think() const { return format_.knows_think(); }
  const std::optional<ReasoningMarkers>& markers() const { return format_.markers(); }

  std::string system;
  std::optional<bool> think;  // for the template, under the names that templates know
  std::vector<Message> messages;

  // The prompt for the next answer, with at most `room` tokens: the oldest turns are dropped until it fits (the system
  // prompt and the last message stay). kResource, with the numbers, when even those do not fit.
  Result<Prompt> prompt(int64_t room) const;

  // JSON, for /save and /load.
  std::string to_json() const;
  Status load_json(const std::string& text, const std::string& source);

 private:
  explicit Conversation(ChatFormat format) : format_(std::move(format)) {}
  Result<Prompt> render(size_t first) const;

  ChatFormat format_;
};

}  // namespace kinglet::cli
