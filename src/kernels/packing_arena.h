// Memory of many matrices in a few large allocations. Each of its own would be rounded up to huge pages: a model of
// small matrices would take half as much again as its file.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/memory.h"
#include "base/result.h"

namespace kinglet {

// Used by one thread at a time; what was taken may be filled by many, and outlives the arena.
class PackingArena {
 public:
  // `expected`: bytes that will be taken in all, about.
  explicit PackingArena(uint64_t expected) : expected_(expected) {}

  struct Part {
    std::shared_ptr<const AlignedBuffer> storage;
    std::byte* data = nullptr;
    uint64_t offset = 0;  // of data in the storage
  };
  // Aligned to a page; more bytes than asked for are readable behind it (AlignedBuffer). kResource when the system
  // refuses memory: the arena is as it was.
  Result<Part> take(uint64_t bytes) {
    if (bytes >= kLargeBytes) {  // loses little by rounding; a shared allocation might lose as much at its end
      KL_TRY(AlignedBuffer buffer, AlignedBuffer::allocate(bytes));
      expected_ -= std::min(expected_, bytes);
      std::byte* data = buffer.data();
      return Part{std::make_shared<const AlignedBuffer>(std::move(buffer)), data, 0};
    }
    if (chunk_ == nullptr || chunk_->size() - used_ < bytes) {
      // What is never written to takes no memory.
      const uint64_t slack = expected_ > bytes ? kSlackBytes : 0;  // for the pages' ends
      const uint64_t wanted = std::min(kChunkBytes, std::min(kChunkBytes, expected_) + slack);
      KL_TRY(AlignedBuffer buffer, AlignedBuffer::allocate(std::max(bytes, wanted)));
      chunk_ = std::make_shared<const AlignedBuffer>(std::move(buffer));
      used_ = 0;
    }
    Part part{chunk_, chunk_->data() + used_, used_};
    used_ = std::min<uint64_t>(chunk_->size(), (used_ + bytes + kPage - 1) / kPage * kPage);
    expected_ -= std::min(expected_, bytes);
    return part;
  }

  static constexpr uint64_t kLargeBytes = uint64_t{64} << 20;  // from here on matrices have allocations of their own

 private:
  static constexpr uint64_t kPage = 4096, kSlackBytes = uint64_t{2} << 20, kChunkBytes = uint64_t{256} << 20;
  std::shared_ptr<const AlignedBuffer> chunk_;
  uint64_t expected_, used_ = 0;
};

}  // namespace kinglet
