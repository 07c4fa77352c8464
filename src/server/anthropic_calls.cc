#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/quote.h"
#include "server/anthropic.h"
#include "server/json_fields.h"

namespace kinglet::server {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 28;

Error wrong(const std::string& field, const std::string& found_and_expected) {
  return {ErrorCode::kInvalid, field + ": " + found_and_expected};
}

// One block of a content, and the name under which errors speak of it.
struct Block {
  std::string path, type;
  const Json* json = nullptr;

  Result<std::string> text(const char* name) const {
    Fields fields(*json, path + ".");
    const auto value = fields.text(name);
    if (!value) fields.fail(name, "it is missing; expected a string");
    KL_RETURN_IF_ERROR(fields.status());
    return *value;
  }
  Error unreadable() const {
    if (type == "image") return wrong(path, "found an image, which this model can't read; expected text");
    return wrong(path, "found a block of the type " + quote(type, 64) + ", which has no meaning here");
  }
};

// A content that is no string.
Result<std::vector<Block>> blocks_of(const Json& content, const std::string& path) {
  if (!content.is_array()) return wrong(path, "expected a string or an array of blocks");
  std::vector<Block> blocks;
  for (size_t i = 0; i < content.size(); ++i) {
    Block block{.path = fmt::format("{}[{}]", path, i), .type = {}, .json = &content[i]};
    if (!block.json->is_object()) return wrong(block.path, "expected an object with a type");
    KL_TRY(block.type, block.text("type"));
    blocks.push_back(std::move(block));
  }
  return blocks;
}

void append_line(std::string* text, const std::string& more) {
  if (!text->empty() && !more.empty()) *text += '\n';
  *text += more;
}

// The text of a block that is text or carries it.
Result<std::string> readable_text(const Block& block) {
  if (block.type == "text") return block.text("text");
  if (block.type != "document") return block.unreadable();
  Fields fields(*block.json, block.path + ".");
  const Json* source = fields.object("source");
  Fields inner(source ? *source : *block.json, block.path + ".source.");
  if (!source || inner.text("type") != "text") {
    return wrong(block.path, "found a document, of which only those whose source has the type \"text\" can be read");
  }
  const auto data = inner.text("data");
  if (!data) inner.fail("data", "it is missing; expected a string");
  KL_RETURN_IF_ERROR(inner.status());
  std::string text = fields.text("title").value_or("");
  KL_RETURN_IF_ERROR(fields.status());
  append_line(&text, *data);
  return text;
}

// Templates want a string.
Result<std::string> flat_text(const Json& content, const std::string& path) {
  if (content.is_string()) return content.get<std::string>();
  KL_TRY(const std::vector<Block> blocks, blocks_of(content, path));
  std::string text;
  for (const Block& block : blocks) {
    KL_TRY(const std::string piece, readable_text(block));
    append_line(&text, piece);
  }
  return text;
}

// Claude Code begins with a line that differs from request to request, so that no beginning of a prompt would be found
// in the cache. It says nothing to a model.
std::string without_billing_line(std::string text) {
  if (!text.starts_with("x-anthropic-billing-header:")) return text;
  const size_t line_end = text.find('\n');
  const size_t rest = line_end == std::string::npos ? line_end : text.find_first_not_of("\r\n", line_end);
  return rest == std::string::npos ? std::string() : text.substr(rest);
}

Result<std::string> system_text(const Json& system) {
  if (system.is_string()) return without_billing_line(system.get<std::string>());
  KL_TRY(const std::vector<Block> blocks, blocks_of(system, "system"));
  std::string text;
  for (const Block& block : blocks) {
    KL_TRY(const std::string piece, readable_text(block));
    append_line(&text, without_billing_line(piece));
  }
  return text;
}

// From Anthropic's messages to those that chat templates want: results of tools are messages of their own, calls stand
// beside the content.
class Conversation {
 public:
  Status add_system(const Json& system) {
    KL_TRY(std::string text, system_text(system));
    if (!text.empty()) messages_.push_back({{"role", "system"}, {"content", std::move(text)}});
    return {};
  }

  Status add(const Json& message, const std::string& path) {
    if (!message.is_object()) return wrong(path, "expected an object with role and content");
    Fields fields(message, path + ".");
    const auto role = fields.text("role");
    const Json* content = fields.find("content");
    if (!role) fields.fail("role", "it is missing; expected \"user\" or \"assistant\"");
    if (!content) fields.fail("content", "it is missing; expected a string or an array of blocks");
    KL_RETURN_IF_ERROR(fields.status());
    last_role_ = *role;
    if (*role == "user") return add_user(*content, path + ".content");
    if (*role == "assistant") return add_assistant(*content, path + ".content");
    if (*role == "system") return add_system(*content);
    return wrong(path + ".role", "found " + quote(*role, 64) + ", expected \"user\" or \"assistant\"");
  }

  const std::string& last_role() const { return last_role_; }
  const Json& messages() const { return messages_; }

