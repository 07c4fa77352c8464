// Runs a program to its end: no shell, arguments as given, standard input empty, output captured. Internal to hub/.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace kinglet::hub {

struct ProcessRequest {
  std::vector<std::string> arguments;                            // the first is the program's path
  std::vector<std::pair<std::string, std::string>> environment;  // added to ours, or replacing
  const std::atomic<bool>* cancel = nullptr;
  std::function<void()> tick;  // called some times a second while it runs; may be empty
};

struct ProcessResult {
  int exit_code = 0;   // 128 + signal when a signal ended it
  std::string output;  // the last 32 KiB of standard output and error, together
};

// kCancelled: it and its children were ended. kIo: it could not be started. The child dies with this process.
Result<ProcessResult> run_process(const ProcessRequest& request);

// Every executable file of the name in the folders of PATH, in order.
std::vector<std::string> find_programs(const std::string& name);

}  // namespace kinglet::hub
