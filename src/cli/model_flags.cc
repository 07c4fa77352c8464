#include "cli/model_flags.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "base/log.h"
#include "base/output_file.h"
#include "cli/files.h"
#include "cli/preset.h"
#include "cli/sampling_flags.h"
#include "cli/terminal.h"
#include "hub/model_reference.h"
#include "hub/pull.h"

namespace kinglet::cli {
namespace {

void report_notes(const Model& model) {
  for (const std::string& text : model.notes()) note(text);
}

Result<std::string> pull_model(Store& store, const ModelReference& reference) {
  KL_TRY(PullOptions options, PullOptions::from_environment());
  CancelOnInterrupt cancel;
  ProgressBar bar("pulling " + reference.name);
  options.cancel = cancel.flag();
  options.progress = [&bar](const PullProgress& p) {
    const double share = p.total ? static_cast<double>(p.done) / static_cast<double>(p.total) : 0.0;
    std::vector<std::string> details{fmt::format("{} of {}", human_bytes(p.done), human_bytes(p.total))};
    if (p.bytes_per_second > 0.0 && p.total > p.done) {
      details.push_back(human_bytes(static_cast<uint64_t>(p.bytes_per_second)) + "/s");
      details.push_back(human_duration(static_cast<double>(p.total - p.done) / p.bytes_per_second) + " left");
    }
    bar.update(share, details);
  };
  KL_TRY(const PullResult pulled, pull(store, reference, options));
  return pulled.model.path();
}

}  // namespace

void add_compute_flags(CLI::App& command, ModelFlags& flags) {
  check_range(command.add_option("-c,--ctx", flags.context,
                                 "Longest context in tokens (default: what the model and the memory allow)"),
              kContextRange);
  command.add_option("-t,--threads", flags.threads, "Threads; 0: one a core")->check(CLI::Range(0, 1024));
  command.add_option("--compute", flags.compute, "int8: fast, quantised activations; f32: exact")
      ->check(CLI::IsMember({"int8", "f32"}))
      ->capture_default_str();
  command.add_option("--kv", flags.kv, "Type of the key/value cache")
      ->check(CLI::IsMember({"f32", "f16", "q8_0"}))
      ->capture_default_str();
  command.add_option("--isa", flags.isa, "Force an instruction set (see `kinglet version`)");
  command.add_option("--memory", flags.memory_limit,
                     "Memory the model may take, such as 8GB (default: what is available)");
}

void add_speculation_flags(CLI::App& command, ModelFlags& flags) {
  command
      .add_option("--speculate", flags.speculate,
                  "Draft tokens and check them at once, where it is faster; the same answer")
      ->check(CLI::IsMember({"auto", "lookup", "off"}))
      ->capture_default_str();
  command.add_option("--draft", flags.draft, "A smaller model with the same vocabulary that drafts tokens");
  command.add_option("--draft-tokens", flags.draft_tokens, "Tokens of a draft at most")
      ->check(CLI::Range(int64_t{1}, SpeculationOptions::kMostTokens))
      ->capture_default_str();
}

Result<uint64_t> parse_bytes(const std::string& text) {
  size_t used = 0;
  double value = 0;
  const Error bad{ErrorCode::kInvalid, "\"" + text + "\" is no size; expected something like 8GB or 512MiB"};
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
    return bad;
  }
  struct {
    const char* unit;
    double factor;
  } const units[] = {{"", 1},
                     {"B", 1},
                     {"K", 1e3},
                     {"KB", 1e3},
                     {"KIB", 1024},
                     {"M", 1e6},
                     {"MB", 1e6},
                     {"MIB", 1048576},
                     {"G", 1e9},
                     {"GB", 1e9},
                     {"GIB", 1073741824},
                     {"T", 1e12},
                     {"TB", 1e12},
                     {"TIB", 1099511627776.0}};
  std::string unit;
  for (char c : text.substr(used))
    if (c != ' ') unit += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  for (const auto& u : units)
    if (unit == u.unit) {
      if (!(value > 0) || value * u.factor > 1e18) return bad;
      return static_cast<uint64_t>(value * u.factor);
    }
  return bad;
}

Result<ModelOptions> model_options(const ModelFlags& flags) {
  ModelOptions options;
  options.compute = flags.compute == "f32" ? ComputeMode::kF32 : ComputeMode::kInt8;
  options.kv_type = flags.kv == "f32" ? KvType::kF32 : flags.kv == "q8_0" ? KvType::kQ8_0 : KvType::kF16;
  options.isa = flags.isa;
  options.context = flags.context;
  options.threads = flags.threads;
  if (!flags.memory_limit.empty()) {
    KL_TRY(options.memory_limit, parse_bytes(flags.memory_limit));
  }
  return options;
}

