// Metrics: counters and histograms under vLLM's names, as Prometheus text, so that its dashboards and routers work.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>

#include "engine/engine.h"

namespace kinglet::server {

class Histogram {
 public:
  // `bounds`: ascending; they outlive the histogram.
  explicit Histogram(std::span<const double> bounds) : bounds_(bounds) {}
  void add(double value);
  // In Prometheus text, with `labels` such as model_name="x".
  std::string text(const std::string& name, const std::string& labels) const;

 private:
  static constexpr size_t kMostBounds = 32;
  std::span<const double> bounds_;
  std::array<uint64_t, kMostBounds + 1> counts_{};
  uint64_t total_ = 0;
  double sum_ = 0.0;
};

// Thread-safe.
class Metrics {
 public:
  Metrics();
  // Takes note of an event of one answer; `last` is when its former one came, and is renewed.
  void event(const Event& event, std::chrono::steady_clock::time_point* last);
  void response(int status);
  std::string text(const EngineStats& stats, const std::string& model) const;

 private:
  mutable std::mutex mutex_;
  Histogram first_token_, between_tokens_, whole_, queue_, prompt_tokens_, generated_tokens_;
  std::map<std::string, uint64_t> finished_;  // by reason
  std::map<int, uint64_t> responses_;         // by status
};

}  // namespace kinglet::server
