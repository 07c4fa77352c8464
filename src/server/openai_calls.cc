#include <fmt/format.h>

#include <charconv>
#include <limits>

#include "server/json_fields.h"
#include "server/openai.h"
#include "server/openai_tools.h"

namespace kinglet::server {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 28;
constexpr int64_t kMostAnswers = 128;

void read_bias(Fields& fields, std::map<int32_t, float>* bias) {
  const Json* object = fields.object("logit_bias");
  if (!object) return;
  for (const auto& [key, value] : object->items()) {
    int32_t id = 0;
    const auto [end, failed] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (failed != std::errc() || end != key.data() + key.size() || !value.is_number()) {
      return fields.fail("logit_bias", "expected token ids with a number each, such as {\"42\": -100}");
    }
    const double wide = value.get<double>();
    // OpenAI: -100 bans a token.
    (*bias)[id] = wide <= -100.0 ? -std::numeric_limits<float>::infinity() : static_cast<float>(std::min(wide, 100.0));
  }
}

void read_format(Fields& fields, CallOptions* options) {
  const Json* format = fields.object("response_format");
  if (!format) return;
  Fields inner(*format, "response_format.");
  const std::string type = inner.text("type").value_or("");
  if (type == "json_object") {
    options->json_schema = R"({"type":"object"})";
  } else if (type == "json_schema") {
    const Json* named = inner.object("json_schema");
    const auto schema = named ? named->find("schema") : Json::const_iterator();
    if (!named || schema == named->end() || !(schema->is_object() || schema->is_boolean())) {
      return fields.fail("response_format", "json_schema.schema is missing; expected a JSON schema");
    }
    options->json_schema = to_text(*schema);
  } else if (type != "text") {
    fields.fail("response_format", "type: expected text, json_object or json_schema");
  }
}

void read_options(Fields& fields, CallOptions* options) {
  options->model = fields.text("model").value_or("");
  SamplingWishes& s = options->sampling;
  s.temperature = fields.number("temperature");
  s.top_p = fields.number("top_p");
  s.min_p = fields.number("min_p");
  s.typical_p = fields.number("typical_p");
  s.repetition_penalty = fields.number("repetition_penalty");
  s.presence_penalty = fields.number("presence_penalty");
  s.frequency_penalty = fields.number("frequency_penalty");
  if (const auto k = fields.integer("top_k", -1, kMostTokens)) s.top_k = std::max<int64_t>(*k, 0);
  if (const auto seed =
          fields.integer("seed", std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max())) {
    s.seed = static_cast<uint64_t>(*seed);
  }
  read_bias(fields, &s.logit_bias);
  options->n = fields.integer("n", 1, kMostAnswers).value_or(1);
  options->stop = fields.texts("stop");
  options->cache_salt = fields.text("cache_salt").value_or("");
  options->ignore_eos = fields.boolean("ignore_eos").value_or(false);
  options->stream = fields.boolean("stream").value_or(false);
  if (const Json* more = fields.object("stream_options")) {
    Fields inner(*more, "stream_options.");
    options->include_usage = inner.boolean("include_usage").value_or(false);
    if (inner.error()) fields.fail("stream_options", "include_usage: expected true or false");
  }
  read_format(fields, options);
}

// Content as templates want it: a string. Parts of text are joined; others can't be read by models of text.
bool flatten_content(Json* message, std::string* problem) {
  const auto content = message->find("content");
  if (content == message->end() || content->is_string() || content->is_null()) return true;
  if (!content->is_array()) {
    *problem = "content: expected a string or an array of parts";
    return false;
  }
  std::string text;
  for (const Json& part : *content) {
    const auto piece = part.is_object() ? part.find("text") : part.end();
    if (!part.is_object() || piece == part.end() || !piece->is_string()) {
      *problem = "content: found a part that is no text, which this model can't read";
      return false;
    }
    text += piece->get<std::string>();
  }
  *content = text;
  return true;
}

// Templates print arguments as JSON; clients send them as a string of it.
void open_arguments(Json* message) {
  const auto calls = message->find("tool_calls");
  if (calls == message->end() || !calls->is_array()) return;
  for (Json& call : *calls) {
    if (!call.is_object() || !call.contains("function") || !call["function"].is_object()) continue;
    Json& function = call["function"];
    if (!function.contains("arguments") || !function["arguments"].is_string()) continue;
    const auto parsed = parse_object(function["arguments"].get<std::string>());
    if (parsed.ok()) function["arguments"] = *parsed;
  }
}

std::string read_messages(Fields& fields) {
  const Json* given = fields.array("messages");
  if (!given || given->empty()) {
    fields.fail("messages", "expected at least one message");
    return {};
  }
  Json messages = *given;
  for (size_t i = 0; i < messages.size(); ++i) {
    Json& message = messages[i];
    std::string problem = "expected an object with a role";
    const bool has_role = message.is_object() && message.contains("role") && message["role"].is_string();
    if (!has_role || !flatten_content(&message, &problem)) {
      fields.fail(fmt::format("messages[{}]", i), problem);
      return {};
    }
    if (message["role"] == "developer") message["role"] = "system";
    open_arguments(&message);
  }
  return to_text(messages);
}

void read_thinking(Fields& fields, ChatCall* call) {
  Json arguments = Json::object();
  if (const Json* given = fields.object("chat_template_kwargs")) arguments = *given;
  if (const auto effort = fields.text("reasoning_effort")) {
    call->think = *effort != "none";
    if (*effort != "none" && !arguments.contains("reasoning_effort")) arguments["reasoning_effort"] = *effort;
  }
  if (!arguments.empty()) call->template_args_json = to_text(arguments);
}

bool read_prompt(const Json& item, TextCall* call) {
  if (item.is_string()) {
    call->prompts.emplace_back(item.get<std::string>());
    return true;
  }
  if (!item.is_array() || item.empty()) return false;
  std::vector<int32_t> ids;
  for (const Json& id : item) {
    if (!id.is_number_integer() || id < 0 || id > std::numeric_limits<int32_t>::max()) return false;
    ids.push_back(id.get<int32_t>());
  }
  call->prompts.emplace_back(std::move(ids));
  return true;
}

void read_prompts(Fields& fields, TextCall* call) {
  constexpr const char* kExpected = "expected a string, an array of strings, of token ids or of arrays of token ids";
  const Json* given = fields.find("prompt");
  if (!given) return fields.fail("prompt", std::string("it is missing; ") + kExpected);
  const bool many = given->is_array() && !given->empty() && !(*given)[0].is_number();
  if (!many) {
    if (!read_prompt(*given, call)) fields.fail("prompt", kExpected);
    return;
  }
  for (const Json& item : *given) {
    if (!read_prompt(item, call)) return fields.fail("prompt", kExpected);
  }
}

}  // namespace

