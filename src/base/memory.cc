#include "base/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "base/descriptor.h"
#include "base/lost_pages.h"
#include "base/system.h"

namespace kinglet {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

Error system_error(const std::string& path, const char* what, int number) {
  const bool absent = number == ENOENT || number == ENOTDIR;
  return {absent ? ErrorCode::kNotFound : ErrorCode::kIo, path + ": " + what + ": " + std::strerror(number)};
}

}  // namespace

Result<std::shared_ptr<MappedFile>> MappedFile::open(const std::string& path) {
  if (path.find('\0') != std::string::npos) return Error{ErrorCode::kInvalid, "a file name contains a zero byte"};
  // Non-blocking, so that naming a pipe by mistake gives an error and not a process that hangs.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.number() < 0) return system_error(path, "cannot be opened", errno);
  struct stat facts{};
  if (::fstat(file.number(), &facts) != 0) return system_error(path, "cannot be examined", errno);
  if (!S_ISREG(facts.st_mode)) return Error{ErrorCode::kIo, path + ": is not a regular file"};
  std::shared_ptr<MappedFile> mapped(new MappedFile);
  mapped->path_ = path;
  if (facts.st_size == 0) return mapped;
  if (static_cast<uint64_t>(facts.st_size) > std::numeric_limits<size_t>::max()) {
    return Error{ErrorCode::kResource, path + ": is larger than this system's address space"};
  }
  const auto size = static_cast<size_t>(facts.st_size);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number(), 0);
  if (address == MAP_FAILED) return system_error(path, "cannot be mapped into memory", errno);
  mapped->bytes_ = std::span(static_cast<const std::byte*>(address), size);
  watch_map(mapped->bytes_);
  return mapped;
}

MappedFile::~MappedFile() {
  if (bytes_.empty()) return;
  forget_map(bytes_);
  ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MappedFile::release(std::span<const std::byte> range) const {
  if (range.empty() || bytes_.empty()) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto start = reinterpret_cast<uintptr_t>(bytes_.data());
  const uintptr_t end = start + bytes_.size();
  uintptr_t first = reinterpret_cast<uintptr_t>(range.data());
  if (first < start || first >= end || range.size() > end - first) return;
  uintptr_t last = first + range.size();
  first = (first + page - 1) / page * page;  // whole pages only: neighbours may still be needed
  last = last == end ? (last + page - 1) / page * page : last / page * page;
  // Advice: when the system refuses, the pages merely stay until it needs them.
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

Result<AlignedBuffer> AlignedBuffer::allocate(size_t bytes) {
  const Error refused{ErrorCode::kResource, "the system refused " + std::to_string(bytes) + " bytes of memory"};
  if (bytes > std::numeric_limits<size_t>::max() / 2) return refused;
  const size_t needed = (bytes + kTailBytes + kHugePage - 1) / kHugePage * kHugePage;
  // One huge page more than needed, so that an aligned part can be cut out; the ends go back at once.
  void* raw = ::mmap(nullptr, needed + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return refused;
  auto* base = static_cast<std::byte*>(raw);
  const size_t head = (kHugePage - reinterpret_cast<uintptr_t>(base) % kHugePage) % kHugePage;
  if (head != 0) ::munmap(base, head);
  if (head != kHugePage) ::munmap(base + head + needed, kHugePage - head);
#ifdef MADV_HUGEPAGE
  ::madvise(base + head, needed, MADV_HUGEPAGE);  // a wish; ordinary pages do as well
#endif
  AlignedBuffer buffer;
  buffer.data_ = base + head;
  buffer.size_ = bytes;
  buffer.mapped_ = needed;
  return buffer;
}

AlignedBuffer::~AlignedBuffer() {
  if (data_ != nullptr) ::munmap(data_, mapped_);
}

AlignedBuffer& AlignedBuffer::operator=(AlignedBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

uint64_t available_memory_bytes() {
  return std::min(machine_available_memory(), cgroup_available_memory());
}

}  // namespace kinglet
