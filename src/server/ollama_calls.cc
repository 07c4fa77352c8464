#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <limits>

#include "server/json_fields.h"
#include "server/ollama.h"

namespace kinglet::server {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 28;
constexpr int64_t kLeast = std::numeric_limits<int64_t>::min(), kMost = std::numeric_limits<int64_t>::max();
constexpr std::string_view kLatest = ":latest";

void read_sampling(Fields& fields, SamplingWishes* s) {
  s->temperature = fields.number("temperature");
  s->top_p = fields.number("top_p");
  s->min_p = fields.number("min_p");
  s->typical_p = fields.number("typical_p");
  s->repetition_penalty = fields.number("repeat_penalty");
  s->presence_penalty = fields.number("presence_penalty");
  s->frequency_penalty = fields.number("frequency_penalty");
  if (const auto k = fields.integer("top_k", -1, kMostTokens)) s->top_k = std::max<int64_t>(*k, 0);
  s->penalty_last_n = fields.integer("repeat_last_n", -1, kMostTokens);
  // -1 is Ollama's word for "draw one".
  if (const auto seed = fields.integer("seed", kLeast, kMost); seed && *seed != -1) {
    s->seed = static_cast<uint64_t>(*seed);
  }
}

void read_model_options(Fields& fields, OllamaCall* call, CallOptions* options) {
  const Json* given = fields.object("options");
  if (!given) return;
  Fields inner(*given, "options.");
  read_sampling(inner, &options->sampling);
  options->stop = inner.texts("stop");
  // Whatever is not above 0 sets no limit.
  if (const auto most = inner.integer("num_predict", kLeast, kMostTokens); most && *most > 0) {
    options->max_tokens = *most;
  }
  call->context = inner.integer("num_ctx", 0, kMost).value_or(0);
  fields.take_error(inner);
}

void read_format(Fields& fields, CallOptions* options) {
  const Json* format = fields.find("format");
  if (!format || *format == "") return;
  if (*format == "json") {
    options->json_schema = R"({"type":"object"})";
  } else if (format->is_object()) {
    options->json_schema = to_text(*format);
  } else {
    fields.fail("format", "expected \"json\" or a JSON schema");
  }
}

// What is missing here but would change an answer is refused rather than passed over.
void refuse(Fields& fields, const char* name, const char* why) {
  const Json* value = fields.find(name);
  const bool says_nothing = !value || *value == false || *value == 0 ||
                            ((value->is_array() || value->is_object()) && value->empty()) || *value == "";
  if (!says_nothing) fields.fail(name, why);
}

void read_options(Fields& fields, OllamaCall* call, CallOptions* options) {
  options->model = fields.text("model").value_or("");
  options->stream = fields.boolean("stream").value_or(true);
  read_model_options(fields, call, options);
  read_format(fields, options);
  refuse(fields, "images", "this model can't read images");
  refuse(fields, "logprobs", "Ollama's API gives none here; /v1/chat/completions does");
}

void read_think(Fields& fields, ChatCall* call) {
  const Json* think = fields.find("think");
  if (!think) return;
  if (think->is_boolean()) {
    call->think = think->get<bool>();
  } else if (*think == "low" || *think == "medium" || *think == "high") {
    call->think = true;
    call->template_args_json = to_text({{"reasoning_effort", *think}});
  } else {
    fields.fail("think", "expected true, false, \"low\", \"medium\" or \"high\"");
  }
}

// Ollama's calls of tools and their results need no ids, but templates do: they get some, in order.
class CallIds {
 public:
  void complete(Json* message) {
    const auto calls = message->find("tool_calls");
    if (calls != message->end() && calls->is_array()) {
      for (Json& call : *calls) complete_call(&call);
    }
    if ((*message)["role"] != "tool") return;
    if (!message->contains("tool_call_id") && !waiting_.empty()) (*message)["tool_call_id"] = waiting_.front();
    if (!waiting_.empty()) waiting_.pop_front();
    if (message->contains("tool_name") && !message->contains("name")) (*message)["name"] = (*message)["tool_name"];
  }

