#include "kernels/kv_layout.h"

namespace kinglet {

uint64_t KvLayout::k_bytes_per_head() const {
  return static_cast<uint64_t>(page_positions / kKvBlock * k_block_bytes(*this));
}

uint64_t KvLayout::v_bytes_per_head() const {
  if (!stores_values(*this)) return 0;
  const int64_t row = v_row_stride(*this);
  const int64_t scales = type == KvType::kQ8_0 ? row / kKvGroup * page_positions * 2 : 0;
  return static_cast<uint64_t>(page_positions * row * kv_element_bytes(type) + scales);
}

}  // namespace kinglet
