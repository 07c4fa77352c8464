// What the exit codes mean; `kinglet --help` lists them.
#pragma once

#include "base/result.h"

namespace kinglet::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitInvalid = 1,      // malformed input: a file, a value
  kExitUsage = 2,        // wrong flags or arguments
  kExitNotFound = 3,     // no such file, model, tensor
  kExitUnsupported = 4,  // well-formed, but beyond Kinglet
  kExitResource = 5,     // memory or disk
  kExitIo = 6,           // the system refused to read or write
  kExitNetwork = 7,      // a server refused or went away
  kExitInterrupted = 130,
  kExitBrokenPipe = 141,
  kExitTerminated = 143,
};

ExitCode exit_code_of(const Error& error);

}  // namespace kinglet::cli
