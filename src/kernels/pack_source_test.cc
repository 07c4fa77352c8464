// Matrices whose rows are put together on demand are packed as those that lie in a file.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/threads.h"
#include "kernels/ops.h"
#include "kernels/ops_experts.h"

namespace kinglet {
namespace {

constexpr int64_t kRows = 21, kColumns = 64;

struct Rows : RowSource {
  void row(int64_t r, std::byte* out) const override {
    std::memcpy(out, bytes.data() + static_cast<size_t>(r) * row_bytes(DType::kQ8_0, kColumns),
                row_bytes(DType::kQ8_0, kColumns));
  }
  std::vector<std::byte> bytes;
};

void widen(DType, const std::byte* blocks, int64_t values, float* out) {
  for (int64_t i = 0; i < values; ++i)
    out[i] = static_cast<float>(static_cast<int8_t>(blocks[i / 32 * 34 + 2 + i % 32]));
}

class PackSource : public testing::Test {
 protected:
  PackSource() {
    rows_.bytes.resize(kRows * row_bytes(DType::kQ8_0, kColumns));
    for (size_t i = 0; i < rows_.bytes.size(); ++i) rows_.bytes[i] = static_cast<std::byte>(i * 37 % 101);
    tensor_.source = &rows_;
  }
  Rows rows_;
  ThreadPool pool_{2};
  const Compute compute_{&kernel_table(IsaLevel::kPortable), &pool_};
  TensorView tensor_{"w", DType::kQ8_0, {kRows, kColumns}, {}};
};

TEST_F(PackSource, EqualsTheFilesRows) {
  const TensorView stored{"w", DType::kQ8_0, {kRows, kColumns}, rows_.bytes};
  const auto from_file = slice_rows(stored, 2, kRows - 2), from_source = slice_rows(tensor_, 2, kRows - 2);
  ASSERT_TRUE(from_file.ok() && from_source.ok());
  const auto a = pack_matrix(compute_, *from_file, nullptr), b = pack_matrix(compute_, *from_source, nullptr);
  ASSERT_TRUE(a.ok() && b.ok());
  ASSERT_EQ(a->bytes(), b->bytes());
  EXPECT_EQ(b->bytes(), packed_matrix_bytes(*from_source));
  EXPECT_EQ(std::memcmp(a->data(), b->data(), a->bytes()), 0);
}

TEST_F(PackSource, ProductsFollowTheOrderOfColumns) {
  std::vector<int32_t> order(kColumns);
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>((i * 5 + 3) % order.size());
  const auto plain = pack_matrix(compute_, tensor_, nullptr);
  tensor_.column_order = order;
  const auto reordered = pack_matrix(compute_, tensor_, nullptr);
  ASSERT_TRUE(plain.ok() && reordered.ok());
  EXPECT_FALSE(reordered->widened());
  // x for the one with an order: what stands at packed column i belongs to column order[i].
  constexpr int64_t kTokens = 3;
  std::vector<float> packed_x(kTokens * kColumns), x(kTokens * kColumns);
  for (int64_t t = 0; t < kTokens; ++t)
    for (size_t i = 0; i < order.size(); ++i) {
      const auto at = static_cast<size_t>(t * kColumns);
      packed_x[at + i] = std::sin(static_cast<float>(at + i));
      x[at + static_cast<size_t>(order[i])] = packed_x[at + i];
    }
  for (const ComputeMode mode : {ComputeMode::kInt8, ComputeMode::kF32}) {
    std::vector<float> expected(kTokens * kRows), found(kTokens * kRows), among(kTokens * kRows);
    Activations a, b;
    a.set(packed_x.data(), kTokens, kColumns, kColumns);
    b.set(x.data(), kTokens, kColumns, kColumns);
    linear(compute_, mode, *plain, a, expected.data(), kRows);
    linear(compute_, mode, *reordered, b, found.data(), kRows);
    EXPECT_EQ(found, expected);
    ProductScratch scratch;
    const Product product = {&*reordered, x.data(), kColumns, kTokens, among.data(), kRows};
    linear_many(compute_, mode, std::span(&product, 1), scratch);
    EXPECT_EQ(among, expected);
  }
}

TEST_F(PackSource, OrderAndMultiplierAreAppliedByWidening) {
  std::vector<int32_t> order(kColumns);
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(kColumns - 1 - static_cast<int64_t>(i));
  tensor_.dtype = DType::kF64;  // has no packed form; `widen` reads the rows as what they are
  tensor_.column_order = order;
  tensor_.multiplier = 0.5f;
  const auto packed = pack_matrix(compute_, tensor_, widen);
  ASSERT_TRUE(packed.ok()) << packed.error().message;
  EXPECT_TRUE(packed->widened());
  EXPECT_EQ(packed->bytes(), packed_matrix_bytes(tensor_));
  EXPECT_FALSE(pack_matrix(compute_, tensor_, nullptr).ok());
  // F32 of 16 rows interleaved: the first value of row 3 is the last one stored.
  float first = 0.0f, stored[kColumns];
  std::memcpy(&first, packed->data() + 3 * sizeof(float), sizeof first);
  widen(DType::kQ8_0, rows_.bytes.data() + 3 * row_bytes(DType::kQ8_0, kColumns), kColumns, stored);
  EXPECT_EQ(first, stored[kColumns - 1] * 0.5f);
}

}  // namespace
}  // namespace kinglet
