#include "server/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace kinglet::server {
namespace {

constexpr double kSeconds[] = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,  0.25,  0.5,   0.75,
                               1.0,   2.5,   5.0,  7.5,  10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0};
constexpr double kTokens[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};

std::string one(const char* name, const char* kind, const char* help, const std::string& labels, double value) {
  return fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n{0}{{{3}}} {4}\n", name, help, kind, labels, value);
}

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

}  // namespace

void Histogram::add(double value) {
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  ++counts_[static_cast<size_t>(at)];
  ++total_;
  sum_ += value;
}

std::string Histogram::text(const std::string& name, const std::string& labels) const {
  std::string out = fmt::format("# TYPE {} histogram\n", name);
  uint64_t below = 0;
  for (size_t i = 0; i < bounds_.size(); ++i) {
    below += counts_[i];
    out += fmt::format("{}_bucket{{{},le=\"{}\"}} {}\n", name, labels, bounds_[i], below);
  }
  out += fmt::format("{0}_bucket{{{1},le=\"+Inf\"}} {2}\n{0}_sum{{{1}}} {3}\n{0}_count{{{1}}} {2}\n", name, labels,
                     total_, sum_);
  return out;
}

Metrics::Metrics()
    : first_token_(kSeconds),
      between_tokens_(kSeconds),
      whole_(kSeconds),
      queue_(kSeconds),
      prompt_tokens_(kTokens),
      generated_tokens_(kTokens) {}

void Metrics::event(const Event& event, std::chrono::steady_clock::time_point* last) {
  const auto now = std::chrono::steady_clock::now();
  const std::lock_guard lock(mutex_);
  if (!event.tokens.empty()) {
    if (last->time_since_epoch().count() != 0) {
      // Several tokens of a step came at once: the time is shared among them.
      const double gap = std::chrono::duration<double>(now - *last).count() / static_cast<double>(event.tokens.size());
      for (size_t i = 0; i < event.tokens.size(); ++i) between_tokens_.add(gap);
    }
    *last = now;
  }
  if (!event.finish) return;
  const RequestStats& stats = event.finish->stats;
  ++finished_[finish_reason_name(event.finish->reason)];
  if (stats.started_seconds >= 0) queue_.add(stats.started_seconds);
  if (stats.first_token_seconds >= 0) first_token_.add(stats.first_token_seconds);
  if (stats.finished_seconds >= 0) whole_.add(stats.finished_seconds);
  prompt_tokens_.add(static_cast<double>(stats.prompt_tokens));
  generated_tokens_.add(static_cast<double>(stats.generated_tokens));
}

void Metrics::response(int status) {
  const std::lock_guard lock(mutex_);
  ++responses_[status];
}

std::string Metrics::text(const EngineStats& stats, const std::string& model) const {
  const std::string labels = fmt::format("model_name=\"{}\"", escaped(model));
  const auto number = [](int64_t value) { return static_cast<double>(value); };
  const double usage = stats.pages > 0 ? number(stats.pages_used) / number(stats.pages) : 0.0;
  std::string out =
      one("vllm:num_requests_running", "gauge", "Requests in the engine's steps.", labels, number(stats.running)) +
      one("vllm:num_requests_waiting", "gauge", "Requests that wait.", labels, number(stats.waiting)) +
      one("vllm:kv_cache_usage_perc", "gauge", "Share of the KV pages in use; 1 is all.", labels, usage) +
      one("vllm:num_preemptions_total", "counter", "Times a sequence lost its pages.", labels,
          number(stats.preemptions)) +
      one("vllm:prompt_tokens_total", "counter", "Tokens of prompts computed.", labels, number(stats.prompt_tokens)) +
      one("vllm:generation_tokens_total", "counter", "Tokens generated.", labels, number(stats.generated_tokens)) +
      one("vllm:prefix_cache_queries_total", "counter", "Tokens looked for in the prefix cache.", labels,
          number(stats.cache_queried_tokens)) +
      one("vllm:prefix_cache_hits_total", "counter", "Tokens found there.", labels, number(stats.cache_hit_tokens)) +
      one("vllm:spec_decode_num_draft_tokens_total", "counter", "Tokens drafted.", labels,
          number(stats.drafted_tokens)) +
      one("vllm:spec_decode_num_accepted_tokens_total", "counter", "Drafted tokens that held.", labels,
          number(stats.accepted_tokens));
  const std::lock_guard lock(mutex_);
  out += "# TYPE vllm:request_success_total counter\n";
  for (const auto& [reason, count] : finished_) {
    out += fmt::format("vllm:request_success_total{{{},finished_reason=\"{}\"}} {}\n", labels, reason, count);
  }
  out += "# TYPE kinglet:http_responses_total counter\n";
  for (const auto& [status, count] : responses_) {
    out += fmt::format("kinglet:http_responses_total{{status=\"{}\"}} {}\n", status, count);
  }
  out += first_token_.text("vllm:time_to_first_token_seconds", labels);
  out += between_tokens_.text("vllm:inter_token_latency_seconds", labels);
  out += whole_.text("vllm:e2e_request_latency_seconds", labels);
  out += queue_.text("vllm:request_queue_time_seconds", labels);
  out += prompt_tokens_.text("vllm:request_prompt_tokens", labels);
  out += generated_tokens_.text("vllm:request_generation_tokens", labels);
  return out;
}

}  // namespace kinglet::server
