#include "base/tensor_view.h"

namespace kinglet {

const std::byte* TensorView::row(int64_t r, std::vector<std::byte>& scratch) const {
  if (source == nullptr) return row(r);
  scratch.resize(row_bytes(dtype, static_cast<uint64_t>(columns())));
  source->row(first_row + r, scratch.data());
  return scratch.data();
}

void TensorView::finish_row(std::span<float> row) const {
  KL_CHECK(row.size() == static_cast<size_t>(columns()), "a row of another length");
  if (multiplier != 1.0f) {
    for (float& value : row) value *= multiplier;
  }
  if (column_order.empty()) return;
  const std::vector<float> stored(row.begin(), row.end());
  for (size_t i = 0; i < stored.size(); ++i) row[static_cast<size_t>(column_order[i])] = stored[i];
}

}  // namespace kinglet
