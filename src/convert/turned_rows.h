// Rows of matrices that a file holds transposed. Internal to convert/.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/tensor_view.h"
#include "families/slots.h"

namespace kinglet::convert {

// The turned slices of a tensor that `layout` describes, one matrix after the other, as floats: what TensorView::source
// needs. A few matrices are held decoded at a time, since readers go through the rows about in order.
class TurnedRows final : public RowSource {
 public:
  TurnedRows(const TensorView& tensor, const StoredLayout& layout, int64_t matrices);

  void row(int64_t r, std::byte* out) const override;
  // All rows as one tensor.
  TensorView view() const;

 private:
  using Matrix = std::vector<float>;  // [rows of the result][columns of the result]
  std::shared_ptr<const Matrix> matrix(int64_t i) const;
  std::shared_ptr<const Matrix> decode(int64_t i) const;
  int64_t rows_of_matrix() const;

  TensorView tensor_;
  StoredLayout layout_;
  int64_t matrices_;
  mutable std::mutex mutex_;
  mutable std::deque<std::pair<int64_t, std::shared_ptr<const Matrix>>> held_;
};

}  // namespace kinglet::convert
