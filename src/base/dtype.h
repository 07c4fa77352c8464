// The element and block types of tensors, as files store them. A block type packs `block_values` neighbouring elements
// of a row into `block_bytes` bytes. Numbers are ggml's type ids where ggml has the type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace kinglet {

enum class DType : uint16_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ2_XXS = 16,
  kIQ2_XS = 17,
  kIQ3_XXS = 18,
  kIQ1_S = 19,
  kIQ4_NL = 20,
  kIQ3_S = 21,
  kIQ2_S = 22,
  kIQ4_XS = 23,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kIQ1_M = 29,
  kBF16 = 30,
  kTQ1_0 = 34,
  kTQ2_0 = 35,
  kMXFP4 = 39,
  kNVFP4 = 40,
  // Not in GGUF (safetensors only).
  kU8 = 256,
  kU16 = 257,
  kU32 = 258,
  kU64 = 259,
  kBool = 260,
  kF8_E4M3 = 261,
  kF8_E5M2 = 262,
  kF8_E8M0 = 263,
  // Quantised weights of Hugging Face checkpoints, as the readers lay them out: a row is blocks along its columns, the
  // last one filled up with zero bytes. Of two 4-bit values in a byte the low one comes first. E4M3 is the variant
  // without infinities.
  kFp8G128 = 264,   // { float scale; uint8 q[128] }, E4M3: value = q * scale
  kInt4G32 = 265,   // { float scale; uint8 zero; uint8 pad[3]; uint8 q[16] }: value = (q - zero) * scale
  kInt4G64 = 266,   // the same with q[32]
  kInt4G128 = 267,  // the same with q[64]
  kInt8G32 = 268,   // { float scale; uint8 zero; uint8 pad[3]; uint8 q[32] }, the same value
  kInt8G64 = 269,   // the same with q[64]
  kInt8G128 = 270,  // the same with q[128]
  kNf4G64 = 271,    // { float absmax; uint8 q[32] }: value = level of NF4 [q] * absmax
};

struct DTypeInfo {
  DType type;
  std::string_view name;  // "Q4_K", as shown to users
  uint32_t block_values;  // elements in a block; 1 for plain types
  uint32_t block_bytes;   // bytes of a block
};

// Facts about a known type. Every DType enumerator has an entry.
const DTypeInfo& dtype_info(DType type);
std::optional<DType> dtype_from_ggml_id(int64_t id);
std::optional<DType> dtype_from_name(std::string_view name);  // exact, as in DTypeInfo::name

// True for the types whose rows may end within a block, the rest of which is filled up: those of the last group above.
constexpr bool has_padded_rows(DType type) {
  return type >= DType::kFp8G128;
}

// Bytes of a row of `values` elements; without padded rows, `values` must be a multiple of the block (checked by the
// readers).
inline uint64_t row_bytes(DType type, uint64_t values) {
  const DTypeInfo& info = dtype_info(type);
  return (values / info.block_values + (values % info.block_values != 0 ? 1 : 0)) * info.block_bytes;
}

}  // namespace kinglet
