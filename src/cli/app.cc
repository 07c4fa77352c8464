#include "cli/app.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <clocale>
#include <csignal>
#include <cstdlib>
#include <span>
#include <vector>

#include "base/log.h"
#include "base/near_match.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/preset.h"
#include "cli/terminal.h"

namespace kinglet::cli {
namespace {

constexpr const char* kFooter =
    "MODEL is a name in the store, a short name (qwen3:0.6b), a GGUF file or Hugging Face folder, or\n"
    "hf:org/repo[:file or quant][@revision], or the name of a preset.\n"
    "\nConfiguration file: defaults for flags, a section a command, such as\n"
    "  [run]\n"
    "  temp = 0.5\n"
    "  ctx = 8192\n"
    "Flags win over it, and it wins over presets.\n"
    "\nExit codes: 0 fine, 1 malformed input, 2 wrong flags, 3 not found, 4 unsupported, 5 out of memory or disk,\n"
    "6 input/output, 7 network, 130 interrupted, 143 terminated.\n";

void add_commands(CLI::App& app, Invocation& invocation) {
  for (auto* add : {add_run, add_models, add_inspect, add_tokenize, add_render, add_logits, add_perplexity, add_bench,
                    add_convert, add_quantize, add_imatrix, add_preset, add_completion, add_version})
    add(app, invocation);
}

int report(const Error& error) {
  fmt::print(stderr, "{}error:{} {}\n", style_code(Style::kRed, true), style_code(Style::kPlain, true), error.message);
  return exit_code_of(error);
}

// What is wrong with the arguments. CLI11 reports an unknown command only as a missing one.
std::string usage_problem(const CLI::App& app, const CLI::ParseError& error, std::span<char* const> arguments) {
  const auto word = std::find_if(arguments.begin(), arguments.end(), [](const char* a) { return *a != '-'; });
  if (!app.get_subcommands().empty() || word == arguments.end()) return error.what();
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands(nullptr)) names.push_back(command->get_name());
  const std::vector<std::string_view> views(names.begin(), names.end());
  return fmt::format("\"{}\" is no command; the nearest are {}", *word, nearest_names(*word, views, 3));
}

int report_usage(const CLI::App& app, const CLI::ParseError& error, std::span<char* const> arguments) {
  report({ErrorCode::kInvalid, usage_problem(app, error, arguments)});
  const auto chosen = app.get_subcommands();
  fmt::print(stderr, "see `kinglet {}--help`\n", chosen.empty() ? "" : chosen.front()->get_name() + " ");
  return kExitUsage;
}

}  // namespace

ExitCode exit_code_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalid:
      return kExitInvalid;
    case ErrorCode::kNotFound:
      return kExitNotFound;
    case ErrorCode::kUnsupported:
      return kExitUnsupported;
    case ErrorCode::kResource:
      return kExitResource;
    case ErrorCode::kIo:
      return kExitIo;
    case ErrorCode::kNetwork:
      return kExitNetwork;
    case ErrorCode::kCancelled:
      return terminated() ? kExitTerminated : kExitInterrupted;
  }
  return kExitInvalid;
}

std::string examples(std::initializer_list<const char*> lines) {
  std::string text = "Examples:\n";
  for (const char* line : lines) text += fmt::format("  {}\n", line);
  return text;
}

int run_command_line(int argc, char** argv) {
  std::setlocale(LC_CTYPE, "");   // wide characters on the terminal
  std::signal(SIGPIPE, SIG_IGN);  // write_out() notices
  CLI::App app{"Kinglet runs open-weight language models on the processor you have.", "kinglet"};
  app.require_subcommand(1);
  app.footer(kFooter);
  Invocation invocation;
  app.add_flag("-v,--verbose", invocation.verbose, "Log what is going on to standard error");
  app.add_flag("-q,--quiet", invocation.quiet, "No bars and no notes");
  const char* named = std::getenv("KINGLET_CONFIG");
  const std::string folder = config_folder(), file = named ? named : folder.empty() ? "" : folder + "/config.toml";
  app.set_config("--config", file, "Configuration file (or KINGLET_CONFIG)", named != nullptr);
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.fallthrough();
  add_commands(app, invocation);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    return report_usage(app, error, std::span(argv, static_cast<size_t>(argc)).subspan(1));
  }
  if (invocation.verbose) set_log_level(LogLevel::kInfo);
  set_quiet(invocation.quiet);
  catch_interrupts();
  const Result<int> outcome = invocation.action();
  return outcome.ok() ? *outcome : report(outcome.error());
}

}  // namespace kinglet::cli
