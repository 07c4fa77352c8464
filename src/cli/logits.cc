// kinglet logits MODEL (--tokens "1 2 3" | --prompt T) -o out.npy
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <memory>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/model_flags.h"
#include "cli/npy.h"
#include "cli/terminal.h"
#include "engine/score.h"

namespace kinglet::cli {
namespace {

struct LogitsFlags {
  ModelFlags model;
  std::string tokens, prompt, output;
  int64_t chunk = 0;
};

Result<std::vector<int32_t>> parse_tokens(const std::string& text) {
  std::vector<int32_t> tokens;
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    if (*at == ' ' || *at == ',' || *at == '\n' || *at == '\t') {
      at++;
      continue;
    }
    int32_t token = 0;
    const auto [next, code] = std::from_chars(at, end, token);
    if (code != std::errc())
      return Error{ErrorCode::kInvalid,
                   fmt::format("--tokens: found \"{}\", expected numbers",
                               std::string(at, std::min<size_t>(20, static_cast<size_t>(end - at))))};
    tokens.push_back(token);
    at = next;
  }
  return tokens;
}

Result<int> logits(const LogitsFlags& flags) {
  const bool piped = flags.output == "-";
  KL_TRY(const auto checkpoint,
         piped ? open_model(flags.model.model) : open_model_for(flags.output, flags.model.model));
  std::vector<int32_t> tokens;
  if (!flags.prompt.empty()) {
    KL_TRY(const auto tokenizer, Tokenizer::from_checkpoint(*checkpoint));
    KL_TRY(tokens, encode_text(*tokenizer, flags.prompt));
  } else {
    KL_TRY(tokens, parse_tokens(flags.tokens));
  }
  KL_TRY(const auto model, start_step_model(checkpoint, flags.model, static_cast<int64_t>(tokens.size())));
  KL_TRY(NpyWriter file, NpyWriter::create(flags.output, static_cast<int64_t>(tokens.size()), model->vocabulary()));
  ProgressBar bar("logits");
  ScoreOptions options;
  options.chunk = flags.chunk;
  KL_RETURN_IF_ERROR(score_tokens(*model, tokens, options, [&](int64_t position, std::span<const float> row) -> Status {
    if (interrupted() || terminated()) return Error{ErrorCode::kCancelled, "interrupted"};
    bar.update(static_cast<double>(position) / static_cast<double>(tokens.size()));
    return file.write_row(row);
  }));
  KL_RETURN_IF_ERROR(file.finish());
  return kExitOk;
}

}  // namespace

void add_logits(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("logits", "Write the logits of every token of a text to a .npy file");
  auto flags = std::make_shared<LogitsFlags>();
  command->add_option("MODEL", flags->model.model, "The model")->required();
  auto* group = command->add_option_group("input");
  group->add_option("--tokens", flags->tokens, "Token ids, separated by spaces (needs no tokenizer)");
  group->add_option("--prompt", flags->prompt, "A text");
  group->require_option(1);
  command
      ->add_option("-o,--output", flags->output, "The file to write: float32 [tokens, vocabulary]; -: standard output")
      ->required();
  command->add_option("--chunk", flags->chunk, "Tokens in a step (the logits are the same for all)")
      ->check(CLI::Range(0, 512));
  add_compute_flags(*command, flags->model);
  command->footer(examples({"kinglet logits smollm2 --prompt \"The sky is\" -o out.npy",
                            "kinglet logits model.gguf --tokens \"1 2 3\" --compute f32 -o out.npy"}));
  command->callback([&invocation, flags] { invocation.action = [flags] { return logits(*flags); }; });
}

}  // namespace kinglet::cli
