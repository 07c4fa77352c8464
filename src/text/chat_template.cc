#include "text/chat_template.h"

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "formats/checkpoint.h"
#include "text/textlib_bridge.h"

namespace kinglet {
namespace {

// Keeps the order of keys: templates show it.
using Json = nlohmann::ordered_json;

// Ten thousand long messages stay far below; at full use a render takes seconds and a gigabyte is never reached.
constexpr KtRenderLimits kLimits{.fuel = 20'000'000, .output_bytes = 64 << 20, .made_bytes = 512 << 20};
constexpr int kMaxDepth = 100;
constexpr std::array kRoles{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};
// What messages call the model's thoughts; the first is the name that templates read.
constexpr std::array kReasoningFields{"reasoning_content", "thinking", "reasoning"};

Result<Json> parse(std::string_view text, const std::string& what) {
  bool too_deep = false;
  auto watch = [&](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;
  };
  Json json = Json::parse(text, watch, /*allow_exceptions=*/false);
  if (too_deep) return Error{ErrorCode::kInvalid, what + ": nested too deeply"};
  if (json.is_discarded()) return Error{ErrorCode::kInvalid, what + ": not valid JSON"};
  return json;
}

// As transformers does: keys without a value are dropped, and reasoning goes by all the names that templates look for.
Result<Json> prepare_messages(std::string_view text) {
  KL_TRY(Json messages, parse(text, "messages"));
  if (!messages.is_array() || messages.empty()) {
    return Error{ErrorCode::kInvalid, "messages: expected an array with at least one message"};
  }
  Json prepared = Json::array();
  for (const Json& message : messages) {
    if (!message.is_object()) return Error{ErrorCode::kInvalid, "messages: expected objects with a role and a content"};
    Json plain = Json::object();
    for (const auto& [key, value] : message.items()) {
      if (!value.is_null()) plain[key] = value;
    }
    const Json* reasoning = nullptr;
    for (const char* field : kReasoningFields) {
      auto found = plain.find(field);
      if (reasoning == nullptr && found != plain.end()) reasoning = &*found;
    }
    if (reasoning != nullptr) {
      Json aliased = Json::object();
      aliased["thinking"] = *reasoning;
      Json value = *reasoning;
      for (const auto& [key, item] : plain.items()) aliased[key] = item;
      aliased["reasoning_content"] = std::move(value);
      plain = std::move(aliased);
    }
    prepared.push_back(std::move(plain));
  }
  return prepared;
}

std::optional<std::string> text_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string()) {
    return value["content"].get<std::string>();
  }
  return std::nullopt;
}

using Variables = std::map<std::string, std::string>;
using Sources = std::vector<std::pair<std::string, std::string>>;

Status read_gguf(const Metadata& metadata, Variables* variables, Sources* sources) {
  const std::pair<const char*, const char*> keys[] = {
      {"bos_token", "tokenizer.ggml.bos_token_id"},       {"eos_token", "tokenizer.ggml.eos_token_id"},
      {"unk_token", "tokenizer.ggml.unknown_token_id"},   {"pad_token", "tokenizer.ggml.padding_token_id"},
      {"sep_token", "tokenizer.ggml.seperator_token_id"}, {"mask_token", "tokenizer.ggml.mask_token_id"}};
  const MetadataValue* tokens = metadata.find("tokenizer.ggml.tokens");
  const auto* texts = tokens == nullptr ? nullptr : std::get_if<std::vector<std::string>>(tokens);
  for (const auto& [role, key] : keys) {
    if (texts == nullptr || !metadata.has(key)) continue;
    KL_TRY(int64_t id, metadata.get_int(key, -1, UINT32_MAX));
    if (id >= 0 && static_cast<uint64_t>(id) < texts->size()) (*variables)[role] = (*texts)[static_cast<size_t>(id)];
  }
  constexpr std::string_view kKey = "tokenizer.chat_template";
  for (const auto& [key, value] : metadata.values()) {
    if (!key.starts_with(kKey) || !std::holds_alternative<std::string>(value)) continue;
    std::string name = key.size() == kKey.size() ? "default" : key.substr(kKey.size() + 1);
    if (key.size() == kKey.size() || key[kKey.size()] == '.') sources->emplace_back(name, std::get<std::string>(value));
  }
  return {};
}

Status read_folder(const Checkpoint::SideFiles& files, Variables* variables, Sources* sources) {
  Json config = Json::object();
  if (!files.tokenizer_config_json.empty()) {
    KL_TRY(config, parse(files.tokenizer_config_json, "tokenizer_config.json"));
  }
  Json special_map = Json::object();
  if (!files.special_tokens_map_json.empty()) {
    KL_TRY(special_map, parse(files.special_tokens_map_json, "special_tokens_map.json"));
  }
  for (const Json* json : {&config, &special_map}) {
    for (const char* role : kRoles) {
      if (!json->is_object() || !json->contains(role) || variables->contains(role)) continue;
      if (std::optional<std::string> text = text_of((*json)[role])) (*variables)[role] = *text;
    }
  }
  if (!files.chat_template.empty()) {
    sources->emplace_back("default", files.chat_template);
    return {};
  }
  if (!config.is_object() || !config.contains("chat_template")) return {};
  const Json& field = config["chat_template"];
  if (field.is_string()) sources->emplace_back("default", field.get<std::string>());
  if (!field.is_array()) return {};
  for (const Json& entry : field) {
    bool named = entry.is_object() && entry.contains("name") && entry["name"].is_string() &&
                 entry.contains("template") && entry["template"].is_string();
    if (!named) {
      return Error{ErrorCode::kInvalid,
                   "tokenizer_config.json: chat_template: expected objects with name and template"};
    }
    sources->emplace_back(entry["name"].get<std::string>(), entry["template"].get<std::string>());
  }
  return {};
}

}  // namespace

