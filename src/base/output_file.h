// A file that a command is about to make: what must hold of its name before the work begins, and under which name it
// grows. Not the writing itself, and not for files that Kinglet keeps for itself (hub/files.h).
#pragma once

#include <span>
#include <string>

#include "base/result.h"

namespace kinglet {

// That a file may come to be at `path` by a rename. Asked before the work, which may take hours, and before anything of
// an older file at `path` could be lost:
// - its folder is there and files can be made in it (kNotFound, kIo);
// - what is at `path` now, if anything, is a regular file that is not write-protected: a rename would put an end to a
//   device or a pipe, and fails for a folder (kIo);
// - it is none of `inputs`, the files that the work reads, under whatever name: links, relative paths (kInvalid).
//   Inputs that are not there count for nothing.
Status check_output_file(const std::string& path, std::span<const std::string> inputs = {});

// The name under which the file grows until a rename makes it complete: beside it, and another one in each process.
std::string temporary_name(const std::string& path);

}  // namespace kinglet
