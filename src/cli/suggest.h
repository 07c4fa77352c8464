// What a mistyped word was meant to be: one wording for commands, flags and keys of the configuration file.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace kinglet::cli {

// `"inspct" is no command; the nearest are inspect, list, pull`
std::string no_such(const std::string& kind, const std::string& word, const std::vector<std::string>& names);

std::vector<std::string> command_names(const CLI::App& app);
std::vector<std::string> flag_names(const CLI::App& app);  // "--name"

}  // namespace kinglet::cli
