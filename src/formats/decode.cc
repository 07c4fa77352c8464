#include "formats/decode.h"

#include <limits>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/quote.h"
#include "formats/decode_blocks.h"

namespace kinglet {
namespace {

using blocks::load;

void f32(const uint8_t* at, float* out) {
  *out = load<float>(at);
}
void f64(const uint8_t* at, float* out) {
  *out = static_cast<float>(load<double>(at));
}
void f16(const uint8_t* at, float* out) {
  *out = blocks::load_half(at);
}
void bf16(const uint8_t* at, float* out) {
  *out = bfloat16_to_float(load<uint16_t>(at));
}

// The "FN" variant of E4M3: no infinities, one NaN pattern (OCP 8-bit floating point specification).
void f8_e4m3(const uint8_t* at, float* out) {
  *out = blocks::e4m3(*at);
}

// E5M2 is a half float's upper byte.
void f8_e5m2(const uint8_t* at, float* out) {
  *out = half_to_float(static_cast<uint16_t>(*at << 8));
}

// 2^(e-127); 255 is NaN (OCP microscaling formats).
void f8_e8m0(const uint8_t* at, float* out) {
  *out = *at == 0     ? 0x1p-127f
         : *at == 255 ? std::numeric_limits<float>::quiet_NaN()
                      : std::bit_cast<float>(uint32_t{*at} << 23);
}

// clang-format off: one line a type
blocks::Decoder decoder_of(DType type) {
  switch (type) {
    case DType::kF32: return f32;
    case DType::kF16: return f16;
    case DType::kBF16: return bf16;
    case DType::kF64: return f64;
    case DType::kF8_E4M3: return f8_e4m3;
    case DType::kF8_E5M2: return f8_e5m2;
    case DType::kF8_E8M0: return f8_e8m0;
    case DType::kQ4_0: return blocks::q4_0;
    case DType::kQ4_1: return blocks::q4_1;
    case DType::kQ5_0: return blocks::q5_0;
    case DType::kQ5_1: return blocks::q5_1;
    case DType::kQ8_0: return blocks::q8_0;
    case DType::kQ2_K: return blocks::q2_k;
    case DType::kQ3_K: return blocks::q3_k;
    case DType::kQ4_K: return blocks::q4_k;
    case DType::kQ5_K: return blocks::q5_k;
    case DType::kQ6_K: return blocks::q6_k;
    case DType::kIQ1_S: return blocks::iq1_s;
    case DType::kIQ1_M: return blocks::iq1_m;
    case DType::kIQ2_XXS: return blocks::iq2_xxs;
    case DType::kIQ2_XS: return blocks::iq2_xs;
    case DType::kIQ2_S: return blocks::iq2_s;
    case DType::kIQ3_XXS: return blocks::iq3_xxs;
    case DType::kIQ3_S: return blocks::iq3_s;
    case DType::kIQ4_NL: return blocks::iq4_nl;
    case DType::kIQ4_XS: return blocks::iq4_xs;
    case DType::kTQ1_0: return blocks::tq1_0;
    case DType::kTQ2_0: return blocks::tq2_0;
    case DType::kMXFP4: return blocks::mxfp4;
    case DType::kNVFP4: return blocks::nvfp4;
    case DType::kFp8G128: return blocks::fp8_g128;
    case DType::kInt4G32: return blocks::int4_g32;
    case DType::kInt4G64: return blocks::int4_g64;
    case DType::kInt4G128: return blocks::int4_g128;
    case DType::kInt8G32: return blocks::int8_g32;
    case DType::kInt8G64: return blocks::int8_g64;
    case DType::kInt8G128: return blocks::int8_g128;
    case DType::kNf4G64: return blocks::nf4_g64;
    case DType::kI8: case DType::kI16: case DType::kI32: case DType::kI64:
    case DType::kU8: case DType::kU16: case DType::kU32: case DType::kU64: case DType::kBool:
      return nullptr;
  }
  return nullptr;
}
// clang-format on

}  // namespace

bool can_decode(DType type) {
  return decoder_of(type) != nullptr;
}

void decode_row(DType type, const std::byte* blocks, int64_t values, float* out) {
  const blocks::Decoder decode = decoder_of(type);
  KL_CHECK(decode != nullptr, "decode_row of a type that has no decoder");
  const DTypeInfo& info = dtype_info(type);
  const int64_t left = values % info.block_values;
  KL_CHECK(values >= 0 && (left == 0 || has_padded_rows(type)), "decode_row of a part of a block");
  if (values == 0) return;
  const auto* from = reinterpret_cast<const uint8_t*>(blocks);
  if (type == DType::kF32) {
    std::memcpy(out, from, static_cast<size_t>(values) * sizeof(float));
    return;
  }
  const int64_t count = values / info.block_values;
  for (int64_t i = 0; i < count; ++i) {
    decode(from, out);
    from += info.block_bytes;
    out += info.block_values;
  }
  if (left == 0) return;
  float last[128];
  decode(from, last);
  std::memcpy(out, last, static_cast<size_t>(left) * sizeof(float));
}

void decode_row(const TensorView& tensor, int64_t row, std::span<float> out) {
  std::vector<std::byte> scratch;
  decode_row(tensor.dtype, tensor.row(row, scratch), tensor.columns(), out.data());
  tensor.finish_row(out);
}

Result<std::vector<int32_t>> decode_indices(const TensorView& tensor, int64_t count) {
  const bool wide = tensor.dtype == DType::kI64;
  if (!wide && tensor.dtype != DType::kI32)
    return Error{ErrorCode::kUnsupported, "tensor " + quote(tensor.name) + " has type " +
                                              std::string(dtype_info(tensor.dtype).name) + ", expected I32 or I64"};
  std::vector<int32_t> indices(static_cast<size_t>(tensor.elements()));
  const size_t width = wide ? sizeof(int64_t) : sizeof(int32_t);
  KL_CHECK(tensor.data.size() == indices.size() * width, "a tensor of another size");
  for (size_t i = 0; i < indices.size(); ++i) {
    const auto* at = reinterpret_cast<const uint8_t*>(tensor.data.data()) + i * width;
    const int64_t index = wide ? load<int64_t>(at) : load<int32_t>(at);
    if (index < 0 || index >= count)
      return Error{ErrorCode::kInvalid, "tensor " + quote(tensor.name) + ": found index " + std::to_string(index) +
                                            ", expected 0 to " + std::to_string(count - 1)};
    indices[i] = static_cast<int32_t>(index);
  }
  return indices;
}

void decode_tensor(const TensorView& tensor, std::span<float> out) {
  const int64_t values = tensor.elements();
  KL_CHECK(static_cast<uint64_t>(values) == out.size(), "decode_tensor into a buffer of another size");
  const int64_t rows = tensor.rows();
  const auto columns = static_cast<size_t>(tensor.columns());
  const uint64_t bytes = static_cast<uint64_t>(rows) * row_bytes(tensor.dtype, columns);
  KL_CHECK(tensor.source != nullptr || tensor.data.size() == bytes, "a tensor of another size");
  for (int64_t r = 0; r < rows; ++r) decode_row(tensor, r, out.subspan(static_cast<size_t>(r) * columns, columns));
}

}  // namespace kinglet
