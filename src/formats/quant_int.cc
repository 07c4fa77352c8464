// Integer schemes: GPTQ, AWQ, and compressed-tensors' packed and plain integers.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/quote.h"
#include "formats/checkpoint_parts.h"
#include "formats/quant_parts.h"

namespace kinglet {
namespace {

// The block type whose groups tile groups of `group` columns; nothing where none does.
std::optional<DType> block_of(int bits, int64_t group, int64_t columns) {
  const bool four = bits == 4;
  if (group >= columns || group % 128 == 0) return four ? DType::kInt4G128 : DType::kInt8G128;
  if (group % 64 == 0) return four ? DType::kInt4G64 : DType::kInt8G64;
  if (group % 32 == 0) return four ? DType::kInt4G32 : DType::kInt8G32;
  return std::nullopt;
}

Status choose_block(const QuantParts& parts, const TensorView& scales, IntSource& source) {
  const auto block = block_of(source.codes.bits, source.scales.tile_columns, source.columns);
  if (!block) {
    return parts.unsupported(scales, "groups of " + std::to_string(source.scales.tile_columns) +
                                         " columns are not supported; supported: multiples of 32, and whole rows");
  }
  source.block = *block;
  return {};
}

std::vector<int32_t> int32s(const TensorView& tensor) {
  std::vector<int32_t> numbers(tensor.data.size() / 4);
  std::memcpy(numbers.data(), tensor.data.data(), numbers.size() * 4);
  return numbers;
}

// Columns that g_idx gives to groups in another order than their own (act-order): stored by group, so that blocks have
// one scale.
Status set_order(const QuantParts& parts, const TensorView& g_idx, int64_t groups, IntSource& source) {
  KL_RETURN_IF_ERROR(parts.expect_type(g_idx, {DType::kI32}));
  KL_RETURN_IF_ERROR(parts.expect_shape(g_idx, {source.columns}));
  std::vector<int32_t> group_of = int32s(g_idx);
  if (std::all_of(group_of.begin(), group_of.end(), [](int32_t g) { return g == -1; })) return {};  // not set
  bool in_order = true;
  for (size_t c = 0; c < group_of.size(); ++c) {
    if (group_of[c] < 0 || group_of[c] >= groups) {
      return parts.invalid(g_idx, "column " + std::to_string(c) + ": expected a group below " + std::to_string(groups) +
                                      ", found " + std::to_string(group_of[c]));
    }
    in_order = in_order && group_of[c] == static_cast<int64_t>(c) / source.scales.tile_columns;
  }
  if (in_order) return {};
  std::vector<int32_t> order(group_of.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return group_of[static_cast<size_t>(a)] < group_of[static_cast<size_t>(b)];
  });
  const size_t size = dtype_info(source.block).block_values;
  for (size_t i = 0; i < order.size(); ++i) {
    const int32_t group = group_of[static_cast<size_t>(order[i])];
    if (group != group_of[static_cast<size_t>(order[i / size * size])]) {
      return parts.unsupported(g_idx, "expected groups of multiples of " + std::to_string(size) +
                                          " columns, found another number before group " + std::to_string(group));
    }
  }
  source.order = std::move(order);
  source.group_of_column = std::move(group_of);
  return {};
}

QuantMatrix finish(QuantParts& parts, std::string name, int64_t rows, std::unique_ptr<IntSource> source) {
  const DType block = source->block;
  const int64_t columns = source->columns;
  const std::span<const int32_t> order = source->order;
  QuantMatrix matrix = parts.finish(std::move(name), block, {1, rows, columns}, std::move(source));
  matrix.view.column_order = order;
  return matrix;
}

// Scales of GPTQ and AWQ lie as [groups, rows].
Status set_transposed_scales(const QuantParts& parts, const TensorView& scales, int64_t rows, IntSource& source) {
  KL_RETURN_IF_ERROR(parts.expect_type(scales, {DType::kF16, DType::kBF16, DType::kF32}));
  const int64_t wanted = parts.config().tiles.at(0).columns;
  const int64_t group = wanted == QuantConfig::kWhole ? source.columns : wanted;
  const int64_t groups = (source.columns - 1) / group + 1;
  KL_RETURN_IF_ERROR(parts.expect_shape(scales, {groups, rows}));
  source.scales = {scales.dtype, scales.data.data(), rows, 1, group, 0, 1, rows};
  return choose_block(parts, scales, source);
}

Result<std::unique_ptr<IntSource>> transposed_source(QuantParts& parts, int bits) {
  KL_RETURN_IF_ERROR(parts.expect_type(parts.main(), {DType::kI32}));
  if (auto shape = parts.matrix_shape(parts.main()); !shape.ok()) return shape.error();
  auto source = std::make_unique<IntSource>();
  source->codes.data = parts.main().data.data();
  source->codes.bits = bits;
  source->zeros.bits = bits;
  source->has_zeros = true;
  return source;
}

Result<const TensorView*> zeros_of(QuantParts& parts, int64_t groups, int64_t words) {
  KL_TRY(const TensorView* zeros, parts.need(".qzeros"));
  KL_RETURN_IF_ERROR(parts.expect_type(*zeros, {DType::kI32}));
  KL_RETURN_IF_ERROR(parts.expect_shape(*zeros, {groups, words}));
  return zeros;
}

}  // namespace

