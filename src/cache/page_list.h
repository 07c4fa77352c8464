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

  // Brings the list to `count` pages, if it has fewer. What it got before an error stays.
  Status grow(BlockPool& pool, int64_t count) {
    while (size() < count) {
      KL_TRY(const PageId page, pool.allocate());
      ids_.push_back(page);
      data_.push_back(pool.page_data(page));
    }
    return {};
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
