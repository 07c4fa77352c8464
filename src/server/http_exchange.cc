#include "server/http_exchange.h"

#include <fmt/format.h>

#include <utility>

namespace kinglet::server {
namespace {

// A value out of a request must not begin a header of its own.
std::string one_line(std::string_view text) {
  std::string line(text);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return line;
}

}  // namespace

void Exchange::put_head(const HttpResponse& response, bool streamed) {
  chunked_ = streamed && options_.http11;
  bytes_ += fmt::format("HTTP/1.1 {} {}\r\n", response.status, reason_phrase(response.status));
  bytes_ += fmt::format("content-type: {}\r\n", one_line(response.content_type));
  for (const auto& [name, value] : response.headers) bytes_ += fmt::format("{}: {}\r\n", name, one_line(value));
  if (chunked_) {
    bytes_ += "transfer-encoding: chunked\r\n";
  } else if (!streamed) {
    bytes_ += fmt::format("content-length: {}\r\n", response.body.size());
  }
  stays_ = options_.keep_alive && (!streamed || chunked_);
  bytes_ += stays_ ? (options_.http11 ? "\r\n" : "connection: keep-alive\r\n\r\n") : "connection: close\r\n\r\n";
}

void Exchange::put_piece(std::string_view piece) {
  if (piece.empty() || options_.head_only) return;
  if (!chunked_) {
    bytes_ += piece;
  } else {
    bytes_ += fmt::format("{:x}\r\n", piece.size());
    bytes_ += piece;
    bytes_ += "\r\n";
  }
}

void Exchange::send(HttpResponse response) {
  {
    const std::lock_guard lock(mutex_);
    if (begun_ || gone_) return;
    begun_ = ended_ = true;
    put_head(response, false);
    if (!options_.head_only) bytes_ += response.body;
    on_gone_ = nullptr;
  }
  wake_();
}

void Exchange::begin(HttpResponse response) {
  {
    const std::lock_guard lock(mutex_);
    if (begun_ || gone_) return;
    begun_ = true;
    put_head(response, true);
    put_piece(response.body);
  }
  wake_();
}

void Exchange::write(std::string piece) {
  {
    const std::lock_guard lock(mutex_);
    if (!begun_ || ended_ || gone_) return;
    put_piece(piece);
    overflown_ = overflown_ || bytes_.size() > options_.unsent_bytes;
  }
  wake_();
}

void Exchange::end() {
  {
    const std::lock_guard lock(mutex_);
    if (!begun_ || ended_ || gone_) return;
    ended_ = true;
    if (chunked_ && !options_.head_only) bytes_ += "0\r\n\r\n";
    on_gone_ = nullptr;
  }
  wake_();
}

bool Exchange::gone() const {
  const std::lock_guard lock(mutex_);
  return gone_;
}

void Exchange::on_gone(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (!gone_) {
      on_gone_ = ended_ ? nullptr : std::move(callback);
      return;
    }
  }
  callback();
}

Exchange::Taken Exchange::take() {
  const std::lock_guard lock(mutex_);
  return {std::exchange(bytes_, {}), ended_};
}

void Exchange::set_gone() {
  std::function<void()> callback;
  {
    const std::lock_guard lock(mutex_);
    if (ended_ || gone_) return;
    gone_ = true;
    bytes_.clear();
    callback = std::exchange(on_gone_, nullptr);
  }
  if (callback) callback();
}

bool Exchange::keeps_alive() const {
  const std::lock_guard lock(mutex_);
  return stays_;
}

bool Exchange::overflown() const {
  const std::lock_guard lock(mutex_);
  return overflown_;
}

}  // namespace kinglet::server
