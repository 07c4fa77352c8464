#include "base/threads.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <system_error>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/float_env.h"
#include "base/log.h"
#include "base/system.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace kinglet {
namespace {

constexpr int kMostThreads = 1024;
// How long a thread stays awake for the next region: long enough to bridge the gap between two operations of a forward
// pass, short enough not to heat an idle machine. The first part is pure spinning, the rest offers the processor to
// others at every look: on a busy machine the thread that is waited for may be one of them.
constexpr auto kSpinTime = std::chrono::microseconds(8);
constexpr auto kAwakeTime = std::chrono::microseconds(80);
constexpr int kPausesPerLook = 32;
constexpr int kYieldsWhenCrowded = 4;

inline void pause_briefly() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// Waits until `word` is no longer `old`: spins, yields, then sleeps. Where there are more threads than processors,
// spinning takes the time away from the thread that is waited for: then it only yields a few times.
void await_change(const std::atomic<uint32_t>& word, uint32_t old, bool crowded) {
  const auto changed = [&] { return word.load(std::memory_order_acquire) != old; };
  if (changed()) return;
  if (crowded) {
    for (int i = 0; i < kYieldsWhenCrowded; ++i) {
      std::this_thread::yield();
      if (changed()) return;
    }
  } else {
    const auto start = std::chrono::steady_clock::now();
    for (auto now = start; now < start + kAwakeTime; now = std::chrono::steady_clock::now()) {
      if (now >= start + kSpinTime) std::this_thread::yield();
      for (int i = 0; i < kPausesPerLook; ++i) {
        if (changed()) return;
        pause_briefly();
      }
    }
  }
  while (!changed()) word.wait(old, std::memory_order_acquire);
}

}  // namespace

struct ThreadPool::State {
  std::vector<std::thread> threads;
  bool crowded = false;
  std::atomic<bool> busy{false};
  const std::function<void(int)>* task = nullptr;  // published by `round`; nullptr ends the workers
  alignas(64) std::atomic<uint32_t> round{0};      // +1 for every run()
  alignas(64) std::atomic<uint32_t> working{0};    // workers that have not finished the round

  void work(int index);
  void start_round(const std::function<void(int)>* next);
};

void ThreadPool::State::work(int index) {
  const FloatEnv float_env;
  for (uint32_t seen = 0;;) {
    await_change(round, seen, crowded);
    ++seen;
    if (task == nullptr) return;
    (*task)(index);
    if (working.fetch_sub(1, std::memory_order_acq_rel) == 1) working.notify_one();
  }
}

void ThreadPool::State::start_round(const std::function<void(int)>* next) {
  task = next;
  working.store(static_cast<uint32_t>(threads.size()), std::memory_order_relaxed);
  round.fetch_add(1, std::memory_order_release);
  round.notify_all();
}

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  const int wanted = std::clamp(threads > 0 ? threads : default_thread_count(), 1, kMostThreads);
  state_->crowded = wanted > static_cast<int>(allowed_cpus().size());
  state_->threads.reserve(static_cast<size_t>(wanted - 1));
  for (int index = 1; index < wanted; ++index) {
    try {
      state_->threads.emplace_back([state = state_.get(), index] { state->work(index); });
    } catch (const std::system_error&) {
      // Results don't depend on the number of threads, so fewer of them are no failure.
      log_warn("the system allows only " + std::to_string(index) + " of " + std::to_string(wanted) + " threads");
      break;
    }
  }
}

ThreadPool::~ThreadPool() {
  state_->start_round(nullptr);
  for (std::thread& thread : state_->threads) thread.join();
}

int ThreadPool::size() const {
  return static_cast<int>(state_->threads.size()) + 1;
}

void ThreadPool::run(const std::function<void(int)>& fn) {
  KL_CHECK(!state_->busy.exchange(true, std::memory_order_acquire), "ThreadPool::run is not reentrant");
  {
    const FloatEnv float_env;
    if (!state_->threads.empty()) state_->start_round(&fn);
    fn(0);
  }
  for (uint32_t left; (left = state_->working.load(std::memory_order_acquire)) != 0;) {
    await_change(state_->working, left, state_->crowded);
  }
  state_->busy.store(false, std::memory_order_release);
}

void ThreadPool::parallel_for(int64_t items, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  if (items <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  if (size() == 1 || items <= grain) {
    const FloatEnv float_env;
    body(0, items);
    return;
  }
  // A few chunks a worker, so that one that was interrupted does not hold up the rest.
  constexpr int64_t kChunksPerWorker = 4;
  struct Share {
    std::atomic<int64_t> next{0};  // chunks, not items: cannot overflow
    int64_t items, chunk, chunks;
    const std::function<void(int64_t, int64_t)>& body;
  };
  const int64_t chunk = std::max(grain, (items - 1) / (size() * kChunksPerWorker) + 1);
  Share share{0, items, chunk, (items - 1) / chunk + 1, body};
  run([&share](int) {
    for (int64_t i; (i = share.next.fetch_add(1, std::memory_order_relaxed)) < share.chunks;) {
      const int64_t begin = i * share.chunk;
      share.body(begin, share.items - begin < share.chunk ? share.items : begin + share.chunk);
    }
  });
}

int default_thread_count() {
  const int cores = count_physical_cores(allowed_cpus());
  const double quota = cgroup_cpu_quota();
  if (!(quota < cores)) return cores;
  return std::max(1, static_cast<int>(std::lround(quota)));
}

}  // namespace kinglet
