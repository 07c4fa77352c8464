#include "kernels/limits.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>

#include "base/memory.h"
#include "base/threads.h"
#include "kernels/ops.h"
#include "kernels/peak_kernels.h"
#include "kernels/table.h"

namespace kinglet {
namespace {

constexpr uint64_t kBufferBytes = uint64_t{512} << 20;  // several times the largest caches that one core shares
constexpr uint64_t kPageBytes = uint64_t{2} << 20;
constexpr uint64_t kMargin = 65536;  // prefetches run past the end
// Runs are shorter than a scheduler's slice and many: some of them have the processor to themselves.
constexpr double kRunSeconds = 0.003;
constexpr int kRuns = 100;
constexpr uint64_t kReadRunBytes = uint64_t{16} << 20;

double seconds_of(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Operations a second of a register loop on all threads: rounds grow until a run takes long enough for the clock.
double best_rate(ThreadPool& pool, double (*loop)(int64_t)) {
  std::vector<double> done(static_cast<size_t>(pool.size()));
  double best = 0.0;
  int64_t rounds = 1000;
  for (int run = 0; run < kRuns;) {
    const double seconds =
        seconds_of([&] { pool.run([&](int worker) { done[static_cast<size_t>(worker)] = loop(rounds); }); });
    if (seconds < kRunSeconds) {
      rounds *= 2;
      continue;
    }
    double operations = 0.0;
    for (double d : done) operations += d;
    best = std::max(best, operations / seconds);
    run++;
  }
  return best;
}

// Bytes a second; which pattern of streams and prefetches is fastest differs from chip to chip. Each pattern walks
// through the whole buffer, so that a run never finds what it reads in a cache.
double best_read(ThreadPool& pool, const PeakKernels& kernels, const AlignedBuffer& buffer) {
  const auto threads = static_cast<uint64_t>(pool.size());
  const uint64_t part = std::max(kReadRunBytes / threads, kPageBytes) / kPageBytes * kPageBytes;  // of a thread and run
  const uint64_t runs = kBufferBytes / (part * threads);
  struct Pattern {
    int streams;
    uint64_t ahead;
  };
  double best = 0.0;
  for (const Pattern p : {Pattern{1, 0}, {1, 4096}, {2, 0}, {2, 2048}, {4, 0}, {4, 1024}, {4, 2048}, {8, 0}, {8, 1024}})
    for (uint64_t run = 0; run < runs; run++) {
      const double seconds = seconds_of([&] {
        pool.run([&](int worker) {
          kernels.read(buffer.data() + (run * threads + static_cast<uint64_t>(worker)) * part, part, p.streams,
                       p.ahead);
        });
      });
      best = std::max(best, static_cast<double>(part * threads) / seconds);
    }
  return best;
}

}  // namespace

Result<MachineLimits> measure_limits(IsaLevel level, int threads) {
  const PeakKernels& kernels = kernel_table(level).peak;
  ThreadPool pool(threads);
  KL_TRY(const AlignedBuffer buffer, AlignedBuffer::allocate(kBufferBytes + kMargin));
  // Written once, or all of it would be one page of zeros.
  pool.parallel_for(static_cast<int64_t>(kBufferBytes / kPageBytes), 1, [&](int64_t first, int64_t last) {
    std::memset(buffer.data() + static_cast<uint64_t>(first) * kPageBytes, 1,
                static_cast<uint64_t>(last - first) * kPageBytes);
  });
  MachineLimits limits;
  limits.read_gb_per_second = best_read(pool, kernels, buffer) / 1e9;
  limits.int8_gop_per_second = best_rate(pool, kernels.int8_products) / 1e9;
  limits.float_gflop_per_second = best_rate(pool, kernels.float_products) / 1e9;
  return limits;
}

std::vector<int> limit_thread_counts(int most) {
  if (most <= 0) most = default_thread_count();
  std::vector<int> counts;
  for (int n = 1; n < most; n *= 2) counts.push_back(n);
  counts.push_back(most);
  return counts;
}

}  // namespace kinglet
