// BlockPool: a fixed number of KV pages, handed out by id and reference-counted. A page's content belongs to the page,
// not to a request: several sequences, a prefix tree or a disk tier may hold references to the same one. It knows
// bytes; not tokens, layers or sequences. Not thread-safe: the engine thread owns it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/memory.h"
#include "base/result.h"

namespace kinglet {

using PageId = int32_t;
inline constexpr PageId kNoPage = -1;

class BlockPool {
 public:
  // Memory is reserved in slabs as pages are first handed out, and touched only where pages are used. kInvalid for
  // sizes that are zero or overflow.
  static Result<BlockPool> create(uint64_t page_bytes, int64_t pages);

  // A page full of zeros with one reference. kResource when all are in use or the system refuses memory.
  Result<PageId> allocate();
  void retain(PageId id);   // one more reference; KL_CHECKs that the page is in use
  void release(PageId id);  // one less; the page is free when none is left

  // A reference of a cache, one a page at most: what would be given up if anyone needed the page.
  void keep(PageId id);  // one more reference, the cache's
  void drop(PageId id);  // gives that one up

  // Aligned to 64 bytes, page_bytes() long. Stable as long as the page is in use.
  std::byte* page_data(PageId id) const;
  int64_t references(PageId id) const;  // 0: free

  uint64_t page_bytes() const { return page_bytes_; }
  int64_t capacity() const { return capacity_; }
  int64_t used() const { return used_; }
  int64_t available() const { return capacity_ - used_; }
  int64_t only_kept() const { return only_kept_; }  // of the used ones, those that only the cache refers to
  uint64_t reserved_bytes() const;                  // of all slabs

 private:
  BlockPool(uint64_t page_bytes, uint64_t stride, int64_t pages, int64_t pages_per_slab)
      : page_bytes_(page_bytes), stride_(stride), capacity_(pages), pages_per_slab_(pages_per_slab) {}
  bool in_use(PageId id) const;

  uint64_t page_bytes_, stride_;
  int64_t capacity_, pages_per_slab_;
  int64_t used_ = 0, only_kept_ = 0;
  std::vector<AlignedBuffer> slabs_;
  std::vector<int64_t> references_;  // of the pages that were ever handed out
  std::vector<bool> kept_;           // of the same
  std::vector<PageId> free_;         // of those, the ones free now; the last freed is reused first
};

}  // namespace kinglet
