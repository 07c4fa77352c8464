// Memory that tensors live in: read-only file maps and large aligned buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "base/result.h"

namespace kinglet {

// A read-only, private map of a whole regular file. Errors: kNotFound, kIo. An empty file maps to an empty span.
class MappedFile {
 public:
  static Result<std::shared_ptr<MappedFile>> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::string& path() const { return path_; }
  // Lets the kernel drop the resident pages of a range whose contents have been copied elsewhere.
  void release(std::span<const std::byte> range) const;

 private:
  MappedFile() = default;
  std::span<const std::byte> bytes_;
  std::string path_;
};

// Zeroed anonymous memory aligned to 2 MiB, huge pages where the system grants them. For weights, KV pages,
// activations. `tail_bytes` past the end are readable (vector kernels may load, never use, them).
class AlignedBuffer {
 public:
  static constexpr size_t kTailBytes = 8192;

  AlignedBuffer() = default;
  static Result<AlignedBuffer> allocate(size_t bytes);  // kResource when the system refuses
  ~AlignedBuffer();
  AlignedBuffer(AlignedBuffer&& other) noexcept { *this = std::move(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  size_t mapped_ = 0;
};

// Physical memory this process may still use: the smaller of the machine's available memory and the cgroup's limit.
uint64_t available_memory_bytes();

}  // namespace kinglet
