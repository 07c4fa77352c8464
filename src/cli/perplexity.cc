// kinglet perplexity MODEL FILE
#include "eval/perplexity.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/files.h"
#include "cli/json_text.h"
#include "cli/model_flags.h"
#include "cli/sampling_flags.h"
#include "cli/terminal.h"

namespace kinglet::cli {
namespace {

struct PerplexityFlags {
  ModelFlags model;
  std::string file;
  int64_t window = 512, stride = 0;
  bool json = false;
};

Result<int> measure(const PerplexityFlags& flags) {
  std::string text;
  if (flags.file == "-") {
    KL_TRY(text, read_standard_input());
  } else {
    KL_TRY(text, read_text_file(flags.file));
  }
  KL_TRY(const auto checkpoint, open_model(flags.model.model));
  KL_TRY(const auto tokenizer, Tokenizer::from_checkpoint(*checkpoint));
  KL_TRY(const std::vector<int32_t> tokens,
         encode_text(*tokenizer, text, {.add_special = false, .parse_special = false}));
  KL_TRY(const auto model, start_step_model(checkpoint, flags.model, flags.window));
  ProgressBar bar("perplexity");
  PerplexityOptions options;
  options.context = flags.window;
  options.stride = flags.stride;
  if (tokenizer->adds_bos() && tokenizer->special().bos) options.bos = *tokenizer->special().bos;
  options.progress = [&bar](int64_t scored, int64_t total) {
    bar.update(static_cast<double>(scored) / static_cast<double>(total));
    return !interrupted() && !terminated();
  };
  KL_TRY(const PerplexityResult r, perplexity(*model, tokens, options));
  bar.clear();
  const nlohmann::json facts = {{"perplexity", r.perplexity},
                                {"perplexity_stderr", r.perplexity_stderr},
                                {"nll", r.nll},
                                {"nll_stderr", r.nll_stderr},
                                {"tokens", r.tokens},
                                {"windows", r.windows},
                                {"window", flags.window},
                                {"compute", flags.model.compute}};
  const std::string out =
      flags.json
          ? json_text(facts)
          : fmt::format("perplexity {:.4f} +/- {:.4f}  ({} tokens scored in {} windows of {}, compute {})\n",
                        r.perplexity, r.perplexity_stderr, r.tokens, r.windows, flags.window, flags.model.compute);
  return write_out(out) ? kExitOk : kExitBrokenPipe;
}

}  // namespace

void add_perplexity(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("perplexity", "Measure how well a model predicts a text");
  auto flags = std::make_shared<PerplexityFlags>();
  command->add_option("MODEL", flags->model.model, "The model")->required();
  command->add_option("FILE", flags->file, "A text file; -: standard input")->required();
  command->add_option("--window", flags->window, "Tokens of a window")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  command->add_option("--stride", flags->stride, "Tokens from one window to the next (default: the window)")
      ->check(CLI::Range(int64_t{0}, kMostTokens));
  command->add_flag("--json", flags->json, "Print a JSON object");
  add_compute_flags(*command, flags->model);
  command->footer(examples({"kinglet perplexity smollm2 README.md",
                            "kinglet perplexity model.gguf text.txt --compute f32 --window 1024 --json"}));
  command->callback([&invocation, flags] { invocation.action = [flags] { return measure(*flags); }; });
}

}  // namespace kinglet::cli
