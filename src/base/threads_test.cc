#include "base/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cfenv>
#include <limits>
#include <thread>
#include <vector>

#include "base/float_env.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace kinglet {
namespace {

TEST(ThreadPool, EveryWorkerRunsOnceARound) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.size(), threads);
    std::vector<std::atomic<int>> runs(static_cast<size_t>(threads));
    const std::thread::id caller = std::this_thread::get_id();
    std::atomic<bool> caller_is_zero{true};
    for (int round = 0; round < 500; ++round) {
      pool.run([&](int worker) {
        ++runs[static_cast<size_t>(worker)];
        if ((std::this_thread::get_id() == caller) != (worker == 0)) caller_is_zero = false;
      });
      for (auto& count : runs) ASSERT_EQ(count, round + 1);
    }
    EXPECT_TRUE(caller_is_zero);
  }
}

TEST(ThreadPool, WakesWorkersThatSleep) {
  ThreadPool pool(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));  // far longer than they spin
    std::atomic<int> runs{0};
    pool.run([&](int) { ++runs; });
    EXPECT_EQ(runs, 3);
  }
}

TEST(ThreadPool, WaitsForSlowWorkers) {
  ThreadPool pool(4);
  std::atomic<int> finished{0};
  pool.run([&](int worker) {
    if (worker != 0) std::this_thread::sleep_for(std::chrono::milliseconds(2 * worker));
    ++finished;
  });
  EXPECT_EQ(finished, 4);
}

TEST(ThreadPool, ParallelForCoversEachItemOnce) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int64_t items : {0, 1, 2, 7, 64, 1000}) {
      for (int64_t grain : {0, 1, 3, 16, 5000}) {
        std::vector<std::atomic<int>> seen(static_cast<size_t>(items));
        std::atomic<bool> small{false};
        pool.parallel_for(items, grain, [&](int64_t begin, int64_t end) {
          if (end - begin < grain && end != items) small = true;
          for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
        });
        for (auto& count : seen) ASSERT_EQ(count, 1);
        EXPECT_FALSE(small) << "a chunk below the grain";
      }
    }
  }
}

TEST(ThreadPool, ParallelForOfHugeRanges) {
  ThreadPool pool(2);
  std::atomic<int64_t> sum{0};
  constexpr int64_t kItems = std::numeric_limits<int64_t>::max();
  pool.parallel_for(kItems, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
  EXPECT_EQ(sum, kItems);
}

TEST(ThreadPool, MoreThreadsThanProcessorsMakeProgress) {
  ThreadPool pool(33);
  std::atomic<int64_t> total{0};
  for (int round = 0; round < 200; ++round) {
    pool.parallel_for(100, 1, [&](int64_t begin, int64_t end) { total += end - begin; });
  }
  EXPECT_EQ(total, 200 * 100);
}

TEST(ThreadPool, DefaultSize) {
  EXPECT_GE(default_thread_count(), 1);
  EXPECT_EQ(ThreadPool().size(), default_thread_count());
  EXPECT_EQ(ThreadPool(0).size(), default_thread_count());
}

TEST(ThreadPool, PoolsCanBeUnusedAndMany) {
  for (int i = 0; i < 50; ++i) {
    ThreadPool idle(3);
    ThreadPool other(2);
    other.run([](int) {});
  }
}

TEST(ThreadPoolDeathTest, RunInsideRunIsABug) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        ThreadPool pool(2);
        pool.run([&](int worker) {
          if (worker == 0) pool.run([](int) {});
        });
      },
      "not reentrant");
}

// A product that is subnormal, and a sum that rounding decides: both kept from the compiler.
float subnormal_product() {
  volatile float a = std::numeric_limits<float>::min(), b = 0.5f;
  return a * b;
}
float rounded_sum() {
  volatile float a = 1.0f, b = 0x1p-24f;
  return a + b;
}

TEST(ThreadPool, WorkersRoundToNearestAndKeepSubnormals) {
#if defined(__x86_64__)
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040u);  // flush to zero, denormals are zero: as a library built with -ffast-math leaves it
#endif
  std::fesetround(FE_UPWARD);
  ThreadPool pool(4);  // workers inherit the modes of their creator
  std::atomic<int> right{0};
  pool.run([&](int) {
    if (subnormal_product() == 0x1p-127f && rounded_sum() == 1.0f) ++right;
  });
  pool.parallel_for(1, 1, [&](int64_t, int64_t) {
    if (subnormal_product() == 0x1p-127f && rounded_sum() == 1.0f) ++right;
  });
  EXPECT_EQ(std::fegetround(), FE_UPWARD) << "the caller's own mode comes back";
  std::fesetround(FE_TONEAREST);
#if defined(__x86_64__)
  EXPECT_EQ(_mm_getcsr() & 0x8040u, 0x8040u);
  _mm_setcsr(before);
#endif
  EXPECT_EQ(right, 5);
}

}  // namespace
}  // namespace kinglet
