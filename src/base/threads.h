// A pool of workers that run one function together. Made for many short parallel regions a millisecond: workers spin a
// little, then sleep. Every worker runs with round-to-nearest and denormals on (the modes the bits depend on).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

namespace kinglet {

class ThreadPool {
 public:
  // `threads` >= 1 including the calling thread; 0 means default_thread_count().
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  // Runs fn(worker index) on every worker, the caller being worker 0, and waits for all. Not reentrant; one caller at a
  // time. fn must not throw.
  void run(const std::function<void(int)>& fn);

  // Splits [0, items) into chunks taken from a counter and runs body(begin, end) on them. Results must not depend on
  // the split. `grain` is the smallest chunk worth handing out.
  void parallel_for(int64_t items, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Physical cores this process may use: min(affinity, cgroup CPU quota), hyper-thread siblings counted once, at least 1.
int default_thread_count();

}  // namespace kinglet
