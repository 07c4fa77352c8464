#include "hub/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <thread>
#include <vector>

namespace kinglet::hub {

Error io_error(std::string_view action, const std::string& path, int error_number) {
  const std::string what = std::string(action) + " " + path + ": ";
  switch (error_number) {
    case ENOSPC:
      return {ErrorCode::kResource, what + "no space left on the device; free some, or point KINGLET_HOME elsewhere"};
    case EDQUOT:
      return {ErrorCode::kResource, what + "the disk quota is used up; free some, or point KINGLET_HOME elsewhere"};
    case EFBIG:
      return {ErrorCode::kResource, what + "the file would exceed the file size limit (see `ulimit -f`)"};
    case EACCES:
    case EPERM:
    case EROFS:
      return {ErrorCode::kIo, what + std::strerror(error_number) +
                                  "; change the permissions, or point KINGLET_HOME to a folder you may write to"};
    case ENOENT:
      return {ErrorCode::kNotFound, what + std::strerror(error_number)};
    default:
      return {ErrorCode::kIo, what + std::strerror(error_number)};
  }
}

FileHandle& FileHandle::operator=(FileHandle&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void FileHandle::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Result<FileHandle> open_file(const std::string& path, int flags) {
  int fd = -1;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return io_error((flags & O_ACCMODE) == O_RDONLY ? "cannot open" : "cannot write", path, errno);
  return FileHandle(fd);
}

Status write_at(int fd, std::string_view bytes, uint64_t offset, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error("cannot write", path, errno);
    if (n == 0) return io_error("cannot write", path, ENOSPC);
    bytes.remove_prefix(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

Status make_directories(const std::string& path) {
  if (path.empty() || is_folder(path)) return {};
  const std::string parent = parent_folder(path);
  if (parent != path) KL_RETURN_IF_ERROR(make_directories(parent));
  if (::mkdir(path.c_str(), 0755) == 0) return {};
  const int error_number = errno;
  if (error_number == EEXIST && is_folder(path)) return {};
  return io_error("cannot create the folder", path, error_number);
}

std::string parent_folder(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Status sync_path(const std::string& path) {
  KL_TRY(FileHandle file, open_file(path, O_RDONLY));
  // Some file systems can't fsync a folder (EINVAL); their renames are as durable as they get.
  if (::fsync(file.get()) != 0 && errno != EINVAL) return io_error("cannot write", path, errno);
  return {};
}

Status write_file_atomically(const std::string& path, std::string_view text, bool durable) {
  const std::string temporary = path + ".tmp" + std::to_string(::getpid());
  auto write = [&]() -> Status {
    KL_TRY(FileHandle file, open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC));
    KL_RETURN_IF_ERROR(write_at(file.get(), text, 0, temporary));
    if (durable && ::fsync(file.get()) != 0) return io_error("cannot write", temporary, errno);
    KL_RETURN_IF_ERROR(rename_path(temporary, path));
    return durable ? sync_path(parent_folder(path)) : Status();
  };
  Status status = write();
  if (!status.ok()) ::unlink(temporary.c_str());
  return status;
}

Result<std::string> read_small_file(const std::string& path, uint64_t max_bytes) {
  KL_TRY(FileHandle file, open_file(path, O_RDONLY | O_NONBLOCK));
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) return io_error("cannot read", path, errno);
  if (!S_ISREG(info.st_mode)) return Error{ErrorCode::kInvalid, path + ": not a regular file"};
  std::string text;
  std::array<char, 65536> buffer;
  while (true) {
    const ssize_t n = ::read(file.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error("cannot read", path, errno);
    if (n == 0) return text;
    text.append(buffer.data(), static_cast<size_t>(n));
    if (text.size() > max_bytes) {
      return Error{ErrorCode::kInvalid, path + ": larger than the " + std::to_string(max_bytes) + " bytes allowed"};
    }
  }
}

Status rename_path(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return io_error("cannot rename " + from + " to", to, errno);
  return {};
}

void remove_tree(const std::string& path) {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

bool is_regular_file(const std::string& path, uint64_t* size) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return false;
  if (size != nullptr) *size = static_cast<uint64_t>(info.st_size);
  return true;
}

bool is_folder(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

uint64_t free_disk_bytes(const std::string& path) {
  struct statvfs info{};
  if (::statvfs(path.c_str(), &info) != 0) return std::numeric_limits<uint64_t>::max();
  return static_cast<uint64_t>(info.f_bavail) * static_cast<uint64_t>(info.f_frsize);
}

Status link_or_copy(const std::string& from, const std::string& to) {
  std::error_code error;
  const std::string source = std::filesystem::canonical(from, error).string();
  if (error) return io_error("cannot read", from, error.value());
  ::unlink(to.c_str());
  if (::link(source.c_str(), to.c_str()) == 0) return {};
  KL_TRY(FileHandle in, open_file(source, O_RDONLY));
  KL_TRY(FileHandle out, open_file(to, O_WRONLY | O_CREAT | O_TRUNC));
  std::vector<char> buffer(1u << 20);
  for (uint64_t offset = 0;;) {
    const ssize_t n = ::read(in.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error("cannot read", source, errno);
    if (n == 0) return {};
    KL_RETURN_IF_ERROR(write_at(out.get(), {buffer.data(), static_cast<size_t>(n)}, offset, to));
    offset += static_cast<uint64_t>(n);
  }
}

bool is_safe_relative_path(std::string_view path) {
  if (path.empty() || path.size() > 1024) return false;
  for (const char c : path) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\') return false;
  }
  int depth = 0;
  while (true) {
    const size_t slash = path.find('/');
    const std::string_view component = path.substr(0, slash);
    if (component.empty() || component == "." || component == ".." || component.size() > 240) return false;
    if (++depth > 16) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

std::string printable(std::string_view text, size_t limit) {
  std::string out(text.substr(0, limit));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  if (text.size() > limit) out += "...";
  return out;
}

std::string format_bytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"bytes", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 999.95 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  std::array<char, 48> text;
  std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text.data();
}

Result<FileLock> FileLock::try_acquire(const std::string& path) {
  KL_TRY(FileHandle file, open_file(path, O_RDWR | O_CREAT));
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return Error{ErrorCode::kResource, path + " is held by another process"};
    return io_error("cannot lock", path, errno);
  }
  return FileLock(std::move(file));
}

Result<FileLock> FileLock::acquire(const std::string& path, const std::atomic<bool>* cancel,
                                   const std::function<void()>& waiting) {
  while (true) {
    auto lock = try_acquire(path);
    if (lock.ok() || lock.error().code != ErrorCode::kResource) return lock;
    if (is_cancelled(cancel)) return cancelled_error();
    if (waiting) waiting();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

Result<FileDigests> digest_file(const std::string& path, const std::atomic<bool>* cancel,
                                const std::function<void(uint64_t)>& progress, bool wants_git_sha1) {
  uint64_t size = 0;
  if (!is_regular_file(path, &size)) return Error{ErrorCode::kNotFound, path + ": no such file"};
  KL_TRY(FileHandle file, open_file(path, O_RDONLY));
  Digest sha256(Digest::Kind::kSha256);
  Digest sha1(Digest::Kind::kSha1);
  sha1.update("blob " + std::to_string(size) + std::string(1, '\0'));
  std::vector<char> buffer(1u << 20);
  while (true) {
    if (is_cancelled(cancel)) return cancelled_error();
    const ssize_t n = ::read(file.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error("cannot read", path, errno);
    if (n == 0) break;
    const std::string_view bytes(buffer.data(), static_cast<size_t>(n));
    sha256.update(bytes);
    if (wants_git_sha1) sha1.update(bytes);
    if (progress) progress(bytes.size());
  }
  return FileDigests{sha256.finish_hex(), wants_git_sha1 ? sha1.finish_hex() : ""};
}

bool is_lower_hex(std::string_view text, size_t digits) {
  return text.size() == digits &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace kinglet::hub
