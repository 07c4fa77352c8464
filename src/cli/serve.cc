// kinglet serve [MODEL]
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <map>
#include <memory>
#include <thread>

#include "base/log.h"
#include "cli/command.h"
#include "cli/config_file.h"
#include "cli/exit_code.h"
#include "cli/files.h"
#include "cli/model_flags.h"
#include "cli/preset.h"
#include "cli/sampling_flags.h"
#include "cli/terminal.h"
#include "hub/short_names.h"
#include "server/browser_guard.h"
#include "server/server.h"

namespace kinglet::cli {
namespace {

struct ServeFlags {
  ModelFlags model;
  SamplingFlags sampling;
  std::vector<std::string> aliases;
  std::string host = "127.0.0.1", key_file, certificate, key;
  int port = 8080;
  int64_t parallel = 8, drain_seconds = 30, max_body_mib = 32;
  bool allow_no_keys = false, no_access_log = false;
};

Result<server::ServerOptions> server_options(const ServeFlags& flags) {
  server::ServerOptions options;
  options.http.host = flags.host;
  options.http.port = static_cast<uint16_t>(flags.port);
  options.http.certificate = flags.certificate;
  options.http.key = flags.key;
  options.http.limits.body_bytes = static_cast<size_t>(flags.max_body_mib) << 20;
  if (!flags.key_file.empty()) {
    KL_TRY(const std::string text, read_text_file(flags.key_file));
    KL_TRY(options.keys, server::ApiKeys::parse(text, flags.key_file));
  }
  if (options.keys.empty() && !server::names_this_machine(flags.host) && !flags.allow_no_keys) {
    return Error{ErrorCode::kInvalid, fmt::format("--host {} lets other machines in, and there are no API keys: give "
                                                  "--api-key-file, or --allow-no-keys if everyone may",
                                                  flags.host)};
  }
  if (!flags.no_access_log) {
    options.access_log = [](const std::string& line) {
      const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
      std::tm parts{};
      gmtime_r(&now, &parts);
      char time[32];
      std::strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%SZ", &parts);
      write_error(fmt::format("time={} {}\n", time, line));
    };
  }
  return options;
}

// What clients call the model: a file by its name alone, since its folder is nobody's business.
std::string public_name(const std::string& model) {
  std::error_code ignored;
  if (!std::filesystem::exists(model, ignored)) return model;
  const std::filesystem::path path(model);
  const std::string name = path.has_filename() ? path.filename().string() : path.parent_path().filename().string();
  return name.ends_with(".gguf") ? name.substr(0, name.size() - 5) : name;
}

void describe(const Checkpoint& checkpoint, const Engine& engine, server::ServedModel::Description* description) {
  description->family = engine.model()->spec().family;
  description->file_format = checkpoint.format == CheckpointFormat::kGguf ? "gguf" : "safetensors";
  std::map<std::string_view, uint64_t> bytes_of;  // by type
  for (const TensorView& tensor : checkpoint.tensors) {
    description->parameters += tensor.elements();
    description->bytes += tensor.stored_bytes();
    bytes_of[dtype_info(tensor.dtype).name] += tensor.stored_bytes();
  }
  const auto most = std::ranges::max_element(bytes_of, {}, [](const auto& type) { return type.second; });
  description->quantisation = checkpoint.quantisation;
  if (checkpoint.quantisation.empty() && most != bytes_of.end()) description->quantisation = most->first;
}

Result<std::shared_ptr<server::ServedModel>> load(ServeFlags flags, server::Server& server) {
  const std::string name = flags.model.model;
  KL_TRY(const std::optional<Preset> preset, find_preset(name));
  if (preset) {
    flags.sampling.fill_from(preset->sampling);
    if (flags.model.draft.empty()) flags.model.draft = preset->draft.value_or("");
    if (flags.model.context == 0 && preset->context) flags.model.context = *preset->context;
  }
  server.report_loading("opening", 0.0);
  KL_TRY(const auto checkpoint, open_model(name));
  const auto progress = [&server](const char* stage, double fraction) { server.report_loading(stage, fraction); };
  KL_TRY(std::unique_ptr<Engine> engine, start_engine(checkpoint, flags.model, flags.parallel, progress));
  KL_TRY(ChatFormat format, ChatFormat::create(*checkpoint, engine->tokenizer()));
  if (!format.uses_template()) note("the model has no chat template: messages go in as plain lines");
  server::ServedModel::Description description;
  description.names = {public_name(name)};
  for (const std::string& alias : flags.aliases) description.names.push_back(alias);
  description.created = std::time(nullptr);
  describe(*checkpoint, *engine, &description);
  KL_TRY(const SamplingParams checked, sampling_params(flags.sampling));
  description.advice = flags.sampling;
  description.advice.logit_bias = checked.logit_bias;
  description.advice.fill_from(model_advice(*checkpoint));
  return std::make_shared<server::ServedModel>(std::move(engine), std::move(format), std::move(description));
}

// Until a signal comes; then what runs may end, until time or another signal ends it.
int wait_and_drain(server::Server& server, std::chrono::seconds limit) {
  constexpr auto kPause = std::chrono::milliseconds(20);
  while (!interrupted() && !terminated()) std::this_thread::sleep_for(kPause);
  const int code = terminated() ? kExitOk : kExitInterrupted;
  const int seen = signals_caught();
  server.refuse_new();
  note(fmt::format("draining: {} requests run; a second signal ends them", server.running()));
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (server.running() > 0 && std::chrono::steady_clock::now() < deadline && signals_caught() == seen) {
    std::this_thread::sleep_for(kPause);
  }
  if (const int64_t left = server.running(); left > 0) note(fmt::format("{} requests are cancelled", left));
  std::this_thread::sleep_for(kPause);  // last bytes
  server.stop();
  return code;
}

Result<int> serve(const ServeFlags& flags) {
  KL_TRY(server::ServerOptions options, server_options(flags));
  KL_TRY(const auto server, server::Server::start(std::move(options)));
  const char* scheme = flags.certificate.empty() ? "http" : "https";
  const std::string host = flags.host.find(':') == std::string::npos ? flags.host : "[" + flags.host + "]";
  note(fmt::format("listening on {}://{}:{}", scheme, host, server->port()));
  KL_TRY(const auto model, load(flags, *server));
  server->serve(model);
  note(fmt::format("ready: {} (context {}, {} at once)", model->description().names.front(),
                   model->engine().context_reason(), flags.parallel));
  return wait_and_drain(*server, std::chrono::seconds(flags.drain_seconds));
}

}  // namespace

void add_serve(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("serve", "Put a model behind the HTTP APIs of OpenAI, Anthropic and Ollama");
  auto flags = std::make_shared<ServeFlags>();
  flags->model.model = std::string(kDefaultModel);
  command->add_option("MODEL", flags->model.model, "The model; left out, the default one");
  command->add_option("--alias", flags->aliases, "Another name for the model; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--host", flags->host, "Address to listen on")->capture_default_str();
  command->add_option("--port", flags->port, "Port to listen on; 0: any free one")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command->add_option("--api-key-file", flags->key_file, "File of keys: lines of NAME and the key's SHA-256");
  command->add_flag("--allow-no-keys", flags->allow_no_keys, "Let other machines in without keys");
  command->add_option("--tls-cert", flags->certificate, "Certificate chain (PEM); with --tls-key");
  command->add_option("--tls-key", flags->key, "Its private key (PEM)");
  command->add_option("--parallel", flags->parallel, "Requests computed at once; more wait")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command->add_option("--drain-timeout", flags->drain_seconds, "Seconds that running requests get after SIGTERM")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
  command->add_option("--max-body", flags->max_body_mib, "Largest request body in MiB")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_flag("--no-access-log", flags->no_access_log, "No line for each request");
  add_compute_flags(*command, flags->model);
  add_speculation_flags(*command, flags->model);
  add_sampling_flags(*command, flags->sampling);
  command->footer(examples({"kinglet serve", "kinglet serve qwen3:0.6b --port 8000 --alias gpt-4o-mini",
                            "kinglet serve smollm2 --host 0.0.0.0 --api-key-file keys.txt"}));
  command->callback([&invocation, flags] { invocation.action = [flags] { return serve(*flags); }; });
}

}  // namespace kinglet::cli
