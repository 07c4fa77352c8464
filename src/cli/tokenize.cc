// kinglet tokenize MODEL [TEXT]
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/files.h"
#include "cli/json_text.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"

namespace kinglet::cli {
namespace {

struct TokenizeFlags {
  std::string model;
  std::optional<std::string> text;
  bool ids = false, json = false, no_special = false;
};

// A token's text with control characters made visible.
std::string visible(std::string_view bytes) {
  const std::string quoted =
      nlohmann::json(std::string(bytes)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return quoted;
}

Result<int> tokenize(const TokenizeFlags& flags) {
  std::string text;
  if (flags.text) {
    text = *flags.text;
  } else {
    KL_TRY(text, read_standard_input());
  }
  KL_TRY(const auto checkpoint, open_model(flags.model, {.vocabulary_only = true}));
  KL_TRY(const auto tokenizer, Tokenizer::from_checkpoint(*checkpoint));
  KL_TRY(const std::vector<int32_t> ids,
         encode_text(*tokenizer, text, {.add_special = !flags.no_special, .parse_special = !flags.no_special}));
  std::string out;
  if (flags.ids) {
    out = fmt::format("{}\n", fmt::join(ids, " "));
  } else if (flags.json) {
    nlohmann::json tokens = nlohmann::json::array();
    for (int32_t id : ids) tokens.push_back({{"id", id}, {"text", std::string(tokenizer->token_bytes(id))}});
    out = json_text(tokens);
  } else {
    for (int32_t id : ids) out += fmt::format("{:>8}  {}\n", id, visible(tokenizer->token_bytes(id)));
  }
  return write_out(out) ? kExitOk : kExitBrokenPipe;
}

}  // namespace

void add_tokenize(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("tokenize", "Show how a model cuts a text into tokens");
  auto flags = std::make_shared<TokenizeFlags>();
  command->add_option("MODEL", flags->model, "The model")->required();
  command->add_option("TEXT", flags->text, "The text (default: standard input)");
  auto* ids = command->add_flag("--ids", flags->ids, "Print the ids alone, on one line");
  command->add_flag("--json", flags->json, "Print a JSON array of {id, text}")->excludes(ids);
  command->add_flag("--no-special", flags->no_special,
                    "Add no BOS or EOS, and read special tokens in the text as plain text");
  command->footer(
      examples({"kinglet tokenize smollm2 \"Hello, world\"", "kinglet tokenize smollm2 --ids < README.md"}));
  command->callback([&invocation, flags] { invocation.action = [flags] { return tokenize(*flags); }; });
}

}  // namespace kinglet::cli
