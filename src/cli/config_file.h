// The configuration file: defaults for flags, a section a command, in a part of TOML. Kinglet reads it by itself,
// because the library for flags takes whatever a path leads to, cuts texts at '#' and ',', and can't say on which line
// something is wrong. What a value means stays with the flags.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace CLI {
class App;
class Option;
class ParseError;
}  // namespace CLI

namespace kinglet::cli {

// key = value, key = [value, value], or a key alone, which is one set to true.
struct ConfigEntry {
  std::vector<std::string> path;  // section and key: {"preset", "save", "temp"}
  std::vector<std::string> values;
  int line = 0;
};

// Errors name the line. `source` is what they call the file.
Result<std::vector<ConfigEntry>> parse_config(std::string_view text, const std::string& source);

class ConfigFile {
 public:
  // Adds --config to `app`, by default $KINGLET_CONFIG or `usual`, which need not exist. Flags that the command line
  // leaves out have the file's values after app.parse().
  ConfigFile(CLI::App& app, const std::string& usual);
  ~ConfigFile();

  // What is wrong with the file, whatever app.parse() said: it went on without it, so that --help still helps.
  const std::optional<Error>& error() const;
  // That a flag has its value from the file. To be asked during or after app.parse().
  bool gave(const CLI::Option& flag) const;
  // Where in the file the value stands that a flag refused, as "FILE, line N: "; empty where the command line has it.
  std::string place_of(const CLI::ParseError& refused) const;

 private:
  class State;
  std::shared_ptr<State> state_;
};

}  // namespace kinglet::cli
