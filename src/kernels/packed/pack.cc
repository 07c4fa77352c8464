// pack_matrix: tensors as files hold them -> the layout of packed/layout.h.
#include <limits>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "kernels/packed/layout.h"
#include "kernels/packed/pack_blocks.h"

namespace kinglet {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 48;

Status check_tensor(const TensorView& tensor, int64_t rows, std::span<const int32_t> row_order) {
  const auto invalid = [&](const std::string& what) {
    return Error{ErrorCode::kInvalid, "tensor " + tensor.name + ": " + what};
  };
  const int64_t columns = tensor.columns();
  if (columns <= 0 || columns % dtype_info(tensor.dtype).block_values != 0) {
    return invalid("rows of " + std::to_string(columns) + " values, not a multiple of the type's block");
  }
  if (tensor.data.size() != row_bytes(tensor.dtype, static_cast<uint64_t>(tensor.elements()))) {
    return invalid("its data has another size than its shape says");
  }
  for (int32_t r : row_order) {
    if (r < 0 || r >= tensor.rows()) return invalid("has no row " + std::to_string(r));
  }
  if (rows > kMostElements / columns) return invalid("too large");
  return {};
}

}  // namespace

uint64_t packed_matrix_bytes(DType type, int64_t rows, int64_t columns) {
  const DType packed_type = packed::is_packed(type) ? type : DType::kF32;
  const int64_t blocks = (rows + packed::kRowsPerBlock - 1) / packed::kRowsPerBlock;
  return static_cast<uint64_t>(blocks) * packed::row_block_bytes(packed_type, columns);
}

Result<PackedMatrix> pack_matrix(const Compute& compute, const TensorView& tensor, RowDecoder decode,
                                 std::span<const int32_t> row_order) {
  const int64_t rows = row_order.empty() ? tensor.rows() : static_cast<int64_t>(row_order.size());
  const int64_t columns = tensor.columns();
  KL_RETURN_IF_ERROR(check_tensor(tensor, rows, row_order));
  PackedMatrix m;
  m.widened_ = !packed::is_packed(tensor.dtype);
  if (m.widened_ && decode == nullptr) {
    return Error{ErrorCode::kUnsupported,
                 "tensor " + tensor.name + ": no kernel for " + std::string(dtype_info(tensor.dtype).name)};
  }
  m.dtype_ = m.widened_ ? DType::kF32 : tensor.dtype;
  m.rows_ = rows;
  m.columns_ = columns;
  const uint64_t block_bytes = packed::row_block_bytes(m.dtype_, columns);
  const int64_t blocks = (rows + packed::kRowsPerBlock - 1) / packed::kRowsPerBlock;
  KL_TRY(m.buffer_, AlignedBuffer::allocate(packed_matrix_bytes(m.dtype_, rows, columns)));
  auto* out = m.buffer_.as<uint8_t>();
  compute.pool->parallel_for(blocks, 1, [&](int64_t first, int64_t last) {
    std::vector<float> widened(m.widened_ ? static_cast<size_t>(columns) : 0);
    for (int64_t r = first * packed::kRowsPerBlock; r < last * packed::kRowsPerBlock && r < rows; ++r) {
      const std::byte* row = tensor.row(row_order.empty() ? r : row_order[static_cast<size_t>(r)]);
      const auto* bytes = reinterpret_cast<const uint8_t*>(row);
      if (m.widened_) {
        decode(tensor.dtype, row, columns, widened.data());
        bytes = reinterpret_cast<const uint8_t*>(widened.data());
      }
      const auto block = static_cast<uint64_t>(r / packed::kRowsPerBlock);
      packed::pack_row(m.dtype_, bytes, columns, static_cast<int>(r % packed::kRowsPerBlock),
                       out + block * block_bytes);
    }
  });
  return m;
}

}  // namespace kinglet
