// What is wrong with a command line, in words for people. The library that reads it reports an unknown command as a
// missing one, knows no nearest names, and speaks of types.
#pragma once

#include <string>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace kinglet::cli {

std::string usage_problem(const CLI::App& app, const CLI::ParseError& error);
// "kinglet preset save": the command that was chosen, as far as one was.
std::string command_in_full(const CLI::App& app);

}  // namespace kinglet::cli
