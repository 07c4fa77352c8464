#include "base/dtype.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/tensor_view.h"

namespace kinglet {
namespace {

TEST(DType, SizesOfBlocks) {
  const struct {
    DType type;
    uint32_t values, bytes;
  } expected[] = {
      {DType::kF32, 1, 4},         {DType::kQ4_0, 32, 18},     {DType::kQ8_0, 32, 34},   {DType::kQ2_K, 256, 84},
      {DType::kQ3_K, 256, 110},    {DType::kQ4_K, 256, 144},   {DType::kQ5_K, 256, 176}, {DType::kQ6_K, 256, 210},
      {DType::kIQ1_M, 256, 56},    {DType::kIQ4_XS, 256, 136}, {DType::kTQ1_0, 256, 54}, {DType::kMXFP4, 32, 17},
      {DType::kNVFP4, 64, 36},     {DType::kF8_E4M3, 1, 1},    {DType::kBool, 1, 1},     {DType::kFp8G128, 128, 132},
      {DType::kInt4G128, 128, 72}, {DType::kInt8G32, 32, 40},  {DType::kNf4G64, 64, 36},
  };
  for (const auto& e : expected) {
    EXPECT_EQ(dtype_info(e.type).block_values, e.values) << dtype_info(e.type).name;
    EXPECT_EQ(dtype_info(e.type).block_bytes, e.bytes) << dtype_info(e.type).name;
  }
}

TEST(DType, RowsOfGroupsEndWithAFilledBlock) {
  EXPECT_EQ(row_bytes(DType::kInt4G128, 256), 144u);
  EXPECT_EQ(row_bytes(DType::kInt4G128, 257), 216u);
  EXPECT_EQ(row_bytes(DType::kNf4G64, 1), 36u);
  EXPECT_TRUE(has_padded_rows(DType::kFp8G128));
  EXPECT_FALSE(has_padded_rows(DType::kF8_E8M0));
  EXPECT_FALSE(has_padded_rows(DType::kNVFP4));
}

TEST(DType, GgmlIdsAndNamesLeadBackToTheType) {
  std::set<std::string_view> names;
  int known = 0;
  for (int64_t id = 0; id < 256; ++id) {
    const auto type = dtype_from_ggml_id(id);
    if (!type) continue;
    ++known;
    const DTypeInfo& info = dtype_info(*type);
    EXPECT_EQ(static_cast<int64_t>(info.type), id);
    EXPECT_EQ(dtype_from_name(info.name), *type);
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
  }
  EXPECT_EQ(known, 31);
}

TEST(DType, UnknownIdsAndNames) {
  // Retired types, types outside the table, ids that only safetensors types have.
  for (int64_t id : {-1, 4, 5, 9, 15, 31, 33, 36, 38, 41, 255, 256, 263, 1000000}) {
    EXPECT_FALSE(dtype_from_ggml_id(id).has_value()) << id;
  }
  for (const char* name : {"", "f32", "F32 ", "Q4_2", "F8"}) EXPECT_FALSE(dtype_from_name(name).has_value()) << name;
}

TEST(TensorView, RowsAndAddresses) {
  const std::byte bytes[144 * 6] = {};
  const TensorView tensor{"w", DType::kQ4_K, {3, 512}, bytes};
  EXPECT_EQ(tensor.elements(), 1536);
  EXPECT_EQ(tensor.rows(), 3);
  EXPECT_EQ(tensor.row(2) - tensor.data.data(), 2 * 2 * 144);
  const TensorView scalar{"s", DType::kF32, {}, std::span(bytes).first(4)};
  EXPECT_EQ(scalar.rows(), 1);
  EXPECT_EQ(scalar.columns(), 1);
}

}  // namespace
}  // namespace kinglet
