// The command line as a whole: parses arguments, runs one command, turns its outcome into an exit code.
#pragma once

namespace kinglet::cli {

// Returns the process's exit code (exit_code.h).
int run_command_line(int argc, char** argv);

}  // namespace kinglet::cli