 private:
  Status add_user(const Json& content, const std::string& path) {
    if (content.is_string()) {
      say(content.get<std::string>());
      return {};
    }
    KL_TRY(const std::vector<Block> blocks, blocks_of(content, path));
    for (const Block& block : blocks) {
      if (block.type == "tool_result") {
        KL_RETURN_IF_ERROR(add_result(block));
        continue;
      }
      KL_TRY(std::string text, readable_text(block));
      say(std::move(text));
    }
    return {};
  }

  // What the user says in several blocks or messages is one turn: many templates refuse two in a row.
  void say(std::string text) {
    if (!messages_.empty() && messages_.back()["role"] == "user") {
      std::string whole = messages_.back()["content"].get<std::string>();
      append_line(&whole, text);
      messages_.back()["content"] = std::move(whole);
    } else {
      messages_.push_back({{"role", "user"}, {"content", std::move(text)}});
    }
  }

  Status add_result(const Block& block) {
    KL_TRY(const std::string id, block.text("tool_use_id"));
    Fields fields(*block.json, block.path + ".");
    const bool failed = fields.boolean("is_error").value_or(false);
    KL_RETURN_IF_ERROR(fields.status());
    std::string text;
    if (const Json* content = fields.find("content")) {
      KL_TRY(text, flat_text(*content, block.path + ".content"));
    }
    if (failed) text = "Error: " + text;
    Json message = {{"role", "tool"}, {"tool_call_id", id}};
    if (const auto name = names_.find(id); name != names_.end()) message["name"] = name->second;
    message["content"] = std::move(text);
    messages_.push_back(std::move(message));
    return {};
  }

  Status add_assistant(const Json& content, const std::string& path) {
    if (content.is_string()) {
      messages_.push_back({{"role", "assistant"}, {"content", content}});
      return {};
    }
    KL_TRY(const std::vector<Block> blocks, blocks_of(content, path));
    std::string text, thinking;
    Json calls = Json::array();
    for (const Block& block : blocks) {
      if (block.type == "text") {
        KL_TRY(const std::string piece, block.text("text"));
        text += piece;
      } else if (block.type == "thinking") {
        KL_TRY(const std::string piece, block.text("thinking"));
        append_line(&thinking, piece);
      } else if (block.type == "tool_use") {
        KL_TRY(Json call, read_call(block));
        calls.push_back(std::move(call));
      } else if (block.type != "redacted_thinking") {  // nobody but Anthropic can read that
        return block.unreadable();
      }
    }
    Json message = {{"role", "assistant"}, {"content", std::move(text)}};
    if (!thinking.empty()) message["reasoning_content"] = std::move(thinking);
    if (!calls.empty()) message["tool_calls"] = std::move(calls);
    messages_.push_back(std::move(message));
    return {};
  }

  Result<Json> read_call(const Block& block) {
    KL_TRY(const std::string id, block.text("id"));
    KL_TRY(const std::string name, block.text("name"));
    Fields fields(*block.json, block.path + ".");
    const Json* input = fields.object("input");
    KL_RETURN_IF_ERROR(fields.status());
    names_[id] = name;
    return Json{{"id", id},
                {"type", "function"},
                {"function", {{"name", name}, {"arguments", input ? *input : Json::object()}}}};
  }

