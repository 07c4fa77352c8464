// pack_matrices: tensors as files hold them -> the layout of packed/layout.h.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "kernels/ops.h"
#include "kernels/packed/layout.h"
#include "kernels/packed/pack_blocks.h"
#include "kernels/packing_arena.h"

namespace kinglet {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 48;
constexpr uint64_t kAlignment = 4096;  // of a matrix among others

Status check_tensor(const TensorView& tensor, int64_t rows, std::span<const int32_t> row_order) {
  const auto invalid = [&](const std::string& what) {
    return Error{ErrorCode::kInvalid, "tensor " + tensor.name + ": " + what};
  };
  const int64_t columns = tensor.columns();
  const bool whole_blocks = columns % dtype_info(tensor.dtype).block_values == 0 || has_padded_rows(tensor.dtype);
  if (columns <= 0 || !whole_blocks) {
    return invalid("rows of " + std::to_string(columns) + " values, not a multiple of the type's block");
  }
  const uint64_t bytes = row_bytes(tensor.dtype, static_cast<uint64_t>(columns));
  if (tensor.source == nullptr && tensor.data.size() != static_cast<uint64_t>(tensor.rows()) * bytes) {
    return invalid("its data has another size than its shape says");
  }
  if (!tensor.column_order.empty() && std::ssize(tensor.column_order) != columns)
    return invalid("has an order of " + std::to_string(tensor.column_order.size()) + " columns");
  for (int32_t c : tensor.column_order) {
    if (c < 0 || c >= columns) return invalid("has no column " + std::to_string(c));
  }
  for (int32_t r : row_order) {
    if (r < 0 || r >= tensor.rows()) return invalid("has no row " + std::to_string(r));
  }
  if (rows > kMostElements / columns) return invalid("too large");
  return {};
}

// Types that have none are widened, their columns and multiplier set right on the way.
bool has_packed_form(const TensorView& tensor) {
  return packed::is_packed(tensor.dtype);
}

int64_t row_blocks(int64_t rows) {
  return (rows + packed::kRowsPerBlock - 1) / packed::kRowsPerBlock;
}

// Where the rows of a matrix come from.
struct Source {
  const TensorView& tensor;
  RowDecoder decode;
  std::span<const int32_t> row_order;
};

// One block of 16 rows of the matrix at `out`, whose rows are `rows` in all.
void pack_block(const Source& from, DType type, int64_t rows, int64_t block, uint8_t* out) {
  const int64_t columns = from.tensor.columns();
  const bool widen = type != from.tensor.dtype;
  std::vector<std::byte> assembled;
  std::vector<float> widened(widen ? static_cast<size_t>(columns) : 0);
  out += static_cast<uint64_t>(block) * packed::row_block_bytes(type, columns);
  for (int lane = 0; lane < packed::kRowsPerBlock; ++lane) {
    const int64_t r = block * packed::kRowsPerBlock + lane;
    if (r >= rows) return;
    const std::byte* row =
        from.tensor.row(from.row_order.empty() ? r : from.row_order[static_cast<size_t>(r)], assembled);
    const auto* bytes = reinterpret_cast<const uint8_t*>(row);
    if (widen) {
      from.decode(from.tensor.dtype, row, columns, widened.data());
      from.tensor.finish_row(widened);
      bytes = reinterpret_cast<const uint8_t*>(widened.data());
    }
    packed::pack_row(type, bytes, columns, lane, out);
  }
}

}  // namespace

uint64_t packed_matrix_bytes(DType type, int64_t rows, int64_t columns) {
  const DType packed_type = packed::is_packed(type) ? type : DType::kF32;
  return static_cast<uint64_t>(row_blocks(rows)) * packed::row_block_bytes(packed_type, columns);
}

uint64_t packed_matrix_bytes(const TensorView& tensor) {
  return packed_matrix_bytes(has_packed_form(tensor) ? tensor.dtype : DType::kF32, tensor.rows(), tensor.columns());
}

