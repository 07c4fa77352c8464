// kinglet version
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/threads.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/json_text.h"
#include "cli/terminal.h"
#include "kernels/isa.h"

namespace kinglet::cli {
namespace {

Result<int> print_version(bool json) {
  KL_TRY(const IsaLevel level, choose_isa_level());
  std::vector<std::string> levels;
  for (IsaLevel available : available_isa_levels()) levels.emplace_back(isa_name(available));
  if (json) {
    const nlohmann::json facts = {{"version", KINGLET_VERSION},
                                  {"compiler", __VERSION__},
                                  {"isa", isa_name(level)},
                                  {"available_isa", levels},
                                  {"threads", default_thread_count()}};
    return write_out(json_text(facts)) ? kExitOk : kExitBrokenPipe;
  }
  const std::string text =
      fmt::format("kinglet {}\ncompiler: {}\ninstruction set: {} (available: {})\nthreads: {}\n", KINGLET_VERSION,
                  __VERSION__, isa_name(level), fmt::join(levels, ", "), default_thread_count());
  return write_out(text) ? kExitOk : kExitBrokenPipe;
}

}  // namespace

void add_version(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("version", "Print the version, compiler and instruction set");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "Print a JSON object");
  command->footer(examples({"kinglet version", "KINGLET_ISA=avx2 kinglet version --json"}));
  command->callback([&invocation, json] { invocation.action = [json] { return print_version(*json); }; });
}

}  // namespace kinglet::cli