ChatTemplate::~ChatTemplate() {
  for (auto& [name, entry] : templates_) kt_template_free(entry.handle);
}

Status ChatTemplate::add(const std::string& name, std::string_view source) {
  textlib::Buffer out;
  KtTemplate* handle = nullptr;
  KtStatus status = kt_template_compile(textlib::slice(source), &handle, out.out());
  if (status != KT_OK) return textlib::error(status, out);
  Named& entry = templates_[name];
  kt_template_free(entry.handle);
  entry.source = source;
  entry.handle = handle;
  return {};
}

Result<std::shared_ptr<const ChatTemplate>> ChatTemplate::from_source(
    std::string_view source, const std::map<std::string, std::string>& variables) {
  std::shared_ptr<ChatTemplate> result(new ChatTemplate());
  result->variables_ = variables;
  KL_RETURN_IF_ERROR(result->add("default", source));
  return std::shared_ptr<const ChatTemplate>(std::move(result));
}

Result<std::shared_ptr<const ChatTemplate>> ChatTemplate::from_checkpoint(const Checkpoint& checkpoint) {
  std::shared_ptr<ChatTemplate> result(new ChatTemplate());
  Sources sources;
  Status read = checkpoint.format == CheckpointFormat::kGguf
                    ? read_gguf(checkpoint.metadata, &result->variables_, &sources)
                    : read_folder(checkpoint.side_files, &result->variables_, &sources);
  if (!read.ok()) return read.error().with_context(checkpoint.path);
  if (sources.empty()) return Error{ErrorCode::kNotFound, checkpoint.path + ": the model has no chat template"};
  for (const auto& [name, source] : sources) {
    Status added = result->add(name, source);
    if (!added.ok()) return added.error().with_context(checkpoint.path);
  }
  return std::shared_ptr<const ChatTemplate>(std::move(result));
}

const std::string& ChatTemplate::tool_source() const {
  auto found = templates_.find("tool_use");
  return found == templates_.end() ? source() : found->second.source;
}

const std::string& ChatTemplate::source() const {
  auto found = templates_.find("default");
  return (found == templates_.end() ? templates_.begin() : found)->second.source;
}

std::vector<std::string> ChatTemplate::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : templates_) names.push_back(name);
  return names;
}

Result<const ChatTemplate::Named*> ChatTemplate::choose(const std::string& wanted, bool has_tools) const {
  std::string name = wanted;
  if (name.empty()) name = has_tools && templates_.contains("tool_use") ? "tool_use" : "default";
  auto found = templates_.find(name);
  if (found != templates_.end()) return &found->second;
  std::string known;
  for (const std::string& other : names()) known += (known.empty() ? "" : ", ") + other;
  return Error{ErrorCode::kNotFound, "the model has no chat template named '" + name + "'; it has: " + known};
}

Result<std::string> ChatTemplate::render(const RenderRequest& request) const {
  Json context = Json::object();
  KL_TRY(context["messages"], prepare_messages(request.messages_json));
  context["tools"] = nullptr;
  if (!request.tools_json.empty()) {
    KL_TRY(context["tools"], parse(request.tools_json, "tools"));
    if (!context["tools"].is_array() && !context["tools"].is_null()) {
      return Error{ErrorCode::kInvalid, "tools: expected an array of tool definitions"};
    }
  }
  context["documents"] = nullptr;
  context["add_generation_prompt"] = request.add_generation_prompt;
  for (const auto& [name, value] : variables_) context[name] = value;
  if (!request.args_json.empty()) {
    KL_TRY(Json args, parse(request.args_json, "template arguments"));
    if (!args.is_object()) return Error{ErrorCode::kInvalid, "template arguments: expected an object"};
    for (const auto& [name, value] : args.items()) context[name] = value;
  }
  KL_TRY(const Named* chosen, choose(request.template_name, !context["tools"].is_null()));

  // Only valid UTF-8 reaches the template: what isn't becomes U+FFFD.
  std::string json = context.dump(-1, ' ', false, Json::error_handler_t::replace);
  textlib::Buffer out;
  KtStatus status =
      kt_template_render(chosen->handle, textlib::slice(json), request.now.value_or(INT64_MIN), &kLimits, out.out());
  if (status != KT_OK) return textlib::error(status, out);
  return out.text();
}

}  // namespace kinglet
