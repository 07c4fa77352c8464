#include "convert/turned_rows.h"

#include <cstring>

#include "formats/decode.h"

namespace kinglet::convert {
namespace {

constexpr size_t kHeld = 8;

}  // namespace

TurnedRows::TurnedRows(const TensorView& tensor, const StoredLayout& layout, int64_t matrices)
    : tensor_(tensor), layout_(layout), matrices_(matrices) {
  tensor_.shape = {tensor.elements() / layout.columns, layout.columns};
  stored_bytes = tensor.stored_bytes();
}

int64_t TurnedRows::rows_of_matrix() const {
  return layout_.order.empty() ? layout_.columns : std::ssize(layout_.order);
}

TensorView TurnedRows::view() const {
  TensorView view;
  view.name = tensor_.name;
  view.shape = {matrices_ * rows_of_matrix(), layout_.rows};
  view.source = this;
  return view;
}

void TurnedRows::row(int64_t r, std::byte* out) const {
  const auto columns = static_cast<size_t>(layout_.rows);
  const std::shared_ptr<const Matrix> values = matrix(r / rows_of_matrix());
  std::memcpy(out, values->data() + static_cast<size_t>(r % rows_of_matrix()) * columns, columns * sizeof(float));
}

std::shared_ptr<const TurnedRows::Matrix> TurnedRows::matrix(int64_t i) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [number, values] : held_)
    if (number == i) return values;
  if (held_.size() == kHeld) held_.pop_front();
  return held_.emplace_back(i, decode(i)).second;
}

std::shared_ptr<const TurnedRows::Matrix> TurnedRows::decode(int64_t i) const {
  const int64_t rows = rows_of_matrix(), columns = layout_.rows;
  auto turned = std::make_shared<Matrix>(static_cast<size_t>(rows * columns));
  std::vector<float> stored(static_cast<size_t>(layout_.columns));
  for (int64_t c = 0; c < columns; ++c) {
    decode_row(tensor_, i * layout_.stride + layout_.offset + c, stored);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t from = layout_.order.empty() ? r : layout_.order[static_cast<size_t>(r)];
      (*turned)[static_cast<size_t>(r * columns + c)] = stored[static_cast<size_t>(from)];
    }
  }
  return turned;
}

}  // namespace kinglet::convert
