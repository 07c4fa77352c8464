#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

#include "server/json_fields.h"
#include "server/ollama.h"

namespace kinglet::server {
namespace {

// "2026-11-30T07:00:00.123456Z"
std::string time_now() {
  using std::chrono::microseconds;
  const int64_t now =
      std::chrono::duration_cast<microseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::string text = ollama_time(now / 1'000'000);
  text.pop_back();
  return fmt::format("{}.{:06}Z", text, now % 1'000'000);
}

// Between two moments of RequestStats, which are negative where it did not come to them.
int64_t nanoseconds(double from, double to) {
  constexpr double kMost = 1e9;  // 31 years
  if (from < 0.0 || !(to > from)) return 0;
  return static_cast<int64_t>(std::min(to - from, kMost) * 1e9);
}

class OllamaFormat : public AnswerFormat {
 public:
  OllamaFormat(OllamaAnswer kind, std::string model) : kind_(kind), model_(std::move(model)) {}

  std::string content_type(bool stream) const override {
    return stream ? "application/x-ndjson" : "application/json; charset=utf-8";
  }
  std::string first() override { return {}; }

  std::string event(size_t, const Event& event) override {
    std::string out;
    if (!event.text.empty() || !event.reasoning.empty()) {
      Json line = begin_line(event.text, event.reasoning);
      line["done"] = false;
      out = to_text(line) + "\n";
    }
    if (event.finish) out += to_text(last_line("", "", *event.finish)) + "\n";
    return out;
  }
  std::string last() override { return {}; }
  std::string failure(const Error& error) override { return ollama_error(500, error).body + "\n"; }

  std::string whole(const std::vector<Completion>& completions) override {
    const Completion& answer = completions.front();
    return to_text(last_line(answer.text, answer.reasoning, answer.finish));
  }

  Json begin_line(const std::string& text, const std::string& reasoning) const {
    Json line = {{"model", model_}, {"created_at", time_now()}};
    if (kind_ == OllamaAnswer::kChat) {
      Json message = {{"role", "assistant"}, {"content", text}};
      if (!reasoning.empty()) message["thinking"] = reasoning;
      line["message"] = std::move(message);
    } else {
      line["response"] = text;
      if (!reasoning.empty()) line["thinking"] = reasoning;
    }
    return line;
  }

 private:
  Json last_line(const std::string& text, const std::string& reasoning, const FinishInfo& finish) const {
    const RequestStats& s = finish.stats;
    Json line = begin_line(text, reasoning);
    line["done"] = true;
    line["done_reason"] = finish.reason == FinishReason::kLength ? "length" : "stop";
    line["total_duration"] = nanoseconds(0.0, s.finished_seconds);
    // The model is there; what a request waits for is its place.
    line["load_duration"] = nanoseconds(0.0, s.started_seconds);
    line["prompt_eval_count"] = s.prompt_tokens;
    line["prompt_eval_duration"] = nanoseconds(s.started_seconds, s.first_token_seconds);
    line["eval_count"] = s.generated_tokens;
    line["eval_duration"] = nanoseconds(s.first_token_seconds, s.finished_seconds);
    return line;
  }

  const OllamaAnswer kind_;
  const std::string model_;
};

}  // namespace

std::unique_ptr<AnswerFormat> ollama_format(OllamaAnswer kind, std::string model) {
  return std::make_unique<OllamaFormat>(kind, std::move(model));
}

std::string ollama_loaded(OllamaAnswer kind, const std::string& model) {
  Json line = OllamaFormat(kind, model).begin_line("", "");
  line["done"] = true;
  line["done_reason"] = "load";
  return to_text(line);
}

HttpResponse ollama_error(int status, const Error& error) {
  HttpResponse response;
  response.status = status;
  if (status == 429 || status == 503) response.headers.emplace_back("retry-after", "1");
  response.body = to_text(Json{{"error", error.message}});
  return response;
}

std::string ollama_time(int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[32];
  return std::string(text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts));
}

}  // namespace kinglet::server