  Json messages_ = Json::array();
  std::map<std::string, std::string> names_;  // of tools, by the ids of their calls
  std::string last_role_;
};

Result<std::string> read_conversation(Fields& fields, AnthropicUse use) {
  Conversation conversation;
  if (const Json* system = fields.find("system")) KL_RETURN_IF_ERROR(conversation.add_system(*system));
  const Json* messages = fields.array("messages");
  KL_RETURN_IF_ERROR(fields.status());
  for (size_t i = 0; messages && i < messages->size(); ++i) {
    KL_RETURN_IF_ERROR(conversation.add((*messages)[i], fmt::format("messages[{}]", i)));
  }
  if (conversation.last_role().empty()) return wrong("messages", "expected at least one message");
  if (use == AnthropicUse::kAnswer && conversation.last_role() == "assistant") {
    return wrong("messages",
                 "the last one is the assistant's, and answers that were begun can't be continued here; "
                 "expected the last one to be the user's");
  }
  return to_text(conversation.messages());
}

Result<Json> read_tool(const Json& given, const std::string& path, ToolUse* use) {
  if (!given.is_object()) return wrong(path, "expected an object with name and input_schema");
  Fields fields(given, path + ".");
  const std::string type = fields.text("type").value_or("custom");
  if (!fields.error() && type != "custom") {
    return wrong(path, "found a tool of the type " + quote(type, 64) +
                           ", which needs Anthropic's servers or models; expected name, description and input_schema");
  }
  const auto name = fields.text("name");
  if (!name || name->empty()) fields.fail("name", "it is missing; expected a string");
  const auto description = fields.text("description");
  const Json* schema = fields.object("input_schema");
  if (!schema) fields.fail("input_schema", "it is missing; expected a JSON schema");
  if (fields.boolean("strict").value_or(false)) use->strict = true;
  KL_RETURN_IF_ERROR(fields.status());
  use->tools.push_back({*name, to_text(*schema)});
  Json function = {{"name", *name}};
  if (description) function["description"] = *description;
  function["parameters"] = *schema;
  return Json{{"type", "function"}, {"function", std::move(function)}};
}

Status read_choice(Fields& fields, ChatCall* call) {
  const Json* choice = fields.object("tool_choice");
  KL_RETURN_IF_ERROR(fields.status());
  if (!choice) return {};
  Fields inner(*choice, "tool_choice.");
  ToolUse& use = call->tool_use;
  const std::string type = inner.text("type").value_or("");
  use.parallel = !inner.boolean("disable_parallel_tool_use").value_or(false);
  use.only = type == "tool" ? inner.text("name").value_or("") : std::string();
  KL_RETURN_IF_ERROR(inner.status());
  if (type == "none") {
    use = {};
    call->tools_json.clear();
  } else if (type == "any" || type == "tool") {
    use.required = true;
    if (use.tools.empty()) return wrong("tool_choice", "a call is required, but there are no tools");
    const bool known =
        std::ranges::any_of(use.tools, [&](const Tool& tool) { return type == "any" || tool.name == use.only; });
    if (!known) return wrong("tool_choice.name", "found " + quote(use.only, 64) + ", expected the name of a tool");
  } else if (type != "auto") {
    return wrong("tool_choice.type", "found " + quote(type, 64) + ", expected auto, any, tool or none");
  }
  return {};
}

Status read_tools(Fields& fields, ChatCall* call) {
  Json tools = Json::array();
  if (const Json* given = fields.array("tools")) {
    for (size_t i = 0; i < given->size(); ++i) {
      KL_TRY(Json tool, read_tool((*given)[i], fmt::format("tools[{}]", i), &call->tool_use));
      tools.push_back(std::move(tool));
    }
  }
  if (!tools.empty()) call->tools_json = to_text(tools);
  return read_choice(fields, call);
}

// thinking, and what output_config says of effort and of the answer's shape.
Status read_output(Fields& fields, ChatCall* call) {
  if (const Json* thinking = fields.object("thinking")) {
    Fields inner(*thinking, "thinking.");
    const std::string type = inner.text("type").value_or("");
    KL_RETURN_IF_ERROR(inner.status());
    if (type != "enabled" && type != "adaptive" && type != "disabled") {
      return wrong("thinking.type", "found " + quote(type, 64) + ", expected enabled, adaptive or disabled");
    }
    call->think = type != "disabled";
  }
  const Json* config = fields.object("output_config");
  KL_RETURN_IF_ERROR(fields.status());
  if (!config) return {};
  Fields inner(*config, "output_config.");
  if (const auto effort = inner.text("effort")) {
    // Templates know low, medium and high.
    const bool more = *effort == "xhigh" || *effort == "max";
    call->template_args_json = to_text(Json{{"reasoning_effort", more ? "high" : *effort}});
  }
  const Json* format = inner.object("format");
  KL_RETURN_IF_ERROR(inner.status());
  if (!format) return {};
  Fields shape(*format, "output_config.format.");
  const auto type = shape.text("type");
  const Json* schema = shape.object("schema");
  if (type != "json_schema") shape.fail("type", "expected \"json_schema\"");
  if (!schema) shape.fail("schema", "it is missing; expected a JSON schema");
  KL_RETURN_IF_ERROR(shape.status());
  call->options.json_schema = to_text(*schema);
  return {};
}

}  // namespace

Result<ChatCall> anthropic_call(std::string_view body, AnthropicUse use) {
  KL_TRY(const Json json, parse_object(body));
  Fields fields(json);
  ChatCall call;
  CallOptions& options = call.options;
  options.model = fields.text("model").value_or("");
  options.sampling.temperature = fields.number("temperature");
  options.sampling.top_p = fields.number("top_p");
  if (const auto k = fields.integer("top_k", -1, kMostTokens)) options.sampling.top_k = std::max<int64_t>(*k, 0);
  options.stop = fields.texts("stop_sequences");
  options.stream = fields.boolean("stream").value_or(false);
  const auto most = fields.integer("max_tokens", 1, kMostTokens);
  if (!most && use == AnthropicUse::kAnswer) {
    fields.fail("max_tokens", "it is missing; expected the most tokens to answer with");
  }
  options.max_tokens = most.value_or(-1);
  KL_RETURN_IF_ERROR(fields.status());
  KL_TRY(call.messages_json, read_conversation(fields, use));
  KL_RETURN_IF_ERROR(read_tools(fields, &call));
  KL_RETURN_IF_ERROR(read_output(fields, &call));
  return call;
}

std::string anthropic_count(int64_t tokens) {
  return to_text(Json{{"input_tokens", tokens}});
}

}  // namespace kinglet::server