// qweight [columns in words, rows], qzeros [groups, rows in words], scales [groups, rows], g_idx [columns].
Result<QuantMatrix> gptq_matrix(QuantParts& parts, std::string name) {
  const QuantConfig& config = parts.config();
  const auto bits = static_cast<int>(config.bits.at(0));
  const int64_t lanes = 32 / bits;
  KL_TRY(auto source, transposed_source(parts, bits));
  const int64_t rows = parts.main().shape[1];
  source->columns = parts.main().shape[0] * lanes;
  KL_TRY(const TensorView* scales, parts.need(".scales"));
  KL_RETURN_IF_ERROR(set_transposed_scales(parts, *scales, rows, *source));
  source->codes.packed_stride = rows;
  const int64_t words = (rows - 1) / lanes + 1;
  KL_TRY(const TensorView* zeros, zeros_of(parts, scales->shape[0], words));
  source->zeros.data = zeros->data.data();
  source->zeros.across_stride = words;
  // A zero point of 0 was stored as -1, all ones.
  source->zero_offset = config.zero_plus_one ? 1 : 0;
  source->zero_mask = (1 << bits) - 1;
  if (const TensorView* g_idx = parts.find(".g_idx")) {
    KL_RETURN_IF_ERROR(set_order(parts, *g_idx, scales->shape[0], *source));
  }
  return finish(parts, std::move(name), rows, std::move(source));
}

// qweight [columns, rows in words], qzeros [groups, rows in words], scales [groups, rows].
Result<QuantMatrix> awq_matrix(QuantParts& parts, std::string name) {
  constexpr int64_t kLanes = 8;
  KL_TRY(auto source, transposed_source(parts, 4));
  const int64_t words = parts.main().shape[1], rows = words * kLanes;
  source->columns = parts.main().shape[0];
  source->packed_by_row = true;
  source->codes.awq_order = source->zeros.awq_order = true;
  source->codes.across_stride = source->zeros.across_stride = words;
  KL_TRY(const TensorView* scales, parts.need(".scales"));
  KL_RETURN_IF_ERROR(set_transposed_scales(parts, *scales, rows, *source));
  KL_TRY(const TensorView* zeros, zeros_of(parts, scales->shape[0], words));
  source->zeros.data = zeros->data.data();
  return finish(parts, std::move(name), rows, std::move(source));
}

