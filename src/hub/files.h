// File-system helpers of the hub: errors a user can act on, atomic writes, locks, and the check that keeps names which
// came from a server inside their folder. Internal to hub/.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "base/hash.h"
#include "base/result.h"

namespace kinglet::hub {

// An Error for `errno`: kResource when space ran out, kNotFound, else kIo. `action` reads like "cannot write".
Error io_error(std::string_view action, const std::string& path, int error_number);

// Owns a file descriptor.
class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(int fd) : fd_(fd) {}
  ~FileHandle() { reset(); }
  FileHandle(FileHandle&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileHandle& operator=(FileHandle&& other) noexcept;
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

Result<FileHandle> open_file(const std::string& path, int flags);  // O_CLOEXEC is added; mode 0644
Status write_at(int fd, std::string_view bytes, uint64_t offset, const std::string& path);
Status make_directories(const std::string& path);
std::string parent_folder(const std::string& path);
Status sync_path(const std::string& path);  // a file or a folder
// All or nothing: temporary file, fsync, rename. `durable` false leaves out the fsync (for states that may be lost).
Status write_file_atomically(const std::string& path, std::string_view text, bool durable = true);
Result<std::string> read_small_file(const std::string& path, uint64_t max_bytes);  // kInvalid when larger
Status rename_path(const std::string& from, const std::string& to);
void remove_tree(const std::string& path);  // never follows links; what can't be removed stays
bool is_regular_file(const std::string& path, uint64_t* size = nullptr);  // follows links
bool is_folder(const std::string& path);
// Bytes an unprivileged process may still write on the file system of `path`; UINT64_MAX when unknown.
uint64_t free_disk_bytes(const std::string& path);
// Makes `to` the same file as `from`: a hard link, or else a copy. Links of `from` are followed.
Status link_or_copy(const std::string& from, const std::string& to);

// True for "a/b.gguf": relative, no empty, "." or ".." component, no backslash or control byte, at most 1,024 bytes.
bool is_safe_relative_path(std::string_view path);

// A printable form of text that came from elsewhere: control bytes become '?', cut at `limit` bytes.
std::string printable(std::string_view text, size_t limit = 200);

std::string format_bytes(uint64_t bytes);  // "92.9 MB"

// An flock()ed file; the lock ends with the object or the process.
class FileLock {
 public:
  // Waits in small steps; `waiting` is called once a step and may be empty. kCancelled, kIo.
  static Result<FileLock> acquire(const std::string& path, const std::atomic<bool>* cancel,
                                  const std::function<void()>& waiting = {});
  static Result<FileLock> try_acquire(const std::string& path);  // kResource when somebody else holds it

 private:
  explicit FileLock(FileHandle file) : file_(std::move(file)) {}
  FileHandle file_;
};

struct FileDigests {
  std::string sha256;
  std::string git_sha1;  // of git's blob object: "blob SIZE\0" and the bytes
};

// Digests of a file in one reading; the git one stays empty unless it is wanted. `progress` gets the bytes of each
// step. kCancelled, kIo, kNotFound.
Result<FileDigests> digest_file(const std::string& path, const std::atomic<bool>* cancel,
                                const std::function<void(uint64_t)>& progress = {}, bool wants_git_sha1 = false);

inline bool is_cancelled(const std::atomic<bool>* cancel) {
  return cancel != nullptr && cancel->load(std::memory_order_relaxed);
}
inline Error cancelled_error() {
  return {ErrorCode::kCancelled, "cancelled; the next pull goes on from here"};
}

bool is_lower_hex(std::string_view text, size_t digits);

}  // namespace kinglet::hub
