// kinglet completion bash|zsh|fish
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <set>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/terminal.h"

namespace kinglet::cli {
namespace {

struct CommandWords {
  std::string name, description;
  std::vector<std::string> options;  // "--ctx"
};

// Commands and their flags, as CLI11 knows them: nothing to keep in step by hand.
std::vector<CommandWords> command_words(const CLI::App& app) {
  std::vector<CommandWords> commands;
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    CommandWords words{command->get_name(), command->get_description(), {}};
    if (words.name.empty()) continue;
    for (const CLI::Option* option : command->get_options())
      for (const std::string& name : option->get_lnames()) words.options.push_back("--" + name);
    for (const CLI::App* inner : command->get_subcommands(nullptr))
      if (!inner->get_name().empty()) words.options.push_back(inner->get_name());
    commands.push_back(std::move(words));
  }
  return commands;
}

const std::set<std::string> kModelCommands = {"run", "inspect", "tokenize", "render", "logits", "perplexity", "bench",
                                              "rm",  "verify",  "pull",     "embed",  "rerank", "serve"};

std::string names_of(const std::vector<CommandWords>& commands) {
  std::string names;
  for (const CommandWords& c : commands) names += (names.empty() ? "" : " ") + c.name;
  return names;
}

// The models at hand, asked for when the user presses Tab.
constexpr const char* kListModels = "kinglet list 2>/dev/null | awk 'NR>1{print $1}'";

std::string bash_script(const std::vector<CommandWords>& commands) {
  std::string out =
      "# bash completion for kinglet: eval \"$(kinglet completion bash)\"\n_kinglet() {\n"
      "  local word=\"${COMP_WORDS[COMP_CWORD]}\" words=\"\"\n  COMPREPLY=()\n  if [ \"$COMP_CWORD\" -eq 1 ]; then\n";
  out += fmt::format("    words=\"{}\"\n  else\n    case \"${{COMP_WORDS[1]}}\" in\n", names_of(commands));
  for (const CommandWords& c : commands) {
    out += fmt::format("      {}) words=\"{}\"", c.name, fmt::join(c.options, " "));
    if (kModelCommands.contains(c.name))
      out += fmt::format("; [ \"${{word#-}}\" = \"$word\" ] && words=\"$words $({})\"", kListModels);
    out += " ;;\n";
  }
  return out +
         "    esac\n  fi\n  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
         "  [ \"${#COMPREPLY[@]}\" -gt 0 ] || COMPREPLY=($(compgen -f -- \"$word\"))\n}\ncomplete -o filenames -F "
         "_kinglet kinglet\n";
}

std::string zsh_script(const std::vector<CommandWords>& commands) {
  std::string out =
      "#compdef kinglet\n# zsh completion for kinglet: eval \"$(kinglet completion zsh)\"\n_kinglet() {\n  if (( "
      "CURRENT == 2 )); then\n"
      "    local -a commands\n    commands=(\n";
  for (const CommandWords& c : commands) out += fmt::format("      '{}:{}'\n", c.name, c.description);
  out += "    )\n    _describe command commands\n    return\n  fi\n  case $words[2] in\n";
  for (const CommandWords& c : commands) {
    out += fmt::format("    {}) compadd -- {}", c.name, fmt::join(c.options, " "));
    if (kModelCommands.contains(c.name)) out += fmt::format("; compadd -- $({})", kListModels);
    out += "; _files ;;\n";
  }
  return out + "  esac\n}\ncompdef _kinglet kinglet\n";
}

std::string fish_script(const std::vector<CommandWords>& commands) {
  std::string out = "# fish completion for kinglet: kinglet completion fish | source\n";
  const std::string all = names_of(commands);
  for (const CommandWords& c : commands) {
    out += fmt::format("complete -c kinglet -n 'not __fish_seen_subcommand_from {}' -a {} -d '{}'\n", all, c.name,
                       c.description);
    for (const std::string& option : c.options) {
      if (option.starts_with("--"))
        out += fmt::format("complete -c kinglet -n '__fish_seen_subcommand_from {}' -l {}\n", c.name, option.substr(2));
      else
        out += fmt::format("complete -c kinglet -n '__fish_seen_subcommand_from {}' -a {}\n", c.name, option);
    }
    if (kModelCommands.contains(c.name))
      out += fmt::format("complete -c kinglet -n '__fish_seen_subcommand_from {}' -a \"({})\"\n", c.name,
                         "kinglet list 2>/dev/null | awk 'NR>1{print \\$1}'");
  }
  return out;
}

}  // namespace

void add_completion(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("completion", "Print a completion script for a shell");
  auto shell = std::make_shared<std::string>();
  command->add_option("SHELL", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->footer(examples({"eval \"$(kinglet completion bash)\"", "kinglet completion fish | source"}));
  command->callback([&app, &invocation, shell] {
    const std::vector<CommandWords> commands = command_words(app);
    const std::string script = *shell == "bash"  ? bash_script(commands)
                               : *shell == "zsh" ? zsh_script(commands)
                                                 : fish_script(commands);
    invocation.action = [script]() -> Result<int> { return write_out(script) ? kExitOk : kExitBrokenPipe; };
  });
}

}  // namespace kinglet::cli
