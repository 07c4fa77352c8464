#include "cache/block_pool.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "base/check.h"

namespace kinglet {

namespace {
constexpr uint64_t kAlignment = 64;
constexpr uint64_t kSlabBytes = uint64_t{64} << 20;
}  // namespace

Result<BlockPool> BlockPool::create(uint64_t page_bytes, int64_t pages) {
  if (page_bytes == 0 || pages <= 0 || pages > std::numeric_limits<PageId>::max()) {
    return Error{ErrorCode::kInvalid, "a pool of KV pages needs at least one page of at least one byte; asked for " +
                                          std::to_string(pages) + " pages of " + std::to_string(page_bytes) + " bytes"};
  }
  const uint64_t most = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (page_bytes > most - kAlignment || (page_bytes + kAlignment) > most / static_cast<uint64_t>(pages)) {
    return Error{ErrorCode::kInvalid, "a pool of " + std::to_string(pages) + " KV pages of " +
                                          std::to_string(page_bytes) + " bytes is larger than any memory"};
  }
  const uint64_t stride = (page_bytes + kAlignment - 1) / kAlignment * kAlignment;
  const int64_t per_slab = std::clamp<int64_t>(static_cast<int64_t>(kSlabBytes / stride), 1, pages);
  return BlockPool(page_bytes, stride, pages, per_slab);
}

Result<PageId> BlockPool::allocate() {
  if (!free_.empty()) {
    const PageId id = free_.back();
    free_.pop_back();
    references_[static_cast<size_t>(id)] = 1;
    ++used_;
    std::memset(page_data(id), 0, page_bytes_);
    return id;
  }
  const auto next = static_cast<int64_t>(references_.size());
  if (next == capacity_) {
    return Error{ErrorCode::kResource, "all " + std::to_string(capacity_) + " KV pages are in use"};
  }
  const int64_t slab = next / pages_per_slab_;
  if (slab == static_cast<int64_t>(slabs_.size())) {
    const int64_t pages = std::min(pages_per_slab_, capacity_ - next);
    KL_TRY(AlignedBuffer buffer, AlignedBuffer::allocate(static_cast<size_t>(pages) * stride_));
    slabs_.push_back(std::move(buffer));
  }
  // A page that was never handed out is zero already: its slab came so from the system, untouched.
  references_.push_back(1);
  kept_.push_back(false);
  ++used_;
  return static_cast<PageId>(next);
}

bool BlockPool::in_use(PageId id) const {
  return id >= 0 && static_cast<size_t>(id) < references_.size() && references_[static_cast<size_t>(id)] > 0;
}

void BlockPool::retain(PageId id) {
  KL_CHECK(in_use(id), "retain() of a page that is free");
  if (kept_[static_cast<size_t>(id)] && references_[static_cast<size_t>(id)] == 1) --only_kept_;
  ++references_[static_cast<size_t>(id)];
}

void BlockPool::release(PageId id) {
  KL_CHECK(in_use(id), "release() of a page that is free");
  const int64_t left = --references_[static_cast<size_t>(id)];
  const bool kept = kept_[static_cast<size_t>(id)];
  KL_CHECK(left > 0 || !kept, "release() of the cache's reference");
  if (kept && left == 1) ++only_kept_;
  if (left > 0) return;
  free_.push_back(id);
  --used_;
}

void BlockPool::keep(PageId id) {
  retain(id);
  KL_CHECK(!kept_[static_cast<size_t>(id)], "keep() of a page that is kept already");
  kept_[static_cast<size_t>(id)] = true;
}

void BlockPool::drop(PageId id) {
  KL_CHECK(in_use(id) && kept_[static_cast<size_t>(id)], "drop() of a page that is not kept");
  if (references_[static_cast<size_t>(id)] == 1) --only_kept_;
  kept_[static_cast<size_t>(id)] = false;
  release(id);
}

std::byte* BlockPool::page_data(PageId id) const {
  KL_CHECK(in_use(id), "page_data() of a page that is free");
  const int64_t slab = id / pages_per_slab_;
  return slabs_[static_cast<size_t>(slab)].data() + static_cast<uint64_t>(id - slab * pages_per_slab_) * stride_;
}

int64_t BlockPool::references(PageId id) const {
  return in_use(id) ? references_[static_cast<size_t>(id)] : 0;
}

uint64_t BlockPool::reserved_bytes() const {
  uint64_t bytes = 0;
  for (const AlignedBuffer& slab : slabs_) bytes += slab.size();
  return bytes;
}

}  // namespace kinglet
