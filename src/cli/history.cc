#include "cli/history.h"

#include <editline/readline.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/output_file.h"
#include "cli/terminal.h"

namespace kinglet::cli {
namespace {

constexpr int kMostLines = 1000;

// The library doesn't tell of a disk that is full: one line for each entry, and one that says what the file is.
bool is_whole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const auto lines = std::count(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>(), '\n');
  return lines == history_length + 1;
}

}  // namespace

History::History(const std::string& folder) {
  using_history();
  stifle_history(kMostLines);
  if (folder.empty()) return;
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  path_ = folder + "/history";
  // Who links it to /dev/null wants none. A pipe would make reading wait, and neither may be replaced.
  const auto there = std::filesystem::status(path_, code);
  if (!std::filesystem::exists(there)) return;
  if (!std::filesystem::is_regular_file(there)) {
    path_.clear();
    return;
  }
  const std::filesystem::path real = std::filesystem::canonical(path_, code);
  if (!code) path_ = real.string();  // a link stays one
  read_history(path_.c_str());
}

void History::add(const std::string& line) {
  add_history(line.c_str());
  if (path_.empty() || write()) return;
  note(path_ + ": the history cannot be written; it is not kept");
  path_.clear();
}

bool History::write() const {
  const std::string temporary = temporary_name(path_);
  ::unlink(temporary.c_str());
  const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return false;
  ::close(file);
  const bool written = write_history(temporary.c_str()) == 0 && is_whole(temporary) &&
                       std::rename(temporary.c_str(), path_.c_str()) == 0;
  if (!written) ::unlink(temporary.c_str());
  return written;
}

}  // namespace kinglet::cli
