#include "server/routes.h"

#include <fmt/format.h>

#include <chrono>
#include <exception>

#include "server/anthropic.h"
#include "server/browser_guard.h"
#include "server/json_fields.h"
#include "server/ollama.h"
#include "server/openai.h"

namespace kinglet::server {

using State = Server::State;

ErrorFormat error_format_of(const Visit& visit) {
  if (visit.request.path.starts_with("/v1/messages")) {
    return [id = visit.id](int status, const Error& error) { return anthropic_error(status, error, id); };
  }
  return visit.request.path.starts_with("/api/") ? ollama_error : openai_error;
}

void fail(const Visit& visit, int status, ErrorCode code, std::string message) {
  visit.writer->send(error_format_of(visit)(status, Error{code, std::move(message)}));
}

void fail(const Visit& visit, const Error& error) {
  // Before there is an engine's request, what exceeds a bound is the caller's doing.
  fail(visit, error.code == ErrorCode::kResource ? 400 : http_status_of(error), error.code, error.message);
}

void reply(const Visit& visit, std::string json) {
  HttpResponse response;
  response.body = std::move(json);
  visit.writer->send(std::move(response));
}

std::shared_ptr<const ServedModel> model_for(State& state, const Visit& visit, const std::string& name) {
  if (state.draining) {
    fail(visit, 503, ErrorCode::kCancelled, "the server is shutting down and takes no more requests");
    return nullptr;
  }
  auto model = state.current_model();
  if (!model) {
    fail(visit, 503, ErrorCode::kResource, "the model is still loading; GET /health tells how far it is");
    return nullptr;
  }
  if (!name.empty() && !model->has_name(name)) {
    fail(visit, 404, ErrorCode::kNotFound,
         fmt::format("model: there is no \"{}\" here; it is \"{}\"", name, model->description().names.front()));
    return nullptr;
  }
  return model;
}

namespace {

int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

OpenAiAnswer answer_facts(const Visit& visit, const ServedModel& model, const CallOptions& options, const char* kind) {
  return {.id = kind + visit.id,
          .model = options.model.empty() ? model.description().names.front() : options.model,
          .created = now_seconds(),
          .tokenizer = model.engine().tokenizer(),
          .n = options.n,
          .include_usage = options.include_usage};
}

void chat_completions(State& state, const Visit& visit) {
  auto call = openai_chat_call(visit.request.body);
  if (!call.ok()) return fail(visit, call.error());
  const auto model = model_for(state, visit, call->options.model);
  if (!model) return;
  auto requests = model->requests(*call);
  if (!requests.ok()) return fail(visit, requests.error());
  OpenAiAnswer answer = answer_facts(visit, *model, call->options, "chatcmpl-");
  if (!call->tool_use.tools.empty()) {
    answer.tools = std::move(call->tool_use.tools);
    answer.tool_calls = model->format().tool_calls();
  }
  auto format = openai_chat_format(answer);
  state.run(visit, *model, std::move(requests).value(), std::move(format), call->options.stream,
            error_format_of(visit));
}

void completions(State& state, const Visit& visit) {
  auto call = openai_text_call(visit.request.body);
  if (!call.ok()) return fail(visit, call.error());
  const auto model = model_for(state, visit, call->options.model);
  if (!model) return;
  auto requests = model->requests(*call);
  if (!requests.ok()) return fail(visit, requests.error());
  std::vector<std::string> echoes;
  if (call->echo) {
    for (const auto& prompt : call->prompts) {
      const auto* text = std::get_if<std::string>(&prompt);
      echoes.push_back(text ? *text : model->tokenizer().decode(std::get<std::vector<int32_t>>(prompt), false));
    }
  }
  auto format = openai_text_format(answer_facts(visit, *model, call->options, "cmpl-"), std::move(echoes));
  state.run(visit, *model, std::move(requests).value(), std::move(format), call->options.stream,
            error_format_of(visit));
}

void messages(State& state, const Visit& visit) {
  auto call = anthropic_call(visit.request.body, AnthropicUse::kAnswer);
  if (!call.ok()) return fail(visit, call.error());
  const auto model = model_for(state, visit, call->options.model);
  if (!model) return;
  auto requests = model->requests(*call);
  if (!requests.ok()) return fail(visit, requests.error());
  AnthropicAnswer answer{
      .id = "msg_" + visit.id,
      .request_id = visit.id,
      .model = call->options.model.empty() ? model->description().names.front() : call->options.model,
      .prompt_tokens = static_cast<int64_t>(requests->front().prompt.size()),
      .tools = {},
      .tool_calls = {}};
  if (!call->tool_use.tools.empty()) {
    answer.tools = std::move(call->tool_use.tools);
    answer.tool_calls = model->format().tool_calls();
  }
  state.run(visit, *model, std::move(requests).value(), anthropic_format(std::move(answer)), call->options.stream,
            error_format_of(visit));
}

void count_tokens(State& state, const Visit& visit) {
  auto call = anthropic_call(visit.request.body, AnthropicUse::kCount);
  if (!call.ok()) return fail(visit, call.error());
  const auto model = model_for(state, visit, call->options.model);
  if (!model) return;
  const auto requests = model->requests(*call);
  if (!requests.ok()) return fail(visit, requests.error());
  HttpResponse response;
  response.body = anthropic_count(static_cast<int64_t>(requests->front().prompt.size()));
  visit.writer->send(std::move(response));
}

void list_models(State& state, const Visit& visit) {
  Json data = Json::array();
  if (const auto model = state.current_model()) {
    for (const std::string& name : model->description().names) {
      data.push_back({{"id", name},
                      {"object", "model"},
                      {"created", model->description().created},
                      {"owned_by", "kinglet"},
                      {"max_model_len", model->engine().context()}});
    }
  }
  reply(visit, to_text({{"object", "list"}, {"data", std::move(data)}}));
}

void tokenize(State& state, const Visit& visit) {
  const auto json = parse_object(visit.request.body);
  if (!json.ok()) return fail(visit, json.error());
  Fields fields(*json);
  const std::string name = fields.text("model").value_or("");
  auto text = fields.text("prompt");
  if (!text) text = fields.text("content");
  if (!text) fields.fail("prompt", "it is missing; expected a string");
  EncodeOptions options;
  options.add_special = fields.boolean("add_special_tokens").value_or(true);
  if (fields.error()) return fail(visit, *fields.error());
  const auto model = model_for(state, visit, name);
  if (!model) return;
  const auto tokens = model->tokenizer().encode(*text, options);
  if (!tokens.ok()) return fail(visit, tokens.error());
  reply(visit, to_text({{"count", tokens->size()}, {"max_model_len", model->engine().context()}, {"tokens", *tokens}}));
}

void detokenize(State& state, const Visit& visit) {
  const auto json = parse_object(visit.request.body);
  if (!json.ok()) return fail(visit, json.error());
  Fields fields(*json);
  const std::string name = fields.text("model").value_or("");
  std::vector<int32_t> ids;
  const Json* tokens = fields.array("tokens");
  bool fits = tokens != nullptr;
  for (size_t i = 0; fits && i < tokens->size(); ++i) {
    const Json& id = (*tokens)[i];
    fits = id.is_number_integer() && id >= 0 && id <= std::numeric_limits<int32_t>::max();
    if (fits) ids.push_back(id.get<int32_t>());
  }
  if (!fits) fields.fail("tokens", "expected an array of token ids");
  if (fields.error()) return fail(visit, *fields.error());
  const auto model = model_for(state, visit, name);
  if (model) reply(visit, to_text({{"prompt", model->tokenizer().decode(ids, false)}}));
}

void metrics(State& state, const Visit& visit) {
  HttpResponse response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  const auto model = state.current_model();
  response.body = state.metrics.text(model ? model->engine().stats() : EngineStats{},
                                     model ? model->description().names.front() : std::string());
  visit.writer->send(std::move(response));
}

constexpr Route kRoutes[] = {
    {"POST", "/v1/chat/completions", chat_completions},
    {"POST", "/v1/completions", completions},
    {"POST", "/v1/messages", messages},
    {"POST", "/v1/messages/count_tokens", count_tokens},
    {"GET", "/v1/models", list_models},
    {"POST", "/tokenize", tokenize},
    {"POST", "/detokenize", detokenize},
    {"GET", "/metrics", metrics},
};

std::string_view presented_key(const HttpRequest& request) {
  std::string_view header = request.header("authorization");
  constexpr std::string_view kBearer = "Bearer ";
  if (header.starts_with(kBearer)) return header.substr(kBearer.size());
  return request.header("x-api-key");
}

void dispatch(State& state, Visit& visit) {
  if (!state.options.keys.empty()) {
    const auto user = state.options.keys.find(presented_key(visit.request));
    if (!user) {
      return fail(visit, 401, ErrorCode::kInvalid,
                  "the API key is missing or wrong; expected Authorization: Bearer KEY");
    }
    visit.user = *user;
  } else if (const auto why = refuse_page(visit.request, names_this_machine(state.options.http.host))) {
    return fail(visit, 403, ErrorCode::kInvalid, *why);
  }
  const std::string& method = visit.request.method;
  const Route* path_only = nullptr;
  for (const std::span<const Route> routes : {std::span<const Route>(kRoutes), ollama_routes()}) {
    for (const Route& route : routes) {
      if (visit.request.path != route.path) continue;
      if (method == route.method || (method == "HEAD" && std::string_view(route.method) == "GET")) {
        return route.answer(state, visit);
      }
      path_only = &route;
    }
  }
  if (path_only) {
    return fail(visit, 405, ErrorCode::kInvalid,
                fmt::format("{} is asked for with {}", path_only->path, path_only->method));
  }
  fail(visit, 404, ErrorCode::kNotFound, "there is nothing at this address");
}

}  // namespace

bool answer_at_once(State& state, const Visit& visit) {
  const std::string& path = visit.request.path;
  if (visit.request.method != "GET" && visit.request.method != "HEAD") return false;
  if (path == "/") {  // clients of Ollama look here whether anybody is there
    HttpResponse response;
    response.content_type = "text/plain; charset=utf-8";
    response.body = "Kinglet is running";
    visit.writer->send(std::move(response));
    return true;
  }
  if (path != "/health" && path != "/health/live" && path != "/health/ready") return false;
  Json json = {{"status", "ok"}};
  int status = 200;
  if (path != "/health/live") {
    const std::lock_guard lock(state.mutex);
    if (!state.model) {
      status = 503;
      json = {{"status", "loading"}, {"stage", state.loading_stage}, {"progress", state.loading_fraction}};
    } else if (state.draining) {
      status = 503;
      json = {{"status", "draining"}, {"running", state.jobs.size()}};
    }
  }
  HttpResponse response;
  response.status = status;
  response.body = to_text(json);
  if (status == 503) response.headers.emplace_back("retry-after", "1");
  visit.writer->send(std::move(response));
  return true;
}

void answer_visit(State& state, Visit visit) {
  if (visit.writer->gone()) return;
  try {
    dispatch(state, visit);
  } catch (const std::bad_alloc&) {
    fail(visit, 503, ErrorCode::kResource, "there is not enough memory for this request");
  } catch (const std::exception&) {
    fail(visit, 500, ErrorCode::kIo, "the request could not be answered");
  }
}

}  // namespace kinglet::server