 private:
  void complete_call(Json* call) {
    if (!call->is_object()) return;
    if (!call->contains("type")) (*call)["type"] = "function";
    // Mistral's templates take nine letters and digits, no more and no fewer.
    if (!call->contains("id")) (*call)["id"] = fmt::format("{:09}", given_++);
    waiting_.push_back((*call)["id"]);
  }

  std::deque<Json> waiting_;
  int64_t given_ = 0;
};

std::string read_messages(Fields& fields, const Json& given) {
  Json messages = given;
  CallIds ids;
  for (size_t i = 0; i < messages.size(); ++i) {
    Json& message = messages[i];
    const std::string name = fmt::format("messages[{}]", i);
    if (!message.is_object()) {
      fields.fail(name, "expected an object with a role");
      return {};
    }
    Fields inner(message, name + ".");
    if (!inner.text("role")) inner.fail("role", "it is missing; expected a string");
    inner.text("content");
    inner.text("thinking");
    inner.array("tool_calls");
    refuse(inner, "images", "this model can't read images");
    if (inner.error()) {
      fields.take_error(inner);
      return {};
    }
    if (!inner.find("content")) message["content"] = "";
    message.erase("images");
    ids.complete(&message);
  }
  return to_text(messages);
}

}  // namespace

const CallOptions& OllamaCall::options() const {
  return std::visit([](const auto& one) -> const CallOptions& { return one.options; }, call);
}

std::string ollama_plain_name(const std::string& name) {
  return name.ends_with(kLatest) ? name.substr(0, name.size() - kLatest.size()) : name;
}

std::string ollama_tagged_name(const std::string& name) {
  // A colon before the last slash belongs to a host's port.
  const size_t slash = name.rfind('/'), colon = name.rfind(':');
  const bool tagged = colon != std::string::npos && (slash == std::string::npos || colon > slash);
  return tagged ? name : name + std::string(kLatest);
}

Result<OllamaCall> ollama_chat_call(std::string_view body) {
  KL_TRY(const Json json, parse_object(body));
  Fields fields(json);
  OllamaCall call;
  ChatCall chat;
  read_options(fields, &call, &chat.options);
  read_think(fields, &chat);
  if (const Json* messages = fields.array("messages")) chat.messages_json = read_messages(fields, *messages);
  call.only_loads = !fields.find("messages") || fields.find("messages")->empty();
  if (const Json* tools = fields.array("tools"); tools && !tools->empty()) chat.tools_json = to_text(*tools);
  KL_RETURN_IF_ERROR(fields.status());
  call.call = std::move(chat);
  return call;
}

Result<OllamaCall> ollama_generate_call(std::string_view body) {
  KL_TRY(const Json json, parse_object(body));
  Fields fields(json);
  OllamaCall call;
  ChatCall chat;
  read_options(fields, &call, &chat.options);
  read_think(fields, &chat);
  refuse(fields, "suffix", "filling in the middle is not available");
  refuse(fields, "template", "a caller's template is not taken; write the prompt as the model wants it, with raw");
  refuse(fields, "context", "it is not kept; send earlier messages to /api/chat");
  const std::string prompt = fields.text("prompt").value_or("");
  const std::string system = fields.text("system").value_or("");
  const bool raw = fields.boolean("raw").value_or(false);
  KL_RETURN_IF_ERROR(fields.status());
  call.only_loads = prompt.empty();
  if (raw) {
    TextCall text;
    text.options = std::move(chat.options);
    text.prompts.emplace_back(prompt);
    call.call = std::move(text);
    return call;
  }
  Json messages = Json::array();
  if (!system.empty()) messages.push_back({{"role", "system"}, {"content", system}});
  messages.push_back({{"role", "user"}, {"content", prompt}});
  chat.messages_json = to_text(messages);
  call.call = std::move(chat);
  return call;
}

Result<std::string> ollama_model_field(std::string_view body) {
  KL_TRY(const Json json, parse_object(body));
  Fields fields(json);
  auto name = fields.text("model");
  if (!name || name->empty()) name = fields.text("name");
  if (!name || name->empty()) fields.fail("model", "it is missing; expected a model's name");
  KL_RETURN_IF_ERROR(fields.status());
  return *std::move(name);
}

}  // namespace kinglet::server
