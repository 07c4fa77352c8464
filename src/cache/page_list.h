// PageList: the pages of one text, in the order of its positions, as a step wants to see them. Knows no pool: whoever
// owns the pages says where they come from and go to.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cache/block_pool.h"

namespace kinglet {

class PageList {
 public:
  int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  std::span<std::byte* const> data() const { return data_; }
  PageId id(int64_t index) const { return ids_[static_cast<size_t>(index)]; }

  // Brings the list to `count` pages, if it has fewer. What it got before an error stays.
  Status grow(BlockPool& pool, int64_t count) {
    while (size() < count) {
      KL_TRY(const PageId page, pool.allocate());
      ids_.push_back(page);
      data_.push_back(pool.page_data(page));
    }
    return {};
  }
  // Takes over the caller's reference to `page`, as the next one; or in place of the one at `index`, whose reference is
  // the caller's affair.
  void append(const BlockPool& pool, PageId page) {
    ids_.push_back(page);
    data_.push_back(pool.page_data(page));
  }
  void replace(const BlockPool& pool, int64_t index, PageId page) {
    ids_[static_cast<size_t>(index)] = page;
    data_[static_cast<size_t>(index)] = pool.page_data(page);
  }
  // Gives all back.
  void release(BlockPool& pool) {
    for (const PageId page : ids_) pool.release(page);
    ids_.clear();
    data_.clear();
  }

 private:
  std::vector<PageId> ids_;
  std::vector<std::byte*> data_;
};

}  // namespace kinglet
