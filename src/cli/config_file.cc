#include "cli/config_file.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <istream>

#include "base/quote.h"
#include "cli/files.h"
#include "cli/suggest.h"

namespace kinglet::cli {
namespace {

const CLI::App* find_command(const CLI::App& app, const std::string& name) {
  for (const CLI::App* command : app.get_subcommands(nullptr))
    if (command->check_name(name)) return command;
  return nullptr;
}

// The flag that a key stands for; nullptr for none, and for those that make no sense in a file.
const CLI::Option* flag_of(const CLI::App& command, const std::string& key) {
  const CLI::Option* option = command.get_option_no_throw("--" + key);
  if (!option && key.size() == 1) option = command.get_option_no_throw("-" + key);
  return option && option->get_configurable() && option != command.get_help_ptr() ? option : nullptr;
}

bool mentions(std::string_view message, const std::string& flag) {
  const size_t at = message.find(flag);
  if (at == std::string_view::npos) return false;
  const size_t end = at + flag.size();
  return end >= message.size() || !(std::isalnum(static_cast<unsigned char>(message[end])) || message[end] == '-');
}

// Stands in for the library's reader, which opens the file that the flag's value names: it is given /dev/null, and what
// it "reads" there are the entries that were read before.
class Items : public CLI::Config {
 public:
  explicit Items(const std::vector<ConfigEntry>& entries) : entries_(entries) {}
  std::string to_config(const CLI::App*, bool, bool, std::string) const override { return {}; }
  std::vector<CLI::ConfigItem> from_config(std::istream&) const override {
    std::vector<CLI::ConfigItem> list;
    for (const ConfigEntry& entry : entries_) {
      CLI::ConfigItem item;
      item.parents.assign(entry.path.begin(), entry.path.end() - 1);
      item.name = entry.path.back();
      item.inputs = entry.values;
      list.push_back(std::move(item));
    }
    return list;
  }

 private:
  const std::vector<ConfigEntry>& entries_;
};

}  // namespace

class ConfigFile::State {
 public:
  State(CLI::App& app, std::string usual) : app_(app), usual_(std::move(usual)) {}

  // Reads the file once, though the library asks for it again and again.
  void read(const std::string& path) {
    if (std::exchange(asked_, true)) return;
    path_ = path;
    Status status = take(path);
    if (status.ok()) return;
    entries_.clear();
    error = status.error();
  }

  Status take(const std::string& path) {
    // What the user names may be a pipe, and before the first command has begun signals still end the process at once.
    const bool found = path == usual_;
    const Result<std::string> text = found ? read_own_file(path) : read_text_file(path);
    if (!text.ok() && found && text.error().code == ErrorCode::kNotFound) return {};
    if (!text.ok()) return text.error().with_context("the configuration file");
    KL_TRY(entries_, parse_config(*text, path));
    for (const ConfigEntry& entry : entries_) KL_RETURN_IF_ERROR(check(entry));
    return {};
  }

  Status check(const ConfigEntry& entry) const {
    const CLI::App* command = &app_;
    const std::string& key = entry.path.back();
    for (size_t i = 0; i + 1 < entry.path.size(); i++) {
      const CLI::App* inner = find_command(*command, entry.path[i]);
      if (!inner)
        return wrong(entry, fmt::format("section {}: {}", quote(entry.path[i]),
                                        no_such("command", entry.path[i], command_names(*command))));
      command = inner;
    }
    if (flag_of(*command, key)) return {};
    const std::string owner = command == &app_ ? "kinglet" : command->get_name();
    std::vector<std::string> names = flag_names(*command);
    std::erase_if(names, [command](const std::string& name) { return !flag_of(*command, name.substr(2)); });
    for (std::string& name : names) name.erase(0, 2);
    std::string what = no_such("flag of " + owner, key, names);
    if (command != &app_ && flag_of(app_, key))
      what = quote(key) + " is for all commands: it stands before the first section";
    return wrong(entry, what);
  }

  Error wrong(const ConfigEntry& entry, const std::string& what) const {
    return {ErrorCode::kInvalid, place(entry) + what};
  }
  std::string place(const ConfigEntry& entry) const { return fmt::format("{}, line {}: ", path_, entry.line); }

  const CLI::Option* flag_of_entry(const ConfigEntry& entry) const {
    const CLI::App* command = &app_;
    for (size_t i = 0; command && i + 1 < entry.path.size(); i++) command = find_command(*command, entry.path[i]);
    return command ? flag_of(*command, entry.path.back()) : nullptr;
  }
  // The command line wins: then the flag holds other values.
  static bool holds(const CLI::Option& flag, const ConfigEntry& entry) {
    return flag.get_expected_min() == 0 || flag.results() == entry.values;
  }

  std::string place_of(const std::string& message) const {
    for (const ConfigEntry& entry : entries_) {
      const CLI::Option* flag = flag_of_entry(entry);
      if (flag && mentions(message, flag->get_name()) && holds(*flag, entry)) return place(entry);
    }
    return {};
  }

  bool gave(const CLI::Option& flag) const {
    return std::any_of(entries_.begin(), entries_.end(),
                       [&](const ConfigEntry& entry) { return flag_of_entry(entry) == &flag && holds(flag, entry); });
  }

  const std::vector<ConfigEntry>& entries() const { return entries_; }
  std::optional<Error> error;

 private:
  CLI::App& app_;
  std::string usual_, path_;
  bool asked_ = false;
  std::vector<ConfigEntry> entries_;
};

ConfigFile::ConfigFile(CLI::App& app, const std::string& usual) : state_(std::make_shared<State>(app, usual)) {
  const char* named = std::getenv("KINGLET_CONFIG");
  const std::string file = named ? named : usual;
  CLI::Option* option = app.set_config("--config", file, "Configuration file (or KINGLET_CONFIG)");
  app.config_formatter(std::make_shared<Items>(state_->entries()));
  // Called before the library looks at the path, and after it has one from the command line or the default.
  const CLI::Validator read(
      [state = state_](std::string& path) {
        if (!path.empty()) state->read(path);
        path = "/dev/null";
        return std::string();
      },
      "", "");
  option->transform(read);
}

ConfigFile::~ConfigFile() = default;

const std::optional<Error>& ConfigFile::error() const {
  return state_->error;
}

bool ConfigFile::gave(const CLI::Option& flag) const {
  return state_->gave(flag);
}

std::string ConfigFile::place_of(const CLI::ParseError& refused) const {
  return state_->place_of(refused.what());
}

}  // namespace kinglet::cli
