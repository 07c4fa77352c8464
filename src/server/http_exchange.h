// Exchange: the two ends of one answer. Whoever answers has a ResponseWriter; the connection takes bytes out. Without
// sockets: bytes are framed here, moved elsewhere.
#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "server/http.h"

namespace kinglet::server {

struct ExchangeOptions {
  bool http11 = true;      // false: no chunks, the end of the connection ends the answer
  bool keep_alive = true;  // what the client wants and the server allows
  bool head_only = false;  // HEAD
  size_t unsent_bytes = 8 << 20;
};

class Exchange : public ResponseWriter {
 public:
  // `wake` is called, from any thread, when there is something to take.
  Exchange(const ExchangeOptions& options, std::function<void()> wake) : options_(options), wake_(std::move(wake)) {}

  void send(HttpResponse response) override;
  void begin(HttpResponse response) override;
  void write(std::string piece) override;
  void end() override;
  bool gone() const override;
  void on_gone(std::function<void()> callback) override;

  // The connection's side.
  struct Taken {
    std::string bytes;
    bool ended = false;  // nothing comes after these
  };
  Taken take();
  void set_gone();
  bool keeps_alive() const;  // after the end
  bool overflown() const;    // more lies unsent than is allowed

 private:
  void put_head(const HttpResponse& response, bool streamed);
  void put_piece(std::string_view piece);

  const ExchangeOptions options_;
  const std::function<void()> wake_;
  mutable std::mutex mutex_;
  std::string bytes_;
  bool begun_ = false, ended_ = false, gone_ = false, chunked_ = false, overflown_ = false, stays_ = false;
  std::function<void()> on_gone_;
};

}  // namespace kinglet::server
