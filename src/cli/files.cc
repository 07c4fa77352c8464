#include "cli/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/descriptor.h"
#include "base/memory.h"
#include "base/output_file.h"
#include "cli/terminal.h"

namespace kinglet::cli {
namespace {

constexpr size_t kMostText = size_t{64} << 20, kMostOwn = size_t{4} << 20;

Error cannot_read(const std::string& name, int code) {
  if (code == EINTR) return {ErrorCode::kCancelled, "interrupted while reading " + name};
  const bool absent = code == ENOENT || code == ENOTDIR;
  return {absent ? ErrorCode::kNotFound : ErrorCode::kIo, name + ": cannot be read: " + std::strerror(code)};
}

bool asked_to_stop() {
  return interrupted() || terminated();
}

Result<std::string> read_all(int file, const std::string& name, size_t most) {
  std::string text;
  char buffer[65536];
  for (;;) {
    const ssize_t got = ::read(file, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR && !asked_to_stop()) continue;
    if (got < 0) return cannot_read(name, errno);
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > most)
      return Error{ErrorCode::kResource,
                   name + ": longer than the " + std::to_string(most >> 20) + " MiB that a text may have"};
    // A source without end, such as a device, never blocks and so is never interrupted.
    if (asked_to_stop()) return cannot_read(name, EINTR);
  }
}

}  // namespace

Result<std::string> read_standard_input() {
  const CancelOnInterrupt wake(true);
  return read_all(STDIN_FILENO, "standard input", kMostText);
}

Result<std::string> read_text_file(const std::string& path) {
  const CancelOnInterrupt wake(true);  // opening a pipe waits for its writer, reading it for what he writes
  int number = -1;
  do {
    number = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  } while (number < 0 && errno == EINTR && !asked_to_stop());
  const int code = errno;
  const Descriptor file(number);
  if (number < 0) return cannot_read(path, code);
  struct stat facts{};
  if (::fstat(number, &facts) == 0 && S_ISDIR(facts.st_mode))
    return Error{ErrorCode::kIo, path + ": found a folder, expected a file"};
  return read_all(number, path, kMostText);
}

Result<std::string> read_own_file(const std::string& path) {
  // Without waiting: neither for a pipe's writer, nor for a device.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.number() < 0) {
    Error error = cannot_read(path, errno);
    const std::string folder = std::filesystem::path(path).parent_path().string();
    if (::access(folder.c_str(), X_OK) != 0) error.code = ErrorCode::kNotFound;
    return error;
  }
  struct stat facts{};
  if (::fstat(file.number(), &facts) != 0) return cannot_read(path, errno);
  if (!S_ISREG(facts.st_mode)) return Error{ErrorCode::kIo, path + ": is not a regular file"};
  return read_all(file.number(), path, kMostOwn);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    if (lines.back().ends_with('\r')) lines.back().pop_back();
    at = end + 1;
  }
  return lines;
}

Status write_text_file(const std::string& path, const std::string& text) {
  KL_RETURN_IF_ERROR(check_output_file(path));
  const std::string temporary = temporary_name(path);
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (file && std::rename(temporary.c_str(), path.c_str()) == 0) return {};
  const Error error = cannot_write(path, errno);
  std::remove(temporary.c_str());
  return error;
}

std::vector<std::string> files_of(const Checkpoint& checkpoint) {
  std::vector<std::string> files;
  for (const auto& file : checkpoint.files) files.push_back(file->path());
  if (checkpoint.format != CheckpointFormat::kHuggingFace) return files;
  constexpr const char* kOurs[] = {".npy", ".imatrix"};
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(checkpoint.path, ignored)) {
    const std::string ending = entry.path().extension().string();
    if (std::find(std::begin(kOurs), std::end(kOurs), ending) == std::end(kOurs))
      files.push_back(entry.path().string());
  }
  return files;
}

}  // namespace kinglet::cli
