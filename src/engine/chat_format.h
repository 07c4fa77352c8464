// ChatFormat: from a chat's messages to the prompt that a model was trained to read, with what its template says about
// thinking and tools. The command line and the server share it. Knows template and tokenizer, not the engine.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/checkpoint.h"
#include "text/chat_template.h"
#include "text/reasoning.h"
#include "text/tokenizer.h"
#include "text/tool_calls.h"

namespace kinglet {

struct ChatPrompt {
  std::vector<int32_t> tokens;
  bool inside_reasoning = false;  // the template opened a thinking block already
};

class ChatFormat {
 public:
  // A model without a chat template is no error: uses_template() is false and messages go in as plain lines.
  static Result<ChatFormat> create(const Checkpoint& checkpoint, std::shared_ptr<const Tokenizer> tokenizer);

  bool uses_template() const { return template_ != nullptr; }
  // Whether the template asks if the model is to think.
  bool knows_think() const;
  const std::optional<ReasoningMarkers>& markers() const { return markers_; }
  // How the model writes calls of tools, as far as its template shows.
  const std::optional<ToolCallFormat>& tool_calls() const { return tool_calls_; }
  const std::shared_ptr<const ChatTemplate>& chat_template() const { return template_; }

  // The prompt for the next answer. `think` goes to the template under the names that templates know, unless
  // request.args_json says something else under them. kInvalid for JSON that is none, and where the template refuses.
  Result<ChatPrompt> prompt(RenderRequest request, std::optional<bool> think) const;

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const ChatTemplate> template_;
  std::optional<ReasoningMarkers> markers_;
  std::optional<ToolCallFormat> tool_calls_;
};

}  // namespace kinglet
