// HTTP/1.1 over TCP, with or without TLS: one thread moves all bytes, bounded in size, number and time. What requests
// mean is the handler's business.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "server/http.h"

namespace kinglet::server {

struct HttpLimits {
  size_t header_bytes = 32 << 10;
  size_t body_bytes = 32 << 20;
  size_t bodies_in_flight = 256 << 20;  // of all requests that are still coming in
  size_t unsent_bytes = 8 << 20;        // of one streamed answer; a client that leaves more lying is cut off
  size_t connections = 1024;
  // A client that takes longer is cut off: for a request's head, its body, one piece of an answer, and between
  // requests.
  std::chrono::milliseconds head{15'000}, body{60'000}, write{30'000}, idle{75'000};
};

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 0;             // 0: any free one
  std::string certificate, key;  // PEM files; both, or neither for plain HTTP
  HttpLimits limits;
};

class HttpServer {
 public:
  // kIo when the address can't be had, kInvalid for certificates that don't fit.
  static Result<std::unique_ptr<HttpServer>> start(const HttpServerOptions& options, HttpHandler handler);
  ~HttpServer();  // stop()
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  uint16_t port() const;
  size_t connections() const;
  // Closes idle connections and says "Connection: close" from now on; goes on to take requests.
  void wind_down();
  // Closes everything and returns when the thread has ended.
  void stop();

 private:
  struct Core;
  explicit HttpServer(std::shared_ptr<Core> core);
  std::shared_ptr<Core> core_;
};

}  // namespace kinglet::server
