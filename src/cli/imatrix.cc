// kinglet imatrix MODEL FILE -o OUT
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/files.h"
#include "cli/json_text.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "convert/input_squares.h"
#include "engine/score.h"

namespace kinglet::cli {
namespace {

struct ImatrixFlags {
  ModelFlags model;
  std::string file, out;
  int64_t window = 512;
  bool json = false;
};

// Runs the text through the model, window by window, each from an empty cache; returns how many there were.
Result<int64_t> run_windows(StepModel& model, std::span<const int32_t> tokens, int64_t size, int32_t bos) {
  ProgressBar bar("imatrix");
  const int64_t places = size - (bos >= 0 ? 1 : 0);
  int64_t windows = 0;
  for (int64_t begin = 0; begin < std::ssize(tokens); begin += places, ++windows) {
    const int64_t count = std::min(places, std::ssize(tokens) - begin);
    const auto text = tokens.subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
    std::vector<int32_t> window(text.begin(), text.end());
    if (bos >= 0) window.insert(window.begin(), bos);
    ScoreOptions options;
    options.first_position = std::ssize(window);  // no logits: the output head is not measured
    KL_RETURN_IF_ERROR(score_tokens(model, window, options, [](int64_t, std::span<const float>) { return Status(); }));
    bar.update(static_cast<double>(begin + count) / static_cast<double>(tokens.size()));
    if (interrupted() || terminated()) return Error{ErrorCode::kCancelled, "interrupted"};
  }
  bar.clear();
  return windows;
}

// Experts that the text never reached: their columns count all the same.
int64_t unmet(const std::map<std::string, convert::MeasuredInputs>& measured) {
  int64_t parts = 0;
  for (const auto& [name, inputs] : measured) parts += std::count(inputs.counts.begin(), inputs.counts.end(), 0);
  return parts;
}

Result<int> measure(const ImatrixFlags& flags) {
  // Standard input may be a file, too.
  KL_TRY(const auto checkpoint,
         open_model_for(flags.out, flags.model.model, {flags.file == "-" ? "/dev/stdin" : flags.file}));
  std::string text;
  if (flags.file == "-") {
    KL_TRY(text, read_standard_input());
  } else {
    KL_TRY(text, read_text_file(flags.file));
  }
  KL_TRY(const auto tokenizer, Tokenizer::from_checkpoint(*checkpoint));
  KL_TRY(const std::vector<int32_t> tokens,
         encode_text(*tokenizer, text, {.add_special = false, .parse_special = false}));
  if (tokens.empty()) return Error{ErrorCode::kInvalid, flags.file + ": found no text to measure with"};
  KL_TRY(const BoundModel bound, bind_model(*checkpoint));
  KL_TRY(convert::InputSquares squares, convert::InputSquares::create(bound));
  KL_TRY(const auto model, start_step_model(checkpoint, flags.model, flags.window));
  const ObserveProducts observed(squares);
  const int64_t window = std::min(flags.window, model->context());
  const bool has_bos = tokenizer->adds_bos() && tokenizer->special().bos;
  KL_TRY(const int64_t windows, run_windows(*model, tokens, window, has_bos ? *tokenizer->special().bos : -1));
  const std::string source =
      flags.file == "-" ? "standard input" : std::filesystem::path(flags.file).filename().string();
  KL_RETURN_IF_ERROR(convert::write_importance(flags.out, squares.measured(), window, source));
  const size_t matrices = squares.measured().size();
  const int64_t parts = unmet(squares.measured());
  if (parts > 0) note(fmt::format("{} experts' matrices were never reached; a longer text may reach them", parts));
  const nlohmann::json facts = {{"file", flags.out},  {"matrices", matrices}, {"tokens", tokens.size()},
                                {"windows", windows}, {"window", window},     {"unmet", parts}};
  return write_out(flags.json ? json_text(facts)
                              : fmt::format("{}: {} matrices, {} tokens in {} windows of {}\n", flags.out, matrices,
                                            tokens.size(), windows, window))
             ? kExitOk
             : kExitBrokenPipe;
}

}  // namespace

void add_imatrix(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("imatrix", "Measure which columns of a model's matrices matter, for quantize");
  auto flags = std::make_shared<ImatrixFlags>();
  command->add_option("MODEL", flags->model.model, "The model, best one that is not quantised")->required();
  command->add_option("FILE", flags->file, "A text file like what the model will be used for; -: standard input")
      ->required();
  command->add_option("-o,--output", flags->out, "The importance matrix to write (GGUF)")->required();
  command->add_option("--window", flags->window, "Tokens of a window")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print a JSON object");
  add_compute_flags(*command, flags->model);
  command->footer(examples({"kinglet imatrix model-f16.gguf text.txt -o model.imatrix",
                            "kinglet quantize model-f16.gguf model-q4.gguf Q4_K_M --imatrix model.imatrix"}));
  command->callback([&invocation, flags] { invocation.action = [flags] { return measure(*flags); }; });
}

}  // namespace kinglet::cli
