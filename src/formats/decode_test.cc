#include "formats/decode.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "base/half.h"

namespace kinglet {
namespace {

std::string read_golden() {
  std::ifstream file(KINGLET_SOURCE_DIR "/tests/golden/formats/decoder_golden.bin", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Takes little-endian fields off the front of a string.
struct Fields {
  const std::string& bytes;
  size_t at = 0;
  uint32_t number() {
    uint32_t value = 0;
    std::memcpy(&value, bytes.data() + at, 4);
    at += 4;
    return value;
  }
  const std::byte* take(size_t count) {
    const char* start = bytes.data() + at;
    at += count;
    return reinterpret_cast<const std::byte*>(start);
  }
};

uint32_t bits_of(float value) {
  return std::bit_cast<uint32_t>(value);
}

TEST(Decode, EqualsGgufPyBitForBit) {
  const std::string golden = read_golden();
  ASSERT_GE(golden.size(), 8u) << "tests/golden/formats/decoder_golden.bin is missing";
  Fields fields{golden};
  ASSERT_EQ(std::string(reinterpret_cast<const char*>(fields.take(4)), 4), "KLGD");
  std::set<DType> seen;
  for (uint32_t left = fields.number(); left > 0; --left) {
    const auto type = dtype_from_ggml_id(fields.number());
    ASSERT_TRUE(type.has_value());
    seen.insert(*type);
    const DTypeInfo& info = dtype_info(*type);
    SCOPED_TRACE(std::string(info.name));
    const uint32_t count = fields.number();
    ASSERT_EQ(fields.number(), info.block_bytes);
    ASSERT_EQ(fields.number(), info.block_values);
    const std::byte* packed = fields.take(size_t{count} * info.block_bytes);
    const size_t values = size_t{count} * info.block_values;
    std::vector<float> expected(values);
    std::memcpy(expected.data(), fields.take(values * 4), values * 4);
    std::vector<float> decoded(values, 0.0f);
    decode_row(*type, packed, static_cast<int64_t>(values), decoded.data());
    for (size_t i = 0; i < values; ++i) {
      if (std::isnan(expected[i])) {
        ASSERT_TRUE(std::isnan(decoded[i])) << "value " << i << " of block " << i / info.block_values;
      } else {
        ASSERT_EQ(bits_of(decoded[i]), bits_of(expected[i]))
            << "value " << i << ": " << decoded[i] << ", expected " << expected[i];
      }
    }
  }
  EXPECT_EQ(fields.at, golden.size());
  EXPECT_EQ(seen.size(), 26u);
}

TEST(Decode, UnalignedBlocksDecodeAlike) {
  std::vector<std::byte> store(18 * 4 + 1);
  for (size_t i = 1; i < store.size(); ++i) store[i] = static_cast<std::byte>(i * 37 % 61);
  std::vector<std::byte> aligned(store.begin() + 1, store.end());
  std::vector<float> a(128), b(128);
  decode_row(DType::kQ4_0, store.data() + 1, 128, a.data());
  decode_row(DType::kQ4_0, aligned.data(), 128, b.data());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), 128 * sizeof(float)), 0);
}

float decode_one(DType type, uint64_t bits) {
  float out = 0.0f;
  decode_row(type, reinterpret_cast<const std::byte*>(&bits), 1, &out);
  return out;
}

TEST(Decode, EightBitFloats) {
  EXPECT_EQ(decode_one(DType::kF8_E4M3, 0x00), 0.0f);
  EXPECT_TRUE(std::signbit(decode_one(DType::kF8_E4M3, 0x80)));
  EXPECT_EQ(decode_one(DType::kF8_E4M3, 0x01), 0x1p-9f);  // smallest subnormal
  EXPECT_EQ(decode_one(DType::kF8_E4M3, 0x08), 0x1p-6f);  // smallest normal
  EXPECT_EQ(decode_one(DType::kF8_E4M3, 0x38), 1.0f);
  EXPECT_EQ(decode_one(DType::kF8_E4M3, 0xb9), -1.125f);
  EXPECT_EQ(decode_one(DType::kF8_E4M3, 0x7e), 448.0f);  // the largest; no infinity
  EXPECT_TRUE(std::isnan(decode_one(DType::kF8_E4M3, 0x7f)));
  EXPECT_TRUE(std::isnan(decode_one(DType::kF8_E4M3, 0xff)));
  EXPECT_EQ(decode_one(DType::kF8_E5M2, 0x3c), 1.0f);
  EXPECT_EQ(decode_one(DType::kF8_E5M2, 0x7b), 57344.0f);
  EXPECT_EQ(decode_one(DType::kF8_E5M2, 0xfc), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(decode_one(DType::kF8_E8M0, 0), 0x1p-127f);
  EXPECT_EQ(decode_one(DType::kF8_E8M0, 127), 1.0f);
  EXPECT_EQ(decode_one(DType::kF8_E8M0, 254), 0x1p127f);
  EXPECT_TRUE(std::isnan(decode_one(DType::kF8_E8M0, 255)));
  EXPECT_EQ(decode_one(DType::kF64, std::bit_cast<uint64_t>(0.1)), 0.1f);
}

// A block that begins with a scale of 0.5 and goes on with `bytes`.
std::vector<uint8_t> half_scaled(size_t size, std::initializer_list<uint8_t> bytes) {
  std::vector<uint8_t> block(size);
  block[3] = 0x3f;
  std::copy(bytes.begin(), bytes.end(), block.begin() + 4);
  return block;
}

std::vector<float> decoded(DType type, const std::vector<uint8_t>& bytes, int64_t values) {
  std::vector<float> out(static_cast<size_t>(values));
  decode_row(type, std::as_bytes(std::span(bytes)).data(), values, out.data());
  return out;
}

TEST(Decode, GroupsOfHuggingFaceCheckpoints) {
  EXPECT_EQ(decoded(DType::kInt4G32, half_scaled(24, {8, 0, 0, 0, 0xf3, 0x08}), 4),
            (std::vector<float>{-2.5f, 3.5f, 0.0f, -4.0f}));
  EXPECT_EQ(decoded(DType::kInt8G64, half_scaled(72, {128, 0, 0, 0, 255, 0, 130}), 3),
            (std::vector<float>{63.5f, -64.0f, 1.0f}));
  EXPECT_EQ(decoded(DType::kFp8G128, half_scaled(132, {0x38, 0xb9, 0x01}), 3),
            (std::vector<float>{0.5f, -0.5625f, 0x1p-10f}));
  EXPECT_EQ(decoded(DType::kNf4G64, half_scaled(36, {0x70, 0x0f}), 4), (std::vector<float>{-0.5f, 0.0f, 0.5f, -0.5f}));
  std::vector<uint8_t> rows(2 * 2 * 72);
  rows[144 + 72 + 3] = 0x3f;  // the second block of the second row
  rows[144 + 72 + 8] = 6;
  std::vector<float> out(2 * 129);
  decode_tensor({"padded", DType::kInt4G128, {2, 129}, std::as_bytes(std::span(rows))}, out);
  EXPECT_EQ(out[128], 0.0f);
  EXPECT_EQ(out[257], 3.0f);
}

TEST(Decode, KnowsWhichTypesItDecodes) {
  for (DType type : {DType::kI8, DType::kI16, DType::kI32, DType::kI64, DType::kU8, DType::kU64, DType::kBool}) {
    EXPECT_FALSE(can_decode(type)) << dtype_info(type).name;
  }
  for (DType type : {DType::kF32, DType::kBF16, DType::kIQ1_M, DType::kNVFP4, DType::kF8_E5M2}) {
    EXPECT_TRUE(can_decode(type)) << dtype_info(type).name;
  }
}

TEST(Decode, NanScaleGivesNanAndLeavesNeighboursAlone) {
  std::vector<std::byte> blocks(34 * 2, std::byte{1});
  const uint16_t nan = 0x7e01, one = 0x3c00;
  std::memcpy(blocks.data(), &nan, 2);
  std::memcpy(blocks.data() + 34, &one, 2);
  std::vector<float> out(64);
  decode_row(DType::kQ8_0, blocks.data(), 64, out.data());
  for (size_t i = 0; i < 32; ++i) EXPECT_TRUE(std::isnan(out[i]));
  for (size_t i = 32; i < 64; ++i) EXPECT_EQ(out[i], 1.0f);
}

TEST(Decode, TensorsOfAnyShape) {
  const float numbers[6] = {1, 2, 3, 4, 5, 6};
  const auto bytes = std::as_bytes(std::span(numbers));
  std::vector<float> out(6);
  decode_tensor({"matrix", DType::kF32, {2, 3}, bytes}, out);
  EXPECT_EQ(out, (std::vector<float>{1, 2, 3, 4, 5, 6}));
  decode_tensor({"scalar", DType::kF32, {}, bytes.first(4)}, std::span(out).first(1));
  EXPECT_EQ(out[0], 1.0f);
  decode_tensor({"empty", DType::kF32, {3, 0, 2}, {}}, {});
  const TensorView empty{"empty", DType::kQ4_K, {7, 0}, {}};
  EXPECT_EQ(empty.rows(), 0);
  decode_tensor(empty, {});
}

// Row sources give the blocks; the multiplier and the order of columns come after.
TEST(Decode, RowsPutTogetherOnDemand) {
  struct Rows : RowSource {
    void row(int64_t r, std::byte* out) const override {
      const float scale = 0.5f;
      std::memset(out, 0, 8 + 16);
      std::memcpy(out, &scale, 4);
      out[4] = std::byte{8};
      out[8] = static_cast<std::byte>(0x30 + r);  // q = r, 3, then 15
      out[9] = std::byte{0x0f};
    }
  } const rows;
  TensorView tensor{"w", DType::kInt4G32, {2, 3}, {}};
  tensor.source = &rows;
  std::vector<float> out(6);
  decode_tensor(tensor, out);
  EXPECT_EQ(out, (std::vector<float>{-4, -2.5, 3.5, -3.5, -2.5, 3.5}));
  tensor.multiplier = 2.0f;
  const int32_t order[3] = {2, 0, 1};
  tensor.column_order = order;
  decode_row(tensor, 1, std::span(out).first(3));
  EXPECT_EQ(out[0], -5.0f);
  EXPECT_EQ(out[1], 7.0f);
  EXPECT_EQ(out[2], -7.0f);
}

template <class T>
Result<std::vector<int32_t>> indices(DType type, const std::vector<T>& stored, int64_t count) {
  TensorView tensor;
  tensor.name = "experts";
  tensor.dtype = type;
  tensor.shape = {std::ssize(stored)};
  tensor.data = std::as_bytes(std::span(stored));
  return decode_indices(tensor, count);
}

TEST(DecodeIndices, OfBothWidths) {
  EXPECT_EQ(*indices<int32_t>(DType::kI32, {0, 7, 3}, 8), (std::vector<int32_t>{0, 7, 3}));
  EXPECT_EQ(*indices<int64_t>(DType::kI64, {0, 7, 3}, 8), (std::vector<int32_t>{0, 7, 3}));
}

TEST(DecodeIndices, RefusesWhatPointsOutside) {
  for (const int64_t wrong : {int64_t{8}, int64_t{-1}, INT64_MAX, INT64_MIN, int64_t{1} << 32}) {
    const auto found = indices<int64_t>(DType::kI64, {0, wrong}, 8);
    ASSERT_FALSE(found.ok()) << wrong;
    EXPECT_EQ(found.error().message, "tensor \"experts\": found index " + std::to_string(wrong) + ", expected 0 to 7");
  }
  EXPECT_FALSE(indices<int32_t>(DType::kI32, {8}, 8).ok());
  EXPECT_FALSE(indices<int32_t>(DType::kI32, {-1}, 8).ok());
  EXPECT_EQ(indices<float>(DType::kF32, {1.0f}, 8).error().message,
            "tensor \"experts\" has type F32, expected I32 or I64");
}

TEST(DecodeDeathTest, RefusesMisuse) {
  const std::byte block[34] = {};
  float out[32];
  EXPECT_DEATH(decode_row(DType::kI8, block, 1, out), "no decoder");
  EXPECT_DEATH(decode_row(DType::kQ8_0, block, 31, out), "part of a block");
}

}  // namespace
}  // namespace kinglet
