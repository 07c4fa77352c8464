#include "cli/usage.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string_view>
#include <vector>

#include "base/quote.h"
#include "cli/suggest.h"

namespace kinglet::cli {
namespace {

// The command that was chosen, with those it belongs to: {app, preset, save}.
std::vector<const CLI::App*> chosen_commands(const CLI::App& app) {
  std::vector<const CLI::App*> chain{&app};
  while (!chain.back()->get_subcommands().empty()) chain.push_back(chain.back()->get_subcommands().front());
  return chain;
}

// The library's messages about values, said as all others are.
std::string reworded(const std::string& message) {
  constexpr std::string_view kConversion = "Could not convert: ";
  const size_t equals = message.find(" = ");
  if (message.starts_with(kConversion) && equals != std::string::npos) {
    const std::string name = message.substr(kConversion.size(), equals - kConversion.size());
    return fmt::format("{}: found {}, which is no value for it", name, quote(message.substr(equals + 3)));
  }
  const size_t missing = message.find(": 1 required ");
  return missing == std::string::npos ? message : message.substr(0, missing) + ": its value is missing";
}

std::string surplus(const CLI::App& command, const std::string& word) {
  const bool takes_text = command.get_name() == "run" || command.get_name() == "tokenize";
  return fmt::format("found {} behind all that {} takes{}", quote(word), command.get_name(),
                     takes_text ? "; a text of several words goes into quotes" : "");
}

}  // namespace

std::string usage_problem(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> words = app.remaining(true);
  const std::vector<const CLI::App*> chain = chosen_commands(app);
  const CLI::App& command = *chain.back();
  const std::vector<std::string> commands = command_names(command);
  const auto flag = std::find_if(words.begin(), words.end(), [](const std::string& w) { return w.starts_with("-"); });
  if (flag != words.end()) {
    std::vector<std::string> names;
    for (auto each = chain.rbegin(); each != chain.rend(); ++each)
      for (std::string& name : flag_names(**each)) names.push_back(std::move(name));
    return no_such("flag", flag->substr(0, flag->find('=')), names);
  }
  const auto kind = static_cast<CLI::ExitCodes>(error.get_exit_code());
  if (commands.empty())
    return kind == CLI::ExitCodes::ExtrasError && !words.empty() ? surplus(command, words.front())
                                                                 : reworded(error.what());
  if (!words.empty())
    return no_such("command" + (chain.size() > 1 ? " of " + command.get_name() : ""), words.front(), commands);
  return kind == CLI::ExitCodes::RequiredError ? fmt::format("a command is missing: {}", fmt::join(commands, ", "))
                                               : reworded(error.what());
}

std::string command_in_full(const CLI::App& app) {
  std::string names;
  for (const CLI::App* command : chosen_commands(app)) names += (names.empty() ? "" : " ") + command->get_name();
  return names;
}

}  // namespace kinglet::cli