Result<std::string> locate_model(const std::string& model) {
  if (model.empty()) return Error{ErrorCode::kInvalid, "the model's name is empty; `kinglet list` shows what there is"};
  std::string name = model;
  KL_TRY(const std::optional<Preset> preset, find_preset(name));
  if (preset) name = preset->model;
  Result<Store> store = Store::open_default();
  std::error_code ignored;
  if (!store.ok() && std::filesystem::exists(name, ignored)) return resolve_model_path(name);  // needs no store
  if (!store.ok()) return store.error();
  KL_TRY(const ModelReference reference, resolve_model(name, *store));
  if (!reference.path.empty()) return reference.path;
  return pull_model(*store, reference);
}

Result<std::shared_ptr<const Checkpoint>> open_model(const std::string& model, const OpenOptions& options) {
  KL_TRY(const std::string path, locate_model(model));
  return open_checkpoint(path, options);
}

Result<std::shared_ptr<const Checkpoint>> open_model_for(const std::string& output, const std::string& model,
                                                         std::vector<std::string> inputs) {
  KL_RETURN_IF_ERROR(check_output_file(output, inputs));  // the model may have to be fetched first
  KL_TRY(auto checkpoint, open_model(model));
  for (std::string& file : files_of(*checkpoint)) inputs.push_back(std::move(file));
  KL_RETURN_IF_ERROR(check_output_file(output, inputs));
  return checkpoint;
}

Result<std::vector<int32_t>> encode_text(const Tokenizer& tokenizer, std::string_view text,
                                         const EncodeOptions& options) {
  const EndOnSignal at_once;
  return tokenizer.encode(text, options);
}

Result<std::unique_ptr<Engine>> start_engine(std::shared_ptr<const Checkpoint> checkpoint, const ModelFlags& flags,
                                             int64_t max_sequences, const LoadProgress& progress) {
  LoadOptions options;
  KL_TRY(options.model, model_options(flags));
  options.engine.max_sequences = max_sequences;
  options.engine.speculation.lookup = flags.speculate != "off";
  options.engine.speculation.max_tokens = flags.draft_tokens;
  options.predict = flags.speculate == "auto";
  if (!flags.draft.empty() && flags.speculate == "auto") {
    auto draft = open_model(flags.draft);
    if (!draft.ok()) return draft.error().with_context("--draft");
    options.draft = std::move(draft).value();
  }
  ProgressBar bar("loading");
  const EndOnSignal at_once;
  options.progress = [&](const char* stage, double fraction) {
    bar.update(fraction, {stage});
    if (progress) progress(stage, fraction);
  };
  KL_TRY(std::unique_ptr<Engine> engine, load_engine(std::move(checkpoint), options));
  bar.clear();
  if (const Model* model = engine->model()) {
    report_notes(*model);
    log_info(fmt::format("instruction set {}, compute {}, KV {}, {} threads, context {} ({})", isa_name(model->isa()),
                         flags.compute, flags.kv, model->threads(), engine->context(), engine->context_reason()));
  }
  return engine;
}

Result<std::unique_ptr<StepModel>> start_step_model(std::shared_ptr<const Checkpoint> checkpoint,
                                                    const ModelFlags& flags, int64_t context_needed) {
  KL_TRY(ModelOptions options, model_options(flags));
  ProgressBar bar("loading");
  const EndOnSignal at_once;
  options.progress = [&bar](double fraction) { bar.update(fraction, {"weights"}); };
  KL_TRY(std::unique_ptr<StepModel> model, load_step_model(std::move(checkpoint), options, context_needed));
  if (model->model()) report_notes(*model->model());
  return model;
}

Result<std::unique_ptr<Model>> start_state_model(std::shared_ptr<const Checkpoint> checkpoint, const ModelFlags& flags,
                                                 int64_t context_needed) {
  KL_TRY(ModelOptions options, model_options(flags));
  options.page_positions = 16;  // many short texts at once
  ProgressBar bar("loading");
  const EndOnSignal at_once;
  options.progress = [&bar](double fraction) { bar.update(fraction, {"weights"}); };
  KL_TRY(std::unique_ptr<Model> model, load_state_model(std::move(checkpoint), options, context_needed));
  report_notes(*model);
  return model;
}

}  // namespace kinglet::cli
