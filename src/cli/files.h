// Files of a command line: texts that the user names, small files that Kinglet finds by itself, and texts it writes.
// Not models (formats/) and not the store's files (hub/files.h).
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "formats/checkpoint.h"

namespace kinglet::cli {

// All of standard input. kResource past 64 MiB, kCancelled by Ctrl-C and SIGTERM.
Result<std::string> read_standard_input();

// All of a file that the user named: a prompt, messages, a template, a schema. It may be a pipe, because
// `--template <(command)` is one, and a pipe may wait for its writer for ever: signals end the wait. The bounds are
// those of standard input.
Result<std::string> read_text_file(const std::string& path);

// All of a small file that lies where Kinglet looks by itself: a preset, the configuration file, a folder's
// config.json. Nobody asked for a pipe there, and one would make every command wait; expected is a regular file of at
// most 4 MiB.
// kNotFound also where this user may not look into the folder: somebody else's home, where HOME was left over.
Result<std::string> read_own_file(const std::string& path);

// The lines of a text, without their ends; the last one may lack its own.
std::vector<std::string> lines_of(const std::string& text);

// Writes a file beside PATH and renames it: an older one stays where that fails.
Status write_text_file(const std::string& path, const std::string& text);

// Every file that `checkpoint` was read from. All files of a Hugging Face folder count, read or not, except those that
// Kinglet may have written there before (*.npy, *.imatrix), which may be written anew.
std::vector<std::string> files_of(const Checkpoint& checkpoint);

}  // namespace kinglet::cli
