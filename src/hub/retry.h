// When a failed request is worth another try, how long to wait before it, and what to tell the user when it isn't.
// Internal to hub/.
#pragma once

#include <string>

#include "base/result.h"
#include "hub/http.h"
#include "hub/pull.h"

namespace kinglet::hub {

class RetryPolicy {
 public:
  RetryPolicy(const PullOptions& options, std::string help_url) : options_(options), help_url_(std::move(help_url)) {}

  // `result` is not a 200/206 without failure. Waits and returns success when the request should be sent again; else
  // the error to report. `what` names what was asked for.
  Status wait_or_fail(const HttpResult& result, const std::string& what);
  void progressed() { failures_ = 0; }  // bytes arrived: count from the beginning

 private:
  Error status_error(const HttpHead& head, const std::string& what) const;

  const PullOptions& options_;
  std::string help_url_;
  int failures_ = 0;
};

}  // namespace kinglet::hub
