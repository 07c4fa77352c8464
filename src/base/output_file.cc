#include "base/output_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace kinglet {
namespace {

Error refused(ErrorCode code, const std::string& path, const std::string& why) {
  return {code, path + ": cannot be written: " + why};
}

Status check_folder(const std::string& path) {
  std::string folder = std::filesystem::path(path).parent_path().string();
  if (folder.empty()) folder = ".";
  struct stat facts{};
  if (::stat(folder.c_str(), &facts) != 0) {
    if (errno == ENOENT) return refused(ErrorCode::kNotFound, path, "there is no folder " + folder + "; make it first");
    return refused(ErrorCode::kIo, path, folder + ": " + std::strerror(errno));
  }
  if (!S_ISDIR(facts.st_mode)) return refused(ErrorCode::kIo, path, folder + " is no folder");
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    return refused(ErrorCode::kIo, path, "no file can be made in " + folder + ": " + std::strerror(errno));
  return {};
}

}  // namespace

Status check_output_file(const std::string& path, std::span<const std::string> inputs) {
  if (path.empty()) return Error{ErrorCode::kInvalid, "the output file's name is empty"};
  struct stat there{};
  if (::stat(path.c_str(), &there) != 0) return check_folder(path);
  if (S_ISDIR(there.st_mode)) return refused(ErrorCode::kIo, path, "it is a folder; name a file");
  if (!S_ISREG(there.st_mode)) return refused(ErrorCode::kIo, path, "it is a device or a pipe; name a file");
  for (const std::string& input : inputs) {
    struct stat other{};
    if (::stat(input.c_str(), &other) != 0 || other.st_dev != there.st_dev || other.st_ino != there.st_ino) continue;
    const std::string name = input == path ? "" : " (" + input + ")";
    return refused(ErrorCode::kInvalid, path, "it is one of the files that are read" + name + "; name another file");
  }
  // The rename asks the folder alone; who made the file read-only meant it to stay.
  if (::access(path.c_str(), W_OK) != 0)
    return refused(ErrorCode::kIo, path, std::string("the file there is protected: ") + std::strerror(errno));
  return check_folder(path);
}

std::string temporary_name(const std::string& path) {
  return path + ".part-" + std::to_string(::getpid());
}

}  // namespace kinglet