Result<TensorView> slice_rows(const TensorView& tensor, int64_t first, int64_t rows) {
  KL_RETURN_IF_ERROR(check_tensor(tensor, tensor.rows(), {}));
  if (first < 0 || rows < 0 || first > tensor.rows() || rows > tensor.rows() - first) {
    return Error{ErrorCode::kInvalid, "tensor " + tensor.name + ": has " + std::to_string(tensor.rows()) +
                                          " rows; needed were " + std::to_string(rows) + " from row " +
                                          std::to_string(first) + " on"};
  }
  TensorView slice = tensor;
  slice.shape = {rows, tensor.columns()};
  const uint64_t bytes = row_bytes(tensor.dtype, static_cast<uint64_t>(tensor.columns()));
  if (tensor.source == nullptr) {
    slice.data = tensor.data.subspan(static_cast<uint64_t>(first) * bytes, static_cast<uint64_t>(rows) * bytes);
  } else {
    slice.first_row += first;
  }
  return slice;
}

Result<std::vector<PackedMatrix>> pack_matrices(const Compute& compute, std::span<const TensorView> tensors,
                                                RowDecoder decode, std::span<const int32_t> row_order,
                                                PackingArena* arena) {
  std::vector<PackedMatrix> matrices(tensors.size());
  std::vector<int64_t> first_block;  // of each matrix, in the order of all; then their number
  uint64_t bytes = 0;
  int64_t blocks = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorView& tensor = tensors[i];
    PackedMatrix& m = matrices[i];
    m.rows_ = row_order.empty() ? tensor.rows() : static_cast<int64_t>(row_order.size());
    m.columns_ = tensor.columns();
    KL_RETURN_IF_ERROR(check_tensor(tensor, m.rows_, row_order));
    m.widened_ = !has_packed_form(tensor);
    if (m.widened_ && decode == nullptr) {
      return Error{ErrorCode::kUnsupported,
                   "tensor " + tensor.name + ": no kernel for " + std::string(dtype_info(tensor.dtype).name)};
    }
    m.dtype_ = m.widened_ ? DType::kF32 : tensor.dtype;
    m.multiplier_ = m.widened_ ? 1.0f : tensor.multiplier;
    if (!m.widened_) m.column_order_.assign(tensor.column_order.begin(), tensor.column_order.end());
    m.offset_ = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    m.bytes_ = packed_matrix_bytes(m.dtype_, m.rows_, m.columns_);
    bytes = m.offset_ + m.bytes_;
    first_block.push_back(blocks);
    blocks += row_blocks(m.rows_);
  }
  first_block.push_back(blocks);
  PackingArena own(bytes);
  KL_TRY(const PackingArena::Part part, (arena != nullptr ? *arena : own).take(bytes));
  auto* out = reinterpret_cast<uint8_t*>(part.data);
  compute.pool->parallel_for(blocks, 1, [&](int64_t first, int64_t last) {
    size_t i =
        static_cast<size_t>(std::upper_bound(first_block.begin(), first_block.end(), first) - first_block.begin() - 1);
    for (int64_t block = first; block < last; ++block) {
      while (first_block[i + 1] <= block) ++i;
      const PackedMatrix& m = matrices[i];
      pack_block({tensors[i], decode, row_order}, m.dtype(), m.rows(), block - first_block[i], out + m.offset_);
    }
  });
  for (PackedMatrix& m : matrices) {
    m.storage_ = part.storage;
    m.offset_ += part.offset;
  }
  return matrices;
}

Result<PackedMatrix> pack_matrix(const Compute& compute, const TensorView& tensor, RowDecoder decode,
                                 std::span<const int32_t> row_order) {
  KL_TRY(std::vector<PackedMatrix> one, pack_matrices(compute, std::span(&tensor, 1), decode, row_order));
  return std::move(one.front());
}

}  // namespace kinglet
