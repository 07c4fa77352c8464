// The machine's measured limits are limits: no kernel is ever seen above 97 % of one (a weak limit would flatter every
// share of it that we state).
#include "kernels/limits.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "base/memory.h"
#include "formats/decode.h"
#include "kernels/isa.h"
#include "kernels/ops.h"

namespace kinglet {
namespace {

constexpr double kHighestShare = 0.97;
constexpr int kAttempts = 4;  // neighbours on the machine can slow a limit's measurement down

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
#else
constexpr bool kSanitized = false;
#endif

// Random blocks; zeros as scales and values keep floats finite without changing what is read.
PackedMatrix random_matrix(const Compute& compute, DType type, int64_t rows, int64_t columns) {
  const DTypeInfo& info = dtype_info(type);
  const auto bytes = static_cast<size_t>(rows * columns / info.block_values) * info.block_bytes;
  std::vector<std::byte> data(bytes, std::byte{0x11});
  TensorView view;
  view.name = "w";
  view.dtype = type;
  view.shape = {rows, columns};
  view.data = data;
  Result<PackedMatrix> packed = pack_matrix(compute, view, decode_row);
  EXPECT_TRUE(packed.ok()) << packed.error().message;
  return std::move(packed).value();
}

// The shortest of some runs of y = W x.
double best_seconds(const Compute& compute, ComputeMode mode, const PackedMatrix& w, int64_t tokens, int runs) {
  std::vector<float> x(static_cast<size_t>(tokens * w.columns()), 0.25f), y(static_cast<size_t>(tokens * w.rows()));
  Activations input;
  double best = 1e9;
  for (int i = 0; i < runs; i++) {
    input.set(x.data(), tokens, w.columns(), w.columns());
    const auto start = std::chrono::steady_clock::now();
    linear(compute, mode, w, input, y.data(), w.rows());
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

class Limits : public testing::Test {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "speeds mean nothing under a sanitizer";
    level_ = choose_isa_level().value();
    compute_ = {&kernel_table(level_), &pool_};
    limits_ = measure_limits(level_, 1).value();
  }

  // `rate` in the unit of `limit`. Measures the limit again before it believes that it was exceeded.
  void expect_below(const std::string& what, double MachineLimits::* limit, double rate) {
    for (int attempt = 1; rate > kHighestShare * (limits_.*limit) && attempt < kAttempts; attempt++) {
      const MachineLimits again = measure_limits(level_, 1).value();
      limits_.*limit = std::max(limits_.*limit, again.*limit);
    }
    std::printf("%-28s %8.1f of %8.1f  %5.1f %%\n", what.c_str(), rate, limits_.*limit,
                100.0 * rate / (limits_.*limit));
    EXPECT_LE(rate, kHighestShare * (limits_.*limit)) << what << " on " << isa_name(level_);
  }

  IsaLevel level_ = IsaLevel::kPortable;
  ThreadPool pool_{1};
  Compute compute_;
  MachineLimits limits_;
};

TEST_F(Limits, NoProductOfOneTokenReadsFasterThanMemory) {
  if (available_memory_bytes() < uint64_t{2} << 30) GTEST_SKIP() << "needs 2 GB of memory";
  for (DType type : {DType::kQ4_0, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K, DType::kF16}) {
    const DTypeInfo& info = dtype_info(type);
    const double bytes_per_value = static_cast<double>(info.block_bytes) / static_cast<double>(info.block_values);
    const auto rows =
        static_cast<int64_t>(static_cast<double>(uint64_t{320} << 20) / bytes_per_value / 4096.0) / 64 * 64;
    const PackedMatrix w = random_matrix(compute_, type, rows, 4096);
    const double seconds = best_seconds(compute_, ComputeMode::kInt8, w, 1, 8);
    expect_below(std::string(info.name) + ", 1 token", &MachineLimits::read_gb_per_second,
                 static_cast<double>(w.bytes()) / seconds / 1e9);
  }
}

TEST_F(Limits, NoProductOfManyTokensExceedsTheProcessor) {
  constexpr int64_t kRows = 512, kColumns = 2048, kTokens = 128;
  const double operations = 2.0 * kRows * kColumns * kTokens;
  for (DType type :
       {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ8_0, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
    const PackedMatrix w = random_matrix(compute_, type, kRows, kColumns);
    expect_below(std::string(dtype_info(type).name) + ", 128 tokens", &MachineLimits::int8_gop_per_second,
                 operations / best_seconds(compute_, ComputeMode::kInt8, w, kTokens, 20) / 1e9);
  }
  for (DType type : {DType::kF32, DType::kF16, DType::kQ4_K}) {
    const PackedMatrix w = random_matrix(compute_, type, kRows, kColumns);
    expect_below(std::string(dtype_info(type).name) + ", 128 tokens, f32", &MachineLimits::float_gflop_per_second,
                 operations / best_seconds(compute_, ComputeMode::kF32, w, kTokens, 5) / 1e9);
  }
}

TEST(LimitThreadCounts, DoubleUpToTheMost) {
  EXPECT_EQ(limit_thread_counts(1), std::vector<int>({1}));
  EXPECT_EQ(limit_thread_counts(2), std::vector<int>({1, 2}));
  EXPECT_EQ(limit_thread_counts(6), std::vector<int>({1, 2, 4, 6}));
  EXPECT_EQ(limit_thread_counts(8), std::vector<int>({1, 2, 4, 8}));
  EXPECT_EQ(limit_thread_counts(0).back(), default_thread_count());
}

}  // namespace
}  // namespace kinglet
