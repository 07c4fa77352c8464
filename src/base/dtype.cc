#include "base/dtype.h"

#include <array>

#include "base/check.h"

namespace kinglet {
namespace {

// Types that ggml knows come first; the rest exists in safetensors or in memory only.
constexpr std::array kTypes = {
    DTypeInfo{DType::kF32, "F32", 1, 4},
    DTypeInfo{DType::kF16, "F16", 1, 2},
    DTypeInfo{DType::kQ4_0, "Q4_0", 32, 18},
    DTypeInfo{DType::kQ4_1, "Q4_1", 32, 20},
    DTypeInfo{DType::kQ5_0, "Q5_0", 32, 22},
    DTypeInfo{DType::kQ5_1, "Q5_1", 32, 24},
    DTypeInfo{DType::kQ8_0, "Q8_0", 32, 34},
    DTypeInfo{DType::kQ2_K, "Q2_K", 256, 84},
    DTypeInfo{DType::kQ3_K, "Q3_K", 256, 110},
    DTypeInfo{DType::kQ4_K, "Q4_K", 256, 144},
    DTypeInfo{DType::kQ5_K, "Q5_K", 256, 176},
    DTypeInfo{DType::kQ6_K, "Q6_K", 256, 210},
    DTypeInfo{DType::kIQ2_XXS, "IQ2_XXS", 256, 66},
    DTypeInfo{DType::kIQ2_XS, "IQ2_XS", 256, 74},
    DTypeInfo{DType::kIQ3_XXS, "IQ3_XXS", 256, 98},
    DTypeInfo{DType::kIQ1_S, "IQ1_S", 256, 50},
    DTypeInfo{DType::kIQ4_NL, "IQ4_NL", 32, 18},
    DTypeInfo{DType::kIQ3_S, "IQ3_S", 256, 110},
    DTypeInfo{DType::kIQ2_S, "IQ2_S", 256, 82},
    DTypeInfo{DType::kIQ4_XS, "IQ4_XS", 256, 136},
    DTypeInfo{DType::kI8, "I8", 1, 1},
    DTypeInfo{DType::kI16, "I16", 1, 2},
    DTypeInfo{DType::kI32, "I32", 1, 4},
    DTypeInfo{DType::kI64, "I64", 1, 8},
    DTypeInfo{DType::kF64, "F64", 1, 8},
    DTypeInfo{DType::kIQ1_M, "IQ1_M", 256, 56},
    DTypeInfo{DType::kBF16, "BF16", 1, 2},
    DTypeInfo{DType::kTQ1_0, "TQ1_0", 256, 54},
    DTypeInfo{DType::kTQ2_0, "TQ2_0", 256, 66},
    DTypeInfo{DType::kMXFP4, "MXFP4", 32, 17},
    DTypeInfo{DType::kNVFP4, "NVFP4", 64, 36},
    DTypeInfo{DType::kU8, "U8", 1, 1},
    DTypeInfo{DType::kU16, "U16", 1, 2},
    DTypeInfo{DType::kU32, "U32", 1, 4},
    DTypeInfo{DType::kU64, "U64", 1, 8},
    DTypeInfo{DType::kBool, "BOOL", 1, 1},
    DTypeInfo{DType::kF8_E4M3, "F8_E4M3", 1, 1},
    DTypeInfo{DType::kF8_E5M2, "F8_E5M2", 1, 1},
    DTypeInfo{DType::kF8_E8M0, "F8_E8M0", 1, 1},
    DTypeInfo{DType::kFp8G128, "FP8_G128", 128, 132},
    DTypeInfo{DType::kInt4G32, "INT4_G32", 32, 24},
    DTypeInfo{DType::kInt4G64, "INT4_G64", 64, 40},
    DTypeInfo{DType::kInt4G128, "INT4_G128", 128, 72},
    DTypeInfo{DType::kInt8G32, "INT8_G32", 32, 40},
    DTypeInfo{DType::kInt8G64, "INT8_G64", 64, 72},
    DTypeInfo{DType::kInt8G128, "INT8_G128", 128, 136},
    DTypeInfo{DType::kNf4G64, "NF4_G64", 64, 36},
};

constexpr int64_t kFirstForeignId = 256;  // ids from here on are ours, not ggml's
constexpr size_t kIds = 272;
constexpr uint8_t kUnknown = 0xff;

// DType value -> position in kTypes, so that a look-up is one load: row addresses are computed with it.
constexpr std::array<uint8_t, kIds> make_positions() {
  std::array<uint8_t, kIds> positions{};
  positions.fill(kUnknown);
  for (size_t i = 0; i < kTypes.size(); ++i) positions[static_cast<size_t>(kTypes[i].type)] = static_cast<uint8_t>(i);
  return positions;
}
constexpr std::array<uint8_t, kIds> kPositions = make_positions();

}  // namespace

const DTypeInfo& dtype_info(DType type) {
  const auto id = static_cast<size_t>(type);
  KL_CHECK(id < kIds && kPositions[id] != kUnknown, "a DType without an entry");
  return kTypes[kPositions[id]];
}

std::optional<DType> dtype_from_ggml_id(int64_t id) {
  if (id < 0 || id >= kFirstForeignId || kPositions[static_cast<size_t>(id)] == kUnknown) return std::nullopt;
  return static_cast<DType>(id);
}

std::optional<DType> dtype_from_name(std::string_view name) {
  for (const DTypeInfo& info : kTypes) {
    if (info.name == name) return info.type;
  }
  return std::nullopt;
}

}  // namespace kinglet
