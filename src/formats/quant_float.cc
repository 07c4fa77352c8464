// Floating schemes: FP8, MXFP4, NVFP4, and bitsandbytes' NF4.
#include <algorithm>
#include <cstring>
#include <utility>

#include "base/quote.h"
#include "formats/checkpoint_parts.h"
#include "formats/decode.h"
#include "formats/decode_blocks.h"
#include "formats/json_bounded.h"
#include "formats/quant_parts.h"

namespace kinglet {

// weight [..., rows, columns] in E4M3 and one scale for each tile of it. A scale multiplies, whatever its name says.
Result<QuantMatrix> fp8_matrix(QuantParts& parts, const TensorView& scales, std::string name) {
  KL_TRY(const StackShape shape, parts.stack_shape(parts.main()));
  auto source = std::make_unique<Fp8Source>();
  source->columns = shape.columns;
  source->values = parts.main().data.data();
  KL_TRY(source->scales, parts.grid(scales, shape));
  const int64_t tile = source->scales.tile_columns;
  if (tile < shape.columns && tile % 128 != 0) {
    return parts.unsupported(scales, "blocks of " + std::to_string(tile) +
                                         " columns are not supported; supported: multiples of 128, and whole rows");
  }
  return parts.finish(std::move(name), DType::kFp8G128, shape, std::move(source));
}

// Packed 4-bit floats [..., rows, columns / 2] (gpt-oss: [..., rows, columns / 32, 16]) with an E8M0 scale for 32.
Result<QuantMatrix> mxfp4_matrix(QuantParts& parts, const TensorView& scales, std::string name) {
  const TensorView& main = parts.main();
  KL_RETURN_IF_ERROR(parts.expect_type(main, {DType::kU8, DType::kI8}));
  KL_RETURN_IF_ERROR(parts.expect_type(scales, {DType::kU8, DType::kF8_E8M0}));
  KL_TRY(const StackShape grid, parts.stack_shape(scales));
  std::vector<int64_t> wanted = scales.shape;
  if (main.shape.size() > wanted.size()) {
    wanted.push_back(16);
  } else {
    wanted.back() *= 16;
  }
  KL_RETURN_IF_ERROR(parts.expect_shape(main, wanted));
  auto source = std::make_unique<Fp4Source>();
  source->columns = grid.columns * 32;
  source->values = main.data.data();
  source->scales = scales.data.data();
  const StackShape shape = {grid.matrices, grid.rows, source->columns};
  return parts.finish(std::move(name), DType::kMXFP4, shape, std::move(source));
}

namespace {

// The factor that all of an NVFP4 matrix has beside its blocks' scales: modelopt stores it, compressed-tensors its
// inverse.
Result<float> nvfp4_multiplier(QuantParts& parts) {
  const TensorView* inverse = parts.find(".weight_global_scale");
  const TensorView* factor = inverse;
  if (factor == nullptr) {
    KL_TRY(factor, parts.need(".weight_scale_2"));
  }
  KL_RETURN_IF_ERROR(parts.expect_type(*factor, {DType::kF32}));
  if (factor->elements() != 1) {
    return parts.invalid(*factor, "shape: expected one number, found " + shape_text(factor->shape));
  }
  float value = 0.0f;
  decode_row(*factor, 0, {&value, 1});
  return inverse ? 1.0f / value : value;
}

}  // namespace

// Packed 4-bit floats [rows, columns / 2], weight_scale [rows, columns / 16] in E4M3.
Result<QuantMatrix> nvfp4_matrix(QuantParts& parts, std::string name) {
  if (const TensorView* by_input = parts.find(".pre_quant_scale")) {
    return parts.unsupported(*by_input, "scales of the inputs (NVFP4_AWQ) are not supported; supported: plain NVFP4");
  }
  KL_TRY(const TensorView* scales, parts.need(".weight_scale"));
  KL_RETURN_IF_ERROR(parts.expect_type(*scales, {DType::kF8_E4M3}));
  KL_TRY(const StackShape grid, parts.matrix_shape(*scales));
  KL_RETURN_IF_ERROR(parts.expect_shape(parts.main(), {grid.rows, grid.columns * 8}));
  if (grid.columns % 4 != 0) {
    return parts.unsupported(parts.main(), "rows of " + std::to_string(grid.columns * 16) +
                                               " values are not supported; supported: multiples of 64");
  }
  KL_TRY(const float multiplier, nvfp4_multiplier(parts));
  auto source = std::make_unique<Fp4Source>();
  source->columns = grid.columns * 16;
  source->block = DType::kNVFP4;
  source->values = parts.main().data.data();
  source->scales = scales->data.data();
  const StackShape shape = {1, grid.rows, source->columns};
  QuantMatrix matrix = parts.finish(std::move(name), DType::kNVFP4, shape, std::move(source));
  matrix.view.multiplier = multiplier;
  return matrix;
}

namespace {

// The JSON that bitsandbytes keeps as bytes beside a matrix.
struct Nf4State {
  int64_t rows = 0, columns = 0, group = 0, nested_group = 0;
  double nested_offset = 0.0;
};

Result<Nf4State> nf4_state(const QuantParts& parts, const TensorView& tensor) {
  const auto bad = [&](const std::string& field, const std::string& expected) {
    return parts.invalid(tensor, field + ": expected " + expected + ", found another value or none");
  };
  KL_RETURN_IF_ERROR(parts.expect_type(tensor, {DType::kU8}));
  const std::string_view text(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
  KL_TRY(const nlohmann::json json, parse_json(text, "tensor " + quote(tensor.name)));
  if (!json.is_object()) return bad("contents", "a JSON object");
  const auto whole = [&](const char* key, int64_t fallback) {
    const auto found = json.find(key);
    if (found == json.end() || found->is_null()) return fallback;
    return found->is_number_unsigned() && *found <= uint64_t{1} << 40 ? found->get<int64_t>() : int64_t{0};
  };
  Nf4State state;
  state.group = whole("blocksize", 0);
  state.nested_group = whole("nested_blocksize", 256);
  if (state.group == 0 || state.nested_group == 0) return bad("blocksize, nested_blocksize", "positive numbers");
  const auto shape = json.find("shape");
  if (shape == json.end() || !shape->is_array() || shape->size() != 2 || !(*shape)[0].is_number_unsigned() ||
      !(*shape)[1].is_number_unsigned()) {
    return bad("shape", "two whole numbers");
  }
  state.rows = (*shape)[0].get<int64_t>();
  state.columns = (*shape)[1].get<int64_t>();
  if (const auto offset = json.find("nested_offset"); offset != json.end() && !offset->is_null()) {
    if (!offset->is_number()) return bad("nested_offset", "a number");
    state.nested_offset = offset->get<double>();
  }
  return state;
}

Status set_absmax(QuantParts& parts, const Nf4State& state, int64_t groups, Nf4Source& source) {
  KL_TRY(const TensorView* absmax, parts.need(".weight.absmax"));
  const bool nested = absmax->dtype == DType::kU8;
  KL_RETURN_IF_ERROR(parts.expect_type(*absmax, {DType::kF32, DType::kU8}));
  KL_RETURN_IF_ERROR(parts.expect_shape(*absmax, {groups}));
  source.absmax = absmax->data.data();
  if (!nested) return {};
  KL_TRY(const TensorView* scales, parts.need(".weight.nested_absmax"));
  KL_TRY(const TensorView* levels, parts.need(".weight.nested_quant_map"));
  for (const TensorView* tensor : {scales, levels}) KL_RETURN_IF_ERROR(parts.expect_type(*tensor, {DType::kF32}));
  KL_RETURN_IF_ERROR(parts.expect_shape(*scales, {(groups - 1) / state.nested_group + 1}));
  KL_RETURN_IF_ERROR(parts.expect_shape(*levels, {256}));
  source.nested_absmax = scales->data.data();
  source.nested_levels = levels->data.data();
  source.nested_group = state.nested_group;
  source.nested_offset = static_cast<float>(state.nested_offset);
  return {};
}

}  // namespace

// weight: nibbles of all values in a row, two in a byte; weight.absmax, weight.quant_map, and weight.nested_* where the
// absmax values are quantised too.
Result<QuantMatrix> nf4_matrix(QuantParts& parts, std::string name) {
  const TensorView& main = parts.main();
  KL_TRY(const TensorView* state_tensor, parts.need(".weight.quant_state.bitsandbytes__nf4"));
  KL_TRY(const Nf4State state, nf4_state(parts, *state_tensor));
  const auto values = shape_elements({state.rows, state.columns});
  if (!values || *values == 0 || static_cast<uint64_t>(*values) != 2 * main.data.size()) {
    return parts.invalid(main, "shape: expected half a byte for each value of " +
                                   shape_text({state.rows, state.columns}) + ", found " +
                                   std::to_string(main.data.size()) + " bytes");
  }
  if (state.columns % 64 != 0 || state.group % 64 != 0) {
    return parts.unsupported(main, "groups of " + std::to_string(state.group) + " in rows of " +
                                       std::to_string(state.columns) +
                                       " are not supported; supported: both multiples of 64");
  }
  KL_TRY(const TensorView* levels, parts.need(".weight.quant_map"));
  KL_RETURN_IF_ERROR(parts.expect_type(*levels, {DType::kF32}));
  KL_RETURN_IF_ERROR(parts.expect_shape(*levels, {16}));
  if (std::memcmp(levels->data.data(), blocks::nf4_levels().data(), 64) != 0) {
    return parts.unsupported(*levels, "levels other than NF4's are not supported");
  }
  auto source = std::make_unique<Nf4Source>();
  source->columns = state.columns;
  source->group = state.group;
  source->values = main.data.data();
  KL_RETURN_IF_ERROR(set_absmax(parts, state, (*values - 1) / state.group + 1, *source));
  return parts.finish(std::move(name), DType::kNf4G64, {1, state.rows, state.columns}, std::move(source));
}

}  // namespace kinglet
