#include "cli/conversation.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include <nlohmann/json.hpp>

namespace kinglet::cli {

using nlohmann::ordered_json;

namespace {
constexpr const char* kThinkNames[] = {"enable_thinking", "thinking"};
}

Result<Conversation> Conversation::create(const Checkpoint& checkpoint, std::shared_ptr<const Tokenizer> tokenizer) {
  Conversation conversation;
  conversation.tokenizer_ = std::move(tokenizer);
  auto found = ChatTemplate::from_checkpoint(checkpoint);
  if (!found.ok()) {
    if (found.error().code == ErrorCode::kNotFound) return conversation;
    return found.error();
  }
  conversation.template_ = std::move(found).value();
  conversation.markers_ = find_reasoning_markers(conversation.template_->source());
  return conversation;
}

bool Conversation::knows_think() const {
  if (!template_) return false;
  const std::string_view source = template_->source();
  return std::any_of(std::begin(kThinkNames), std::end(kThinkNames),
                     [&](const char* name) { return source.find(name) != std::string_view::npos; });
}

Result<Prompt> Conversation::render(size_t first) const {
  Prompt prompt;
  prompt.dropped = static_cast<int>(first);
  if (!template_) {
    std::string text = system;
    for (size_t i = first; i < messages.size(); i++) text += (text.empty() ? "" : "\n") + messages[i].content;
    KL_TRY(prompt.tokens, tokenizer_->encode(text));
    return prompt;
  }
  ordered_json list = ordered_json::array();
  if (!system.empty()) list.push_back({{"role", "system"}, {"content", system}});
  for (size_t i = first; i < messages.size(); i++) {
    ordered_json message = {{"role", messages[i].role}, {"content", messages[i].content}};
    if (!messages[i].reasoning.empty()) message["reasoning_content"] = messages[i].reasoning;
    list.push_back(message);
  }
  RenderRequest request;
  request.messages_json = list.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  if (think) {
    ordered_json arguments;
    for (const char* name : kThinkNames) arguments[name] = *think;
    request.args_json = arguments.dump();
  }
  KL_TRY(const std::string text, template_->render(request));
  prompt.inside_reasoning = markers_ && prompt_opens_reasoning(text, *markers_);
  KL_TRY(prompt.tokens, tokenizer_->encode(text, {.add_special = false, .parse_special = true}));
  return prompt;
}

Result<Prompt> Conversation::prompt(int64_t room) const {
  size_t first = 0;
  for (;;) {
    KL_TRY(Prompt prompt, render(first));
    if (static_cast<int64_t>(prompt.tokens.size()) <= room) return prompt;
    // A turn is a user's message and what follows it, up to the next one.
    size_t next = first + 1;
    while (next < messages.size() && messages[next].role != "user") next++;
    if (next >= messages.size())
      return Error{
          ErrorCode::kResource,
          fmt::format("the prompt has {} tokens, but the context leaves room for {}; shorten it or use a larger --ctx",
                      prompt.tokens.size(), room)};
    first = next;
  }
}

std::string Conversation::to_json() const {
  ordered_json list = ordered_json::array();
  for (const Message& m : messages) {
    ordered_json message = {{"role", m.role}, {"content", m.content}};
    if (!m.reasoning.empty()) message["reasoning_content"] = m.reasoning;
    list.push_back(message);
  }
  return ordered_json{{"system", system}, {"messages", list}}.dump(2, ' ', false,
                                                                   ordered_json::error_handler_t::replace) +
         "\n";
}

Status Conversation::load_json(const std::string& text, const std::string& source) {
  const auto object = ordered_json::parse(text, nullptr, false);
  const Error bad{
      ErrorCode::kInvalid,
      source + ": not a conversation saved by /save (expected {\"system\", \"messages\": [{\"role\", \"content\"}]})"};
  if (!object.is_object() || !object.contains("messages") || !object["messages"].is_array()) return bad;
  std::vector<Message> loaded;
  auto text_of = [](const ordered_json& o, const char* key) {
    const auto at = o.find(key);
    return at != o.end() && at->is_string() ? at->get<std::string>() : std::string();
  };
  for (const auto& m : object["messages"]) {
    if (!m.is_object() || !m.contains("role") || !m.contains("content") || !m["role"].is_string() ||
        !m["content"].is_string())
      return bad;
    loaded.push_back({text_of(m, "role"), text_of(m, "content"), text_of(m, "reasoning_content")});
  }
  messages = std::move(loaded);
  system = text_of(object, "system");
  return {};
}

}  // namespace kinglet::cli
