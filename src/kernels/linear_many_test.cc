// linear_many and matrices packed together, against the definition of a single product.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/half.h"
#include "kernels/ops_experts.h"
#include "kernels/packing_arena.h"
#include "kernels/ref/linear_ref.h"
#include "kernels/rows_test_support.h"

namespace kinglet {
namespace {

using testing::first_difference;
using testing::Random;

// A stack of matrices as a file would hold it.
struct Stack {
  std::vector<uint8_t> bytes;
  TensorView view;
};

// Where a block's 16-bit scales lie: these bytes must not become infinities.
std::vector<size_t> scale_places(DType type) {
  switch (type) {
    case DType::kF16:
    case DType::kQ8_0:
    case DType::kIQ2_S:
    case DType::kIQ3_XXS:
      return {0};
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108};
    case DType::kQ6_K:
      return {208};
    default:
      return {0, 2};
  }
}

Stack make_stack(DType type, int64_t matrices, int64_t rows, int64_t columns, Random& random) {
  Stack s;
  s.bytes.resize(static_cast<size_t>(matrices * rows) * row_bytes(type, static_cast<uint64_t>(columns)));
  for (uint8_t& b : s.bytes) b = static_cast<uint8_t>(random.below(256));
  for (size_t at = 0; at < s.bytes.size(); at += dtype_info(type).block_bytes) {
    for (size_t place : scale_places(type)) {
      const uint16_t half = float_to_half(random.uniform(-0.1f, 0.1f));
      s.bytes[at + place] = static_cast<uint8_t>(half);
      s.bytes[at + place + 1] = static_cast<uint8_t>(half >> 8);
    }
  }
  s.view = {"stack", type, {matrices, rows, columns}, std::as_bytes(std::span(s.bytes))};
  return s;
}

std::vector<TensorView> slices_of(const TensorView& stack) {
  std::vector<TensorView> slices;
  for (int64_t m = 0; m < stack.shape[0]; ++m) {
    Result<TensorView> slice = slice_rows(stack, m * stack.shape[1], stack.shape[1]);
    EXPECT_TRUE(slice.ok());
    slices.push_back(*slice);
  }
  return slices;
}

std::vector<float> expected(ComputeMode mode, const TensorView& w, const float* x, int64_t ldx, int64_t tokens) {
  std::vector<float> y(static_cast<size_t>(tokens * w.rows()));
  ref::linear(mode, w.dtype, reinterpret_cast<const uint8_t*>(w.data.data()), w.rows(), w.columns(), x, tokens, ldx,
              y.data(), w.rows());
  return y;
}

// One product of a batch with room for its output.
struct Planned {
  TensorView w;
  const float* x;
  int64_t tokens;
  std::vector<float> y, want;
};

// Stacks of several types and shapes; every matrix meets other rows of `x`, another number of them, some of them the
// same ones.
class LinearMany : public ::testing::Test {
 protected:
  static constexpr int64_t kLdx = 520, kRows = 37;
  Random random_{31};
  std::vector<Stack> stacks_;
  std::vector<float> x_ = random_.normals(200 * kLdx);

