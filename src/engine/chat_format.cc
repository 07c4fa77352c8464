#include "engine/chat_format.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

namespace kinglet {

using nlohmann::ordered_json;

namespace {

constexpr const char* kThinkNames[] = {"enable_thinking", "thinking"};

Result<std::string> with_think(const std::string& args_json, bool think) {
  auto arguments = args_json.empty() ? ordered_json::object() : ordered_json::parse(args_json, nullptr, false);
  if (!arguments.is_object()) {
    return Error{ErrorCode::kInvalid, "the variables for the chat template: expected a JSON object"};
  }
  for (const char* name : kThinkNames) {
    if (!arguments.contains(name)) arguments[name] = think;
  }
  return arguments.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

Result<std::string> plain_lines(const std::string& messages_json) {
  const auto messages = ordered_json::parse(messages_json, nullptr, false);
  std::string text;
  if (!messages.is_array()) return Error{ErrorCode::kInvalid, "messages: expected a JSON array"};
  for (const auto& message : messages) {
    const auto content = message.is_object() ? message.find("content") : message.end();
    if (content == message.end() || !content->is_string()) continue;
    text += (text.empty() ? "" : "\n") + content->get<std::string>();
  }
  return text;
}

}  // namespace

Result<ChatFormat> ChatFormat::create(const Checkpoint& checkpoint, std::shared_ptr<const Tokenizer> tokenizer) {
  ChatFormat format;
  format.tokenizer_ = std::move(tokenizer);
  auto found = ChatTemplate::from_checkpoint(checkpoint);
  if (!found.ok()) {
    if (found.error().code == ErrorCode::kNotFound) return format;
    return found.error();
  }
  format.template_ = std::move(found).value();
  format.markers_ = find_reasoning_markers(format.template_->source());
  format.tool_calls_ = find_tool_call_format(format.template_->tool_source());
  return format;
}

bool ChatFormat::knows_think() const {
  if (!template_) return false;
  const std::string_view source = template_->source();
  return std::any_of(std::begin(kThinkNames), std::end(kThinkNames),
                     [&](const char* name) { return source.find(name) != std::string_view::npos; });
}

Result<ChatPrompt> ChatFormat::prompt(RenderRequest request, std::optional<bool> think) const {
  ChatPrompt prompt;
  if (!template_) {
    KL_TRY(const std::string text, plain_lines(request.messages_json));
    KL_TRY(prompt.tokens, tokenizer_->encode(text));
    return prompt;
  }
  if (think) {
    KL_TRY(request.args_json, with_think(request.args_json, *think));
  }
  KL_TRY(const std::string text, template_->render(request));
  prompt.inside_reasoning = markers_ && prompt_opens_reasoning(text, *markers_);
  KL_TRY(prompt.tokens, tokenizer_->encode(text, {.add_special = false, .parse_special = true}));
  return prompt;
}

}  // namespace kinglet
