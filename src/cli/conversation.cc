#include "cli/conversation.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace kinglet::cli {

using nlohmann::ordered_json;

Result<Conversation> Conversation::create(const Checkpoint& checkpoint, std::shared_ptr<const Tokenizer> tokenizer) {
  KL_TRY(ChatFormat format, ChatFormat::create(checkpoint, std::move(tokenizer)));
  return Conversation(std::move(format));
}

Result<Prompt> Conversation::render(size_t first) const {
  ordered_json list = ordered_json::array();
  if (!system.empty()) list.push_back({{"role", "system"}, {"content", system}});
  for (size_t i = first; i < messages.size(); i++) {
    ordered_json message = {{"role", messages[i].role}, {"content", messages[i].content}};
    if (!messages[i].reasoning.empty()) message["reasoning_content"] = messages[i].reasoning;
    list.push_back(message);
  }
  RenderRequest request;
  request.messages_json = list.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  KL_TRY(ChatPrompt prompt, format_.prompt(std::move(request), think));
  return Prompt{std::move(prompt.tokens), static_cast<int>(first), prompt.inside_reasoning};
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