namespace {

// Columns of a packed matrix: what weight_shape says, or all that the words hold.
Result<int64_t> packed_columns(QuantParts& parts, int64_t rows, int64_t words) {
  const TensorView* shape = parts.find(".weight_shape");
  const auto& widths = parts.config().bits;
  if (shape == nullptr) {
    if (widths.size() == 1) return words * (32 / widths[0]);
    return parts.need(".weight_shape").error();
  }
  KL_RETURN_IF_ERROR(parts.expect_type(*shape, {DType::kI64, DType::kI32}));
  KL_RETURN_IF_ERROR(parts.expect_shape(*shape, {2}));
  int64_t sides[2] = {};
  for (int i = 0; i < 2; ++i) {
    int32_t narrow = 0;
    if (shape->dtype == DType::kI64) std::memcpy(&sides[i], shape->data.data() + 8 * i, 8);
    if (shape->dtype == DType::kI32) std::memcpy(&narrow, shape->data.data() + 4 * i, 4), sides[i] = narrow;
  }
  if (sides[0] == rows && sides[1] > 0) return sides[1];
  return parts.invalid(
      *shape, "expected " + std::to_string(rows) + " rows and some columns, found " + shape_text({sides[0], sides[1]}));
}

Result<int> packed_bits(const QuantParts& parts, int64_t columns, int64_t words) {
  for (int64_t bits : parts.config().bits) {
    if ((columns - 1) / (32 / bits) + 1 == words) return static_cast<int>(bits);
  }
  return parts.invalid(parts.main(),
                       "shape: expected " + std::to_string(columns) +
                           " columns in words of 32 bits, with the num_bits of the configuration, found " +
                           shape_text(parts.main().shape));
}

Status set_packed_zeros(QuantParts& parts, int64_t rows, IntSource& source) {
  const TensorView* zeros = parts.find(".weight_zero_point");
  if (zeros == nullptr) return {};
  KL_RETURN_IF_ERROR(parts.expect_type(*zeros, {DType::kI32}));
  if (source.scales.tile_rows != 1) return parts.unsupported(*zeros, "zero points of whole matrices are not supported");
  const int64_t lanes = 32 / source.codes.bits, groups = source.scales.row_stride;
  KL_RETURN_IF_ERROR(parts.expect_shape(*zeros, {(rows - 1) / lanes + 1, groups}));
  source.has_zeros = true;
  source.zeros.data = zeros->data.data();
  source.zeros.bits = source.codes.bits;
  source.zeros.packed_stride = groups;
  return {};
}

}  // namespace

// weight_packed [rows, columns in words], weight_scale [rows, groups], weight_shape, weight_zero_point [rows in words,
// groups], weight_g_idx [columns].
Result<QuantMatrix> packed_int_matrix(QuantParts& parts, std::string name) {
  KL_TRY(const StackShape words, parts.matrix_shape(parts.main()));
  auto source = std::make_unique<IntSource>();
  KL_TRY(source->columns, packed_columns(parts, words.rows, words.columns));
  KL_TRY(source->codes.bits, packed_bits(parts, source->columns, words.columns));
  source->codes.data = parts.main().data.data();
  source->codes.across_stride = words.columns;
  source->symmetric_zero = 1 << (source->codes.bits - 1);
  KL_TRY(const TensorView* scales, parts.need(".weight_scale"));
  KL_TRY(source->scales, parts.grid(*scales, {1, words.rows, source->columns}));
  KL_RETURN_IF_ERROR(choose_block(parts, *scales, *source));
  KL_RETURN_IF_ERROR(set_packed_zeros(parts, words.rows, *source));
  if (const TensorView* g_idx = parts.find(".weight_g_idx")) {
    KL_RETURN_IF_ERROR(set_order(parts, *g_idx, source->scales.row_stride, *source));
  }
  return finish(parts, std::move(name), words.rows, std::move(source));
}

// weight [rows, columns] of signed bytes, weight_scale, weight_zero_point of the same shape as it.
Result<QuantMatrix> int8_matrix(QuantParts& parts, std::string name) {
  KL_TRY(const StackShape shape, parts.matrix_shape(parts.main()));
  auto source = std::make_unique<IntSource>();
  source->columns = shape.columns;
  source->codes = {parts.main().data.data(), 1, shape.columns, 8, 1, false, 0x80};
  source->symmetric_zero = 128;
  KL_TRY(const TensorView* scales, parts.need(".weight_scale"));
  KL_TRY(source->scales, parts.grid(*scales, shape));
  KL_RETURN_IF_ERROR(choose_block(parts, *scales, *source));
  if (const TensorView* zeros = parts.find(".weight_zero_point")) {
    KL_RETURN_IF_ERROR(parts.expect_type(*zeros, {DType::kI8}));
    KL_RETURN_IF_ERROR(parts.expect_shape(*zeros, scales->shape));
    if (source->scales.tile_rows != 1 && scales->elements() != 1) {
      return parts.unsupported(*zeros, "zero points of blocks are not supported");
    }
    source->has_zeros = true;
    const int64_t stride = scales->elements() == 1 ? 0 : source->scales.row_stride;
    source->zeros = {zeros->data.data(), stride, 1, 8, 1, false, 0x80};
  }
  return finish(parts, std::move(name), shape.rows, std::move(source));
}

}  // namespace kinglet