Result<ChatCall> openai_chat_call(std::string_view body) {
  KL_TRY(const Json json, parse_object(body));
  Fields fields(json);
  ChatCall call;
  read_options(fields, &call.options);
  call.messages_json = read_messages(fields);
  read_openai_tools(fields, &call);
  read_thinking(fields, &call);
  auto most = fields.integer("max_completion_tokens", 1, kMostTokens);
  if (!most) most = fields.integer("max_tokens", 1, kMostTokens);
  call.options.max_tokens = most.value_or(-1);
  const auto top = fields.integer("top_logprobs", 0, SamplingParams::kMaxLogprobs);
  if (fields.boolean("logprobs").value_or(false)) call.options.logprobs = static_cast<int>(top.value_or(0));
  KL_RETURN_IF_ERROR(fields.status());
  return call;
}

Result<TextCall> openai_text_call(std::string_view body) {
  KL_TRY(const Json json, parse_object(body));
  Fields fields(json);
  TextCall call;
  read_options(fields, &call.options);
  read_prompts(fields, &call);
  call.options.max_tokens = fields.integer("max_tokens", 1, kMostTokens).value_or(16);
  call.options.logprobs = static_cast<int>(fields.integer("logprobs", 0, SamplingParams::kMaxLogprobs).value_or(-1));
  call.echo = fields.boolean("echo").value_or(false);
  if (call.echo && call.options.logprobs >= 0) {
    fields.fail("echo", "log-probabilities of the prompt are not available; leave out echo or logprobs");
  }
  if (const auto suffix = fields.text("suffix"); suffix && !suffix->empty()) {
    fields.fail("suffix", "filling in the middle is not available");
  }
  KL_RETURN_IF_ERROR(fields.status());
  const auto answers = static_cast<int64_t>(call.prompts.size()) * call.options.n;
  if (answers > 1024) {
    return Error{ErrorCode::kInvalid, fmt::format("prompt: {} prompts with n answers each are {} answers; at most 1024 "
                                                  "are given at once",
                                                  call.prompts.size(), answers)};
  }
  return call;
}

}  // namespace kinglet::server
