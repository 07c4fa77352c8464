#include "hub/retry.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include "hub/files.h"

namespace kinglet::hub {
namespace {

constexpr int kUnreachableAttempts = 3;
constexpr int kLongestBackoffMs = 30'000;

bool is_transient(const HttpHead& head) {
  if (head.status == 408 || head.status == 416 || head.status == 425 || head.status == 429 || head.status >= 500)
    return true;
  // A storage host refuses signed addresses that have expired; asking the hub again gives a new one.
  return !head.same_origin && (head.status == 401 || head.status == 403);
}

Status sleep_ms(int64_t milliseconds, const std::atomic<bool>* cancel) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
  while (std::chrono::steady_clock::now() < end) {
    if (is_cancelled(cancel)) return cancelled_error();
    std::this_thread::sleep_for(std::min<std::chrono::steady_clock::duration>(std::chrono::milliseconds(20),
                                                                              end - std::chrono::steady_clock::now()));
  }
  return {};
}

int64_t backoff_ms(int base, int failures) {
  const int64_t longest = std::min<int64_t>(int64_t{base} << std::min(failures, 10), kLongestBackoffMs);
  // Between half and all of it, so that many clients don't come back at once. Not a random number that matters.
  static thread_local std::minstd_rand random(std::random_device{}());
  return longest / 2 + static_cast<int64_t>(random()) % (longest / 2 + 1);
}

}  // namespace

Status RetryPolicy::wait_or_fail(const HttpResult& result, const std::string& what) {
  const bool transport = result.failure.has_value();
  const bool retryable = transport ? result.failure->retryable : is_transient(result.head);
  auto error = [&]() -> Error {
    if (!transport) return status_error(result.head, what);
    if (result.failure->error.code != ErrorCode::kNetwork) return result.failure->error;
    return result.failure->error.with_context("fetching " + what);
  };
  if (!retryable) return error();
  const int attempts =
      transport && result.failure->unreachable ? std::min(options_.attempts, kUnreachableAttempts) : options_.attempts;
  const int wait_s = transport ? 0 : result.head.retry_after_s;
  if (wait_s > options_.longest_wait_s) {
    return Error{ErrorCode::kNetwork, error().message + "; it asks to wait " + std::to_string(wait_s) + " seconds"};
  }
  if (++failures_ >= attempts) {
    Error last = error();
    last.message += " (tried " + std::to_string(failures_) + " times)";
    return last;
  }
  return sleep_ms(std::max<int64_t>(int64_t{wait_s} * 1000, backoff_ms(options_.backoff_ms, failures_ - 1)),
                  options_.cancel);
}

Error RetryPolicy::status_error(const HttpHead& head, const std::string& what) const {
  const std::string said = head.error_message.empty() ? "" : " (\"" + head.error_message + "\")";
  const std::string status = "HTTP " + std::to_string(head.status) + said;
  const bool has_token = !options_.token.empty();
  switch (head.status) {
    case 401:
      return {ErrorCode::kNetwork, what + ": " + status +
                                       (has_token ? ": the hub refuses the token in HF_TOKEN; check it"
                                                  : ": it does not exist, or is private: check the name, or set "
                                                    "HF_TOKEN to a token that may read it") +
                                       " (" + help_url_ + ")"};
    case 403:
      return {ErrorCode::kNetwork,
              what + ": " + status + ": access is denied. If the model asks for its terms to be accepted, do so at " +
                  help_url_ +
                  (has_token ? " with the account of HF_TOKEN" : " and set HF_TOKEN to a token of that account")};
    case 404:
      return {ErrorCode::kNotFound, what + ": " + status + ": no such repository, revision or file at " + help_url_};
    case 429:
      return {ErrorCode::kNetwork, what + ": " + status + ": too many requests" +
                                       (has_token ? "; try later" : "; try later, or set HF_TOKEN for higher limits")};
    default:
      return {ErrorCode::kNetwork, what + ": unexpected answer: " + status};
  }
}

}  // namespace kinglet::hub
