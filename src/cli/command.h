// Commands: each file cli/<name>.cc adds its flags and says what to do; app.cc lists them.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"

namespace CLI {
class App;
}

namespace kinglet::cli {

class ConfigFile;

// What a parsed command leaves behind: the action to run, and flags that every command has.
struct Invocation {
  std::function<Result<int>()> action;  // its value is the exit code
  const ConfigFile* config = nullptr;   // what it gave, for callbacks of the flags
  bool verbose = false;                 // --verbose: log lines
  bool quiet = false;                   // --quiet: no bars, no notes
};

// Each adds one subcommand (or a few that belong together) to `app`; when it is the one the user chose, its action is
// put into `invocation`.
void add_run(CLI::App& app, Invocation& invocation);
void add_serve(CLI::App& app, Invocation& invocation);
void add_models(CLI::App& app, Invocation& invocation);  // pull, list, rm
void add_inspect(CLI::App& app, Invocation& invocation);
void add_tokenize(CLI::App& app, Invocation& invocation);
void add_render(CLI::App& app, Invocation& invocation);
void add_logits(CLI::App& app, Invocation& invocation);
void add_embed(CLI::App& app, Invocation& invocation);
void add_rerank(CLI::App& app, Invocation& invocation);
void add_perplexity(CLI::App& app, Invocation& invocation);
void add_bench(CLI::App& app, Invocation& invocation);
void add_convert(CLI::App& app, Invocation& invocation);
void add_imatrix(CLI::App& app, Invocation& invocation);
void add_quantize(CLI::App& app, Invocation& invocation);
void add_preset(CLI::App& app, Invocation& invocation);
void add_completion(CLI::App& app, Invocation& invocation);
void add_version(CLI::App& app, Invocation& invocation);

// The text under a command's --help: examples, one a line.
std::string examples(std::initializer_list<const char*> lines);

}  // namespace kinglet::cli