  std::vector<Planned> plan(ComputeMode mode) {
    std::vector<Planned> all;
    for (const Stack& stack : stacks_) {
      for (const TensorView& w : slices_of(stack.view)) {
        constexpr int64_t kTokens[] = {1, 3, 0, 1, 40, 7, 130, 1};
        const int64_t tokens = kTokens[all.size() % std::size(kTokens)];
        const float* x = x_.data() + (all.size() % 3) * 5 * kLdx;
        all.push_back({w, x, tokens, {}, expected(mode, w, x, kLdx, tokens)});
      }
    }
    return all;
  }
};

TEST_F(LinearMany, HasTheBitsOfSingleProducts) {
  for (DType type : {DType::kQ4_K, DType::kQ8_0, DType::kF16, DType::kQ6_K, DType::kQ4_1, DType::kQ2_K, DType::kQ3_K,
                     DType::kIQ2_S, DType::kIQ3_XXS}) {
    stacks_.push_back(make_stack(type, 7, kRows, 512, random_));
    stacks_.push_back(make_stack(type, 2, 100, 256, random_));
  }
  for (ComputeMode mode : {ComputeMode::kInt8, ComputeMode::kF32}) {
    std::vector<Planned> plans = plan(mode);
    for (IsaLevel level : available_isa_levels()) {
      for (int threads : {1, 3}) {
        ThreadPool pool(threads);
        const Compute compute = {&kernel_table(level), &pool};
        std::vector<TensorView> views;
        for (const Planned& p : plans) views.push_back(p.w);
        Result<std::vector<PackedMatrix>> packed = pack_matrices(compute, views, nullptr);
        ASSERT_TRUE(packed.ok());
        ProductScratch scratch;
        for (size_t first : {size_t{0}, size_t{5}}) {  // the scratch is used again, for another set
          std::vector<Product> products;
          for (size_t i = first; i < plans.size(); ++i) {
            Planned& p = plans[i];
            p.y.assign(p.want.size(), -7.0f);
            products.push_back({&(*packed)[i], p.x, kLdx, p.tokens, p.y.data(), p.w.rows()});
          }
          linear_many(compute, mode, products, scratch);
          for (size_t i = first; i < plans.size(); ++i) {
            ASSERT_EQ(first_difference(plans[i].y, plans[i].want), -1)
                << isa_name(level) << " product " << i << " of " << dtype_info(plans[i].w.dtype).name;
          }
        }
      }
    }
  }
}

TEST_F(LinearMany, OfNothingIsNothing) {
  ThreadPool pool(2);
  ProductScratch scratch;
  const Compute compute = {&kernel_table(available_isa_levels().back()), &pool};
  linear_many(compute, ComputeMode::kInt8, {}, scratch);
  const Stack stack = make_stack(DType::kQ8_0, 1, 4, 64, random_);
  Result<PackedMatrix> w = pack_matrix(compute, stack.view, nullptr);
  ASSERT_TRUE(w.ok());
  const std::vector<Product> empty = {{&*w, x_.data(), 64, 0, nullptr, 4}};
  linear_many(compute, ComputeMode::kInt8, empty, scratch);
}

TEST(PackMatrices, LieInOneAllocationEachAligned) {
  Random random(32);
  ThreadPool pool(3);
  const Compute compute = {&kernel_table(available_isa_levels().back()), &pool};
  const Stack stack = make_stack(DType::kQ8_0, 5, 19, 96, random);
  Result<std::vector<PackedMatrix>> packed = pack_matrices(compute, slices_of(stack.view), nullptr);
  ASSERT_TRUE(packed.ok());
  ASSERT_EQ(packed->size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ((*packed)[i].bytes(), packed_matrix_bytes(DType::kQ8_0, 19, 96));
    EXPECT_EQ((*packed)[i].data() - (*packed)[0].data(), static_cast<int64_t>(i) * 4096);
  }
}

TEST(PackMatrices, InAnArenaTheyLieBehindThoseOfEarlierCalls) {
  Random random(35);
  ThreadPool pool(3);
  const Compute compute = {&kernel_table(available_isa_levels().back()), &pool};
  const Stack stack = make_stack(DType::kQ8_0, 5, 19, 96, random);
  const std::vector<TensorView> slices = slices_of(stack.view);
  const Result<std::vector<PackedMatrix>> alone = pack_matrices(compute, slices, nullptr);
  std::vector<std::vector<PackedMatrix>> calls;
  {
    PackingArena arena(10 * 4096);
    for (int i = 0; i < 2; ++i) {
      Result<std::vector<PackedMatrix>> packed = pack_matrices(compute, slices, nullptr, {}, &arena);
      ASSERT_TRUE(packed.ok());
      calls.push_back(*std::move(packed));
    }
  }
  ASSERT_TRUE(alone.ok());
  for (size_t i = 0; i < 10; ++i) {
    const PackedMatrix& matrix = calls[i / 5][i % 5];
    EXPECT_EQ(matrix.data() - calls[0][0].data(), static_cast<int64_t>(i) * 4096);
    EXPECT_EQ(std::memcmp(matrix.data(), (*alone)[i % 5].data(), matrix.bytes()), 0);
  }
}

TEST(PackMatrices, OneRowOrderForEach) {
  Random random(33);
  ThreadPool pool(2);
  const Compute compute = {&kernel_table(available_isa_levels().back()), &pool};
  const Stack stack = make_stack(DType::kF16, 3, 20, 32, random);
  const std::vector<TensorView> slices = slices_of(stack.view);
  const std::vector<int32_t> order = {1, 3, 19};
  Result<std::vector<PackedMatrix>> packed = pack_matrices(compute, slices, nullptr, order);
  ASSERT_TRUE(packed.ok());
  const std::vector<float> x = random.normals(32);
  for (size_t m = 0; m < 3; ++m) {
    const std::vector<float> all = expected(ComputeMode::kF32, slices[m], x.data(), 32, 1);
    std::vector<float> y(3);
    Activations a;
    a.set(x.data(), 1, 32, 32);
    linear(compute, ComputeMode::kF32, (*packed)[m], a, y.data(), 3);
    for (size_t r = 0; r < 3; ++r) EXPECT_EQ(y[r], all[static_cast<size_t>(order[r])]);
  }
}

TEST(PackMatrices, AWrongTensorIsAnError) {
  Random random(34);
  ThreadPool pool(1);
  const Compute compute = {&kernel_table(IsaLevel::kPortable), &pool};
  const Stack stack = make_stack(DType::kQ8_0, 3, 4, 64, random);
  std::vector<TensorView> slices = slices_of(stack.view);
  slices[2].data = slices[2].data.first(10);
  EXPECT_FALSE(pack_matrices(compute, slices, nullptr).ok());
  EXPECT_EQ(slice_rows(stack.view, 8, 4)->data.data(), stack.view.data.data() + 8 * 68);
  constexpr int64_t kFar = std::numeric_limits<int64_t>::max();
  for (const auto& [first, rows] : {std::pair<int64_t, int64_t>{9, 4}, {-1, 2}, {0, -1}, {kFar, kFar}, {13, 0}}) {
    EXPECT_FALSE(slice_rows(stack.view, first, rows).ok()) << first << " " << rows;
  }
  TensorView cut = stack.view;
  cut.data = cut.data.first(100);
  EXPECT_FALSE(slice_rows(cut, 0, 1).ok());
}

}  // namespace
}  // namespace kinglet
