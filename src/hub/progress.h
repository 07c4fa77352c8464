// Collects what several workers report into PullProgress values, at a bounded rate. Internal to hub/.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <utility>

#include "hub/pull.h"

namespace kinglet::hub {

class ProgressMeter {
 public:
  explicit ProgressMeter(ProgressCallback callback) : callback_(std::move(callback)) {}

  // Starts a phase; `total` bytes of it, of which `done` are there already.
  void begin(PullProgress::Phase phase, uint64_t done, uint64_t total);
  // `file` now has `file_done` bytes; the whole changed by `delta` (negative when a partial file is discarded).
  void advance(const std::string& file, uint64_t file_done, uint64_t file_total, int64_t delta);
  void set_phase(PullProgress::Phase phase);  // without a new count

 private:
  using Clock = std::chrono::steady_clock;
  void emit(bool force);  // holds mutex_
  double speed(Clock::time_point now);

  ProgressCallback callback_;
  std::mutex mutex_;
  PullProgress current_;
  Clock::time_point last_emit_{};
  std::deque<std::pair<Clock::time_point, uint64_t>> samples_;
};

}  // namespace kinglet::hub
