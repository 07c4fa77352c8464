// One GET at a time over HTTP(S), with ranges, cancellation and redirects followed here, so that a token provably stays
// with the host it is for. Retrying is the caller's (download.h). Internal to hub/.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kinglet::hub {

struct ByteRange {
  uint64_t begin = 0;
  uint64_t end = 0;  // exclusive
};

struct HttpRequest {
  std::string url;
  std::string token;  // sent as bearer token to the origin (scheme, host, port) of `url` only
  std::optional<ByteRange> range;
  std::string if_range;             // an entity tag; with `range`
  int stall_s = 30;                 // seconds without a byte before the connection is given up
  std::function<bool()> cancelled;  // asked now and then; true ends the request with kCancelled
};

struct HttpHead {
  int status = 0;
  std::string url;          // the last one, after redirects
  bool same_origin = true;  // of the last url and the first
  std::optional<uint64_t> content_length;
  std::optional<ByteRange> content_range;  // of a 206
  std::optional<uint64_t> range_total;     // the "/N" of Content-Range
  std::string etag;
  std::string error_message;  // X-Error-Message, or the start of an error's body; printable
  int retry_after_s = 0;      // 0 when not given
};

// How a request ended when no answer came, or the receiver refused it.
struct HttpFailure {
  Error error;
  bool retryable = false;
  bool unreachable = false;  // no connection at all: waiting long seldom helps
};

struct HttpResult {
  HttpHead head;
  std::optional<HttpFailure> failure;
};

// What takes a 200's or 206's body. An error from either ends the request and is returned as it is; kNetwork counts as
// retryable, nothing else does.
struct HttpReceiver {
  std::function<Status(const HttpHead&)> on_head;
  std::function<Status(std::string_view)> on_data;
};

class HttpClient {
 public:
  HttpClient();
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  HttpResult get(const HttpRequest& request, const HttpReceiver& receiver);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Percent-encodes a path, keeping '/' and the unreserved characters.
std::string encode_url_path(std::string_view path);
// True for http:// or https:// with a host, without user, query, fragment or control characters.
bool is_plain_endpoint(const std::string& url);

}  // namespace kinglet::hub
