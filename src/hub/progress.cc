#include "hub/progress.h"

#include <algorithm>

namespace kinglet::hub {
namespace {
constexpr auto kInterval = std::chrono::milliseconds(100);
constexpr auto kSpeedWindow = std::chrono::seconds(5);
}  // namespace

void ProgressMeter::begin(PullProgress::Phase phase, uint64_t done, uint64_t total) {
  const std::lock_guard lock(mutex_);
  current_ = PullProgress{};
  current_.phase = phase;
  current_.done = done;
  current_.total = total;
  samples_.clear();
  emit(true);
}

void ProgressMeter::advance(const std::string& file, uint64_t file_done, uint64_t file_total, int64_t delta) {
  const std::lock_guard lock(mutex_);
  current_.file = file;
  current_.file_done = file_done;
  current_.file_total = file_total;
  const uint64_t back = delta < 0 ? static_cast<uint64_t>(-delta) : 0;
  current_.done =
      delta < 0 ? current_.done - std::min(back, current_.done) : current_.done + static_cast<uint64_t>(delta);
  emit(file_done == file_total);
}

void ProgressMeter::set_phase(PullProgress::Phase phase) {
  const std::lock_guard lock(mutex_);
  current_.phase = phase;
  emit(true);
}

void ProgressMeter::emit(bool force) {
  const auto now = Clock::now();
  if (!callback_ || (!force && now - last_emit_ < kInterval)) return;
  last_emit_ = now;
  current_.bytes_per_second = speed(now);
  callback_(current_);
}

double ProgressMeter::speed(Clock::time_point now) {
  // Discarded bytes would make the speed negative: start over.
  if (!samples_.empty() && samples_.back().second > current_.done) samples_.clear();
  samples_.emplace_back(now, current_.done);
  while (samples_.size() > 2 && now - samples_.front().first > kSpeedWindow) samples_.pop_front();
  const double seconds = std::chrono::duration<double>(now - samples_.front().first).count();
  if (seconds < 0.2) return 0;
  return static_cast<double>(current_.done - samples_.front().second) / seconds;
}

}  // namespace kinglet::hub
