#include "formats/quant_parts.h"

#include <algorithm>
#include <utility>

#include "base/quote.h"
#include "formats/checkpoint_parts.h"

namespace kinglet {
namespace {

int64_t tiles_in(int64_t size, int64_t tile) {
  return size / tile + (size % tile != 0);
}

// Rows and columns of the grid that a tensor of scales is; nothing where it does not go with the weights' dimensions.
std::optional<std::pair<int64_t, int64_t>> grid_sides(const TensorView& scales, const TensorView& weights,
                                                      const StackShape& shape) {
  const auto& s = scales.shape;
  const size_t rank = weights.shape.size();
  const auto leads = [&](size_t count) {
    return std::equal(s.begin(), s.begin() + static_cast<int64_t>(count), weights.shape.begin());
  };
  if (scales.elements() == 1 && shape.matrices == 1) return std::pair(int64_t{1}, int64_t{1});
  if (s.size() == rank && leads(rank - 2)) return std::pair(s[rank - 2], s[rank - 1]);
  if (s.size() + 1 == rank && leads(rank - 2)) return std::pair(s[rank - 2], int64_t{1});
  if (s.size() + 2 == rank && leads(rank - 2)) return std::pair(int64_t{1}, int64_t{1});
  return std::nullopt;
}

}  // namespace

QuantParts::QuantParts(const Checkpoint& checkpoint, const QuantConfig& config, const TensorView& main,
                       std::string module)
    : checkpoint_(checkpoint), config_(config), main_(main), module_(std::move(module)), used_({&main}) {
  // What belongs to the activations' side and means nothing here.
  for (const char* suffix : {".input_scale", ".input_zero_point", ".input_global_scale", ".activation_scale",
                             ".input_scale_ub", ".weight_shape"}) {
    find(suffix);
  }
}

const TensorView* QuantParts::find(std::string_view suffix) {
  const TensorView* part = checkpoint_.find(module_ + std::string(suffix));
  if (part && std::find(used_.begin(), used_.end(), part) == used_.end()) used_.push_back(part);
  return part;
}

Result<const TensorView*> QuantParts::need(std::string_view suffix) {
  if (const TensorView* part = find(suffix)) return part;
  return invalid(main_, "expected a companion " + quote(module_ + std::string(suffix)) + ", found none");
}

Error QuantParts::invalid(const TensorView& tensor, const std::string& what) const {
  return {ErrorCode::kInvalid, checkpoint_.path + ": tensor " + quote(tensor.name) + ": " + what};
}

Error QuantParts::unsupported(const TensorView& tensor, const std::string& what) const {
  return {ErrorCode::kUnsupported, invalid(tensor, what).message};
}

Status QuantParts::expect_type(const TensorView& tensor, std::initializer_list<DType> types) const {
  if (std::find(types.begin(), types.end(), tensor.dtype) != types.end()) return {};
  std::string list;
  for (DType type : types) list += (list.empty() ? "" : " or ") + std::string(dtype_info(type).name);
  return invalid(tensor, "dtype: expected " + list + ", found " + std::string(dtype_info(tensor.dtype).name));
}

Status QuantParts::expect_shape(const TensorView& tensor, const std::vector<int64_t>& shape) const {
  if (tensor.shape == shape) return {};
  return invalid(tensor, "shape: expected " + shape_text(shape) + ", found " + shape_text(tensor.shape));
}

Result<StackShape> QuantParts::stack_shape(const TensorView& tensor) const {
  const auto& s = tensor.shape;
  if (s.size() < 2 || tensor.elements() == 0) {
    return invalid(tensor, "shape: expected two dimensions or more, none of them 0, found " + shape_text(s));
  }
  const int64_t rows = s[s.size() - 2], columns = s.back();
  return StackShape{tensor.elements() / rows / columns, rows, columns};
}

Result<StackShape> QuantParts::matrix_shape(const TensorView& tensor) const {
  if (tensor.shape.size() == 2) return stack_shape(tensor);
  return unsupported(tensor, "shape: expected two dimensions, found " + shape_text(tensor.shape) +
                                 "; stacks are supported for FP8 and MXFP4");
}

Result<ScaleGrid> QuantParts::grid(const TensorView& scales, const StackShape& shape) const {
  KL_RETURN_IF_ERROR(expect_type(scales, {DType::kF32, DType::kF16, DType::kBF16, DType::kF8_E8M0}));
  std::vector<QuantConfig::Tile> tiles = config_.tiles;
  tiles.push_back({1, QuantConfig::kWhole});
  tiles.push_back({QuantConfig::kWhole, QuantConfig::kWhole});
  std::string expected;
  const auto sides = grid_sides(scales, main_, shape);
  for (const auto& tile : tiles) {
    const int64_t rows = tile.rows == QuantConfig::kWhole ? shape.rows : tile.rows;
    const int64_t columns = tile.columns == QuantConfig::kWhole ? shape.columns : tile.columns;
    const auto wanted = std::pair(tiles_in(shape.rows, rows), tiles_in(shape.columns, columns));
    if (sides == wanted) {
      return ScaleGrid{scales.dtype, scales.data.data(),           shape.rows,    rows,
                       columns,      wanted.first * wanted.second, wanted.second, 1};
    }
    expected += (expected.empty() ? "" : " or ") + shape_text({wanted.first, wanted.second});
  }
  return invalid(scales, "shape: expected " + expected + (shape.matrices > 1 ? " for each matrix" : "") +
                             " for weights of " + shape_text({shape.rows, shape.columns}) + ", found " +
                             shape_text(scales.shape));
}

QuantMatrix QuantParts::finish(std::string name, DType dtype, const StackShape& shape,
                               std::unique_ptr<RowSource> source) {
  QuantMatrix matrix;
  matrix.view.name = std::move(name);
  matrix.view.dtype = dtype;
  if (shape.matrices > 1) matrix.view.shape.push_back(shape.matrices);
  matrix.view.shape.insert(matrix.view.shape.end(), {shape.rows, shape.columns});
  for (const TensorView* part : used_) source->stored_bytes += part->data.size();
  matrix.source = std::move(source);
  matrix.parts = std::move(used_);
  return matrix;
}

}  // namespace kinglet
