#include "cli/model_flags.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/log.h"
#include "cli/preset.h"
#include "cli/terminal.h"
#include "hub/pull.h"

namespace kinglet::cli {
namespace {

constexpr size_t kMaxText = size_t{64} << 20;

// What a load that Ctrl-C interrupted comes to.
Status check_interrupt() {
  if (interrupted() || terminated()) return Error{ErrorCode::kCancelled, "interrupted"};
  return {};
}

void report_notes(const Model& model) {
  for (const std::string& text : model.notes()) note(text);
}

}  // namespace

void add_compute_flags(CLI::App& command, ModelFlags& flags) {
  command
      .add_option("-c,--ctx", flags.context, "Longest context in tokens (default: what the model and the memory allow)")
      ->check(CLI::Range(int64_t{0}, kMostTokens));
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
  if (const auto preset = find_preset(name)) name = preset->model;
  KL_TRY(Store store, Store::open_default());
  KL_TRY(PullOptions options, PullOptions::from_environment());
  CancelOnInterrupt cancel;
  ProgressBar bar("pulling " + name);
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
  KL_TRY(const ModelReference reference, obtain_model(store, name, options));
  return reference.path;
}

Result<std::shared_ptr<const Checkpoint>> open_model(const std::string& model, const OpenOptions& options) {
  KL_TRY(const std::string path, locate_model(model));
  return open_checkpoint(path, options);
}

Result<std::unique_ptr<Engine>> start_engine(std::shared_ptr<const Checkpoint> checkpoint, const ModelFlags& flags,
                                             int64_t max_sequences) {
  LoadOptions options;
  KL_TRY(options.model, model_options(flags));
  options.engine.max_sequences = max_sequences;
  ProgressBar bar("loading");
  options.progress = [&bar](const char* stage, double fraction) { bar.update(fraction, {stage}); };
  KL_TRY(std::unique_ptr<Engine> engine, load_engine(std::move(checkpoint), options));
  bar.clear();
  KL_RETURN_IF_ERROR(check_interrupt());
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
  options.progress = [&bar](double fraction) { bar.update(fraction, {"weights"}); };
  KL_TRY(std::unique_ptr<StepModel> model, load_step_model(std::move(checkpoint), options, context_needed));
  KL_RETURN_IF_ERROR(check_interrupt());
  if (model->model()) report_notes(*model->model());
  return model;
}

Result<std::unique_ptr<Model>> start_state_model(std::shared_ptr<const Checkpoint> checkpoint, const ModelFlags& flags,
                                                 int64_t context_needed) {
  KL_TRY(ModelOptions options, model_options(flags));
  options.page_positions = 16;  // many short texts at once
  ProgressBar bar("loading");
  options.progress = [&bar](double fraction) { bar.update(fraction, {"weights"}); };
  KL_TRY(std::unique_ptr<Model> model, load_state_model(std::move(checkpoint), options, context_needed));
  KL_RETURN_IF_ERROR(check_interrupt());
  report_notes(*model);
  return model;
}

Result<std::string> read_standard_input() {
  const CancelOnInterrupt wake(true);
  std::string text;
  char buffer[65536];
  for (;;) {
    const ssize_t got = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) {
      if (interrupted() || terminated())
        return Error{ErrorCode::kCancelled, "interrupted while reading standard input"};
      continue;
    }
    if (got < 0) return Error{ErrorCode::kIo, std::string("cannot read standard input: ") + std::strerror(errno)};
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > kMaxText) return Error{ErrorCode::kResource, "standard input is longer than 64 MiB"};
  }
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    if (lines.back().ends_with('\r')) lines.back().pop_back();
    at = end + 1;
  }
  return lines;
}

Result<std::string> read_text_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error{errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, path + ": " + std::strerror(errno)};
  std::string text(kMaxText + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return Error{ErrorCode::kIo, path + ": cannot be read"};
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kMaxText) return Error{ErrorCode::kResource, path + ": longer than 64 MiB"};
  return text;
}

Status check_replaceable(const std::string& path) {
  std::error_code ignored;
  const auto there = std::filesystem::status(path, ignored);
  if (!std::filesystem::exists(there) || std::filesystem::is_regular_file(there)) return {};
  return Error{ErrorCode::kIo, path + ": cannot be written: it is not a regular file"};
}

Status write_text_file(const std::string& path, const std::string& text) {
  KL_RETURN_IF_ERROR(check_replaceable(path));
  const std::string temporary = path + ".new";
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (file && std::rename(temporary.c_str(), path.c_str()) == 0) return {};
  const Error error = cannot_write(path, errno);
  std::remove(temporary.c_str());
  return error;
}

}  // namespace kinglet::cli
