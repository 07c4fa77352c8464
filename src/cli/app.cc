#include "cli/app.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <clocale>
#include <csignal>
#include <new>
#include <sstream>
#include <vector>

#include "base/log.h"
#include "cli/command.h"
#include "cli/config_file.h"
#include "cli/exit_code.h"
#include "cli/preset.h"
#include "cli/terminal.h"
#include "cli/usage.h"

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
  for (auto* add :
       {add_run, add_serve, add_models, add_inspect, add_tokenize, add_render, add_logits, add_embed, add_rerank,
        add_perplexity, add_bench, add_convert, add_quantize, add_imatrix, add_preset, add_completion, add_version})
    add(app, invocation);
}

int report(const Error& error) {
  write_error(
      fmt::format("{}error:{} {}\n", style_code(Style::kRed, true), style_code(Style::kPlain, true), error.message));
  return exit_code_of(error);
}

int report_config(const Error& error) {
  report(error);
  write_error("see `kinglet --help`\n");
  return kExitUsage;
}

int report_usage(const CLI::App& app, const ConfigFile& config, const CLI::ParseError& error) {
  if (config.error()) return report_config(*config.error());
  report({ErrorCode::kInvalid, config.place_of(error) + usage_problem(app, error)});
  write_error(fmt::format("see `{} --help`\n", command_in_full(app)));
  return kExitUsage;
}

// The words of the command line as the library wants them, the last one first. `kinglet help run` is what many type.
std::vector<std::string> words_of(int argc, char** argv) {
  std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  if (!words.empty() && words.front() == "help") {
    words.erase(words.begin());
    words.emplace_back("--help");
  }
  std::reverse(words.begin(), words.end());
  return words;
}

// The exit code of a command, after what kept it from saying all it had to say.
int conclude(const Result<int>& outcome) {
  const int failure = output_failure();
  if (failure == EPIPE) return kExitBrokenPipe;
  if (failure != 0 && (!outcome.ok() || *outcome == kExitBrokenPipe))
    return report(cannot_write("standard output", failure));
  return outcome.ok() ? *outcome : report(outcome.error());
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
  occupy_standard_streams();
  std::setlocale(LC_CTYPE, "");   // wide characters on the terminal
  std::signal(SIGPIPE, SIG_IGN);  // write_out() notices
  CLI::App app{"Kinglet runs open-weight language models on the processor you have.", "kinglet"};
  app.require_subcommand(1);
  app.set_version_flag("--version", "kinglet " KINGLET_VERSION, "Print the version");
  app.footer(kFooter);
  Invocation invocation;
  app.add_flag("-v,--verbose", invocation.verbose, "Log what is going on to standard error");
  app.add_flag("-q,--quiet", invocation.quiet, "No bars and no notes");
  const std::string folder = config_folder();
  const ConfigFile config(app, folder.empty() ? "" : folder + "/config.toml");
  app.fallthrough();
  invocation.config = &config;
  add_commands(app, invocation);
  try {
    app.parse(words_of(argc, argv));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) return report_usage(app, config, error);
    std::ostringstream help;
    app.exit(error, help, help);
    return conclude(write_out(help.str()) ? kExitOk : kExitBrokenPipe);
  }
  if (config.error()) return report_config(*config.error());
  if (invocation.verbose) set_log_level(LogLevel::kInfo);
  set_quiet(invocation.quiet);
  catch_interrupts();
  try {
    return conclude(invocation.action());
  } catch (const std::bad_alloc&) {
    return report({ErrorCode::kResource, "out of memory"});
  }
}

}  // namespace kinglet::cli
