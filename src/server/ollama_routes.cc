#include <fmt/format.h>

#include "base/hash.h"
#include "server/json_fields.h"
#include "server/ollama.h"
#include "server/routes.h"

namespace kinglet::server {
namespace {

using State = Server::State;

// The version of Ollama whose API this is: clients ask for it and refuse old ones.
constexpr const char* kApiVersion = "0.12.0";

std::shared_ptr<const ServedModel> named_model(State& state, const Visit& visit, const std::string& name) {
  const auto current = state.current_model();
  const bool as_it_is = current && current->has_name(name);
  return model_for(state, visit, as_it_is ? name : ollama_plain_name(name));
}

// The field has another name in this dialect than where grammars are compiled.
Error in_own_words(Error error) {
  constexpr std::string_view kOther = "response_format", kOwn = "format";
  if (error.message.starts_with(kOther)) error.message.replace(0, kOther.size(), kOwn);
  return error;
}

void answer(State& state, const Visit& visit, const Result<OllamaCall>& call, OllamaAnswer kind) {
  if (!call.ok()) return fail(visit, call.error());
  const CallOptions& options = call->options();
  const auto model = named_model(state, visit, options.model);
  if (!model) return;
  if (const int64_t there = model->engine().context(); call->context > there) {
    return fail(visit, 400, ErrorCode::kInvalid,
                fmt::format("options.num_ctx: found {}, and the context here has {} tokens; ask for no more, or start "
                            "the server with --ctx {}",
                            call->context, there, call->context));
  }
  const std::string name = options.model.empty() ? model->description().names.front() : options.model;
  if (call->only_loads) return reply(visit, ollama_loaded(kind, name));
  auto requests = std::visit([&](const auto& one) { return model->requests(one); }, call->call);
  if (!requests.ok()) return fail(visit, in_own_words(requests.error()));
  state.run(visit, *model, std::move(requests).value(), ollama_format(kind, name), options.stream,
            error_format_of(visit));
}

void chat(State& state, const Visit& visit) {
  answer(state, visit, ollama_chat_call(visit.request.body), OllamaAnswer::kChat);
}

void generate(State& state, const Visit& visit) {
  answer(state, visit, ollama_generate_call(visit.request.body), OllamaAnswer::kGenerate);
}

std::string parameter_size(int64_t parameters) {
  if (parameters >= 1'000'000'000) return fmt::format("{:.1f}B", static_cast<double>(parameters) / 1e9);
  return fmt::format("{:.2f}M", static_cast<double>(parameters) / 1e6);
}

Json details_of(const ServedModel& model) {
  const ServedModel::Description& d = model.description();
  return {{"parent_model", ""},
          {"format", d.file_format},
          {"family", d.family},
          {"families", Json::array({d.family})},
          {"parameter_size", parameter_size(d.parameters)},
          {"quantization_level", d.quantisation}};
}

// What lists of models say of the model under one of its names.
Json entry(const ServedModel& model, const std::string& name) {
  const ServedModel::Description& d = model.description();
  const std::string tagged = ollama_tagged_name(name);
  // Clients cut digests to a length, so there has to be one. It tells models apart and verifies nothing.
  const std::string facts =
      fmt::format("{}\n{}\n{}\n{}\n{}", d.names.front(), d.family, d.quantisation, d.parameters, d.bytes);
  return {{"name", tagged},
          {"model", tagged},
          {"size", d.bytes},
          {"digest", sha256_hex(std::string_view(facts))},
          {"details", details_of(model)}};
}

void tags(State& state, const Visit& visit) {
  Json models = Json::array();
  if (const auto model = state.current_model()) {
    for (const std::string& name : model->description().names) {
      Json one = entry(*model, name);
      one["modified_at"] = ollama_time(model->description().created);
      models.push_back(std::move(one));
    }
  }
  reply(visit, to_text({{"models", std::move(models)}}));
}

void ps(State& state, const Visit& visit) {
  Json models = Json::array();
  if (const auto model = state.current_model()) {
    Json one = entry(*model, model->description().names.front());
    one["expires_at"] = "9999-12-31T23:59:59Z";  // never
    one["size_vram"] = 0;
    one["context_length"] = model->engine().context();
    models.push_back(std::move(one));
  }
  reply(visit, to_text({{"models", std::move(models)}}));
}

Json capabilities_of(const ServedModel& model) {
  Json list = Json::array({"completion"});
  if (model.format().markers()) list.push_back("thinking");
  return list;
}

void show(State& state, const Visit& visit) {
  const auto name = ollama_model_field(visit.request.body);
  if (!name.ok()) return fail(visit, name.error());
  const auto model = named_model(state, visit, *name);
  if (!model) return;
  const ServedModel::Description& d = model->description();
  const std::string family = d.family.empty() ? "model" : d.family;
  const ChatFormat& format = model->format();
  reply(visit, to_text({{"license", ""},
                        {"modelfile", ""},
                        {"parameters", fmt::format("num_ctx {}", model->engine().context())},
                        {"template", format.uses_template() ? format.chat_template()->source() : std::string()},
                        {"details", details_of(*model)},
                        {"model_info",
                         {{"general.architecture", family},
                          {"general.parameter_count", d.parameters},
                          {family + ".context_length", model->engine().context()}}},
                        {"capabilities", capabilities_of(*model)},
                        {"modified_at", ollama_time(d.created)}}));
}

void version(State&, const Visit& visit) {
  reply(visit, to_text({{"version", kApiVersion}, {"kinglet", KINGLET_VERSION}}));
}

// Models come and go with the server's command line, not over the network.
void not_here(State&, const Visit& visit) {
  fail(visit, 501, ErrorCode::kUnsupported,
       fmt::format("{} is not available: this server has the model that it was started with, for answers alone; "
                   "`kinglet pull` gets others",
                   visit.request.path));
}

constexpr Route kRoutes[] = {
    {"POST", "/api/chat", chat},
    {"POST", "/api/generate", generate},
    {"GET", "/api/tags", tags},
    {"GET", "/api/ps", ps},
    {"POST", "/api/show", show},
    {"GET", "/api/version", version},
    {"POST", "/api/pull", not_here},
    {"POST", "/api/push", not_here},
    {"POST", "/api/create", not_here},
    {"POST", "/api/copy", not_here},
    {"DELETE", "/api/delete", not_here},
    {"POST", "/api/embed", not_here},
    {"POST", "/api/embeddings", not_here},
};

}  // namespace

std::span<const Route> ollama_routes() {
  return kRoutes;
}

}  // namespace kinglet::server
