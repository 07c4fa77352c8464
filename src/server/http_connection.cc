#include "server/http_connection.h"

#include <algorithm>
#include <array>
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <type_traits>

#include "server/http_exchange.h"

namespace kinglet::server {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using Clock = std::chrono::steady_clock;

namespace {

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
constexpr size_t kReadPiece = 16 << 10;
constexpr auto kLinger = std::chrono::seconds(2);

// One coroutine waits, others raise.
class Signal {
 public:
  explicit Signal(asio::io_context& io) : timer_(io) {}
  void raise() {
    raised_ = true;
    timer_.cancel();
  }
  // False when the deadline passed first.
  asio::awaitable<bool> wait(Clock::time_point deadline = Clock::time_point::max()) {
    if (!raised_) {
      timer_.expires_at(deadline);
      co_await timer_.async_wait(kToken);
    }
    const bool was = raised_;
    raised_ = false;
    co_return was;
  }

 private:
  asio::steady_timer timer_;
  bool raised_ = false;
};

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

using Parser = http::request_parser<http::string_body>;

HttpRequest request_of(Parser& parser, const std::string& peer) {
  auto message = parser.release();
  HttpRequest request;
  request.method = std::string(message.method_string());
  const std::string_view target(message.target().data(), message.target().size());
  const size_t question = target.find('?');
  request.path = std::string(target.substr(0, question));
  if (question != std::string_view::npos) request.query = std::string(target.substr(question + 1));
  for (const auto& field : message) {
    const auto name = field.name_string(), value = field.value();
    request.headers.emplace_back(lower({name.data(), name.size()}), std::string(value.data(), value.size()));
  }
  request.body = std::move(message.body());
  request.peer = peer;
  return request;
}

template <class Stream>
class Connection : public ConnectionBase, public std::enable_shared_from_this<Connection<Stream>> {
 public:
  Connection(ConnectionHost& host, Stream stream)
      : host_(host), stream_(std::move(stream)), arrived_(host.io), room_(host.io), watchdog_(host.io) {
    host_.connections.insert(this);
    ++host_.count;
    boost::system::error_code ignored;
    peer_ = socket().remote_endpoint(ignored).address().to_string();
  }
  ~Connection() override {
    set_body_bytes(0);
    host_.connections.erase(this);
    --host_.count;
  }

  void start() {
    asio::co_spawn(host_.io, [self = this->shared_from_this()] { return self->serve(); }, asio::detached);
  }
  void close() override {
    boost::system::error_code ignored;
    socket().close(ignored);
    over_ = true;
    arrived_.raise();
    room_.raise();
    watchdog_.cancel();
  }
  void close_if_idle() override {
    if (idle_) close();
  }

 private:
  tcp::socket& socket() {
    if constexpr (std::is_same_v<Stream, tcp::socket>) {
      return stream_;
    } else {
      return stream_.next_layer();
    }
  }

  // Closes the connection unless it is called again in time; max(): no limit.
  void guard(std::chrono::milliseconds limit) {
    watchdog_.expires_after(limit);
    watchdog_.async_wait([weak = this->weak_from_this()](boost::system::error_code stopped) {
      if (const auto self = weak.lock(); self && !stopped) self->close();
    });
  }

  asio::awaitable<void> serve() {
    if constexpr (!std::is_same_v<Stream, tcp::socket>) {
      guard(host_.limits.head);
      const auto [failed] = co_await stream_.async_handshake(asio::ssl::stream_base::server, kToken);
      watchdog_.cancel();
      if (failed) over_ = true;
    }
    asio::co_spawn(host_.io, [self = this->shared_from_this()] { return self->read_loop(); }, asio::detached);
    bool stays = !over_;
    while (stays) stays = co_await serve_one();
    co_await part();
  }

  // Takes in whatever comes, as long as there is room, so that an end is noticed while an answer is under way.
  asio::awaitable<void> read_loop() {
    while (!over_) {
      if (buffer_.size() >= room_bytes_ && !parting_) {
        co_await room_.wait();
        continue;
      }
      const auto [failed, size] = co_await stream_.async_read_some(asio::buffer(piece_), kToken);
      if (failed) over_ = true;
      if (!parting_) {
        const auto copied = asio::buffer_copy(buffer_.prepare(size), asio::buffer(piece_, size));
        buffer_.commit(copied);
      }
      arrived_.raise();
      if (over_ && exchange_) exchange_->set_gone();
    }
  }

  // False when this was the last request.
  asio::awaitable<bool> serve_one() {
    Parser parser;
    parser.header_limit(static_cast<uint32_t>(host_.limits.header_bytes));
    parser.body_limit(host_.limits.body_bytes);
    parser.eager(true);
    const int refusal = co_await read_request(parser);
    if (refusal < 0) co_return false;
    ExchangeOptions options;
    options.http11 = parser.get().version() >= 11;
    options.keep_alive = refusal == 0 && parser.keep_alive() && !host_.winding_down;
    options.head_only = parser.get().method() == http::verb::head;
    options.unsent_bytes = host_.limits.unsent_bytes;
    auto wake = [owner = host_.owner.lock(), weak = this->weak_from_this()] {
      asio::post(owner->io, [weak] {
        if (const auto self = weak.lock()) self->arrived_.raise();
      });
    };
    exchange_ = std::make_shared<Exchange>(options, std::move(wake));
    if (refusal > 0) {
      HttpResponse response;
      response.status = refusal;
      response.body = std::string(R"({"error":{"message":")") + refusal_text(refusal) +
                      R"(","type":"invalid_request_error","param":null,"code":null}})";
      exchange_->send(std::move(response));
    } else {
      host_.handler(request_of(parser, peer_), exchange_);
    }
    set_body_bytes(0);
    const bool sent = co_await send_answer();
    const bool stays = sent && exchange_->keeps_alive() && !host_.winding_down;
    exchange_->set_gone();
    exchange_ = nullptr;
    co_return stays;
  }

  std::string refusal_text(int status) const {
    switch (status) {
      case 408:
        return "the request did not come in whole in time";
      case 413:
        return "the body is larger than the " + std::to_string(host_.limits.body_bytes) + " bytes that are allowed";
      case 431:
        return "the headers are larger than the " + std::to_string(host_.limits.header_bytes) +
               " bytes that are allowed";
      case 503:
        return "too many large requests are coming in; try again later";
      default:
        return "this is no HTTP request";
    }
  }

  // 0: the request is there; above 0: the status to refuse it with; below 0: there is none.
  asio::awaitable<int> read_request(Parser& parser) {
    auto deadline = Clock::now() + host_.limits.idle;
    bool begun = false, head_done = false;
    for (;;) {
      idle_ = !begun && buffer_.size() == 0;
      if (idle_ && host_.winding_down && served_) co_return -1;
      if (buffer_.size() > 0) {
        if (!begun) deadline = Clock::now() + host_.limits.head;
        begun = true;
        boost::system::error_code failed;
        const size_t used = parser.put(buffer_.data(), failed);
        buffer_.consume(used);
        room_.raise();
        if (failed == http::error::need_more) failed = {};
        if (failed) co_return status_of(failed);
        if (parser.is_header_done() && !head_done) {
          head_done = true;
          deadline = Clock::now() + host_.limits.body;
          if (!co_await say_continue(parser)) co_return -1;
        }
        if (!set_body_bytes(parser.get().body().size())) co_return 503;
        if (parser.is_done()) {
          idle_ = false;
          served_ = true;
          co_return 0;
        }
        if (used > 0 && buffer_.size() > 0) continue;
        if (used == 0 && buffer_.size() >= host_.limits.header_bytes && !head_done) co_return 431;
      }
      if (over_) co_return -1;
      if (buffer_.size() > 0) {  // a head that is cut somewhere: the parser wants it in one piece
        room_bytes_ = host_.limits.header_bytes + kReadPiece;
        room_.raise();
      }
      if (!co_await arrived_.wait(deadline)) co_return begun ? 408 : -1;
    }
  }

  static int status_of(boost::system::error_code failed) {
    if (failed == http::error::header_limit || failed == http::error::buffer_overflow) return 431;
    if (failed == http::error::body_limit) return 413;
    return 400;
  }

  asio::awaitable<bool> say_continue(Parser& parser) {
    const auto expect = parser.get()[http::field::expect];
    if (parser.is_done() || lower({expect.data(), expect.size()}) != "100-continue") co_return true;
    co_return co_await write_all("HTTP/1.1 100 Continue\r\n\r\n");
  }

  asio::awaitable<bool> write_all(std::string bytes) {
    guard(host_.limits.write);
    const auto [failed, size] = co_await asio::async_write(stream_, asio::buffer(bytes), kToken);
    watchdog_.cancel();
    co_return !failed;
  }

  asio::awaitable<bool> send_answer() {
    for (;;) {
      Exchange::Taken taken = exchange_->take();
      if (!taken.bytes.empty() && !co_await write_all(std::move(taken.bytes))) co_return false;
      if (taken.ended) co_return true;
      if (over_ || exchange_->overflown()) co_return false;
      co_await arrived_.wait();
    }
  }

  // Says that nothing more comes, and takes what the client still sends for a moment: closing over unread bytes would
  // make the answer unreadable.
  asio::awaitable<void> part() {
    parting_ = true;
    room_.raise();
    guard(kLinger);
    boost::system::error_code ignored;
    if constexpr (!std::is_same_v<Stream, tcp::socket>) {
      if (!over_) co_await stream_.async_shutdown(kToken);
    }
    socket().shutdown(tcp::socket::shutdown_send, ignored);
    while (!over_) co_await arrived_.wait();
    close();
  }

  // False when the bodies that are coming in are too large together.
  bool set_body_bytes(size_t bytes) {
    host_.bodies_in_flight = host_.bodies_in_flight - body_bytes_ + bytes;
    body_bytes_ = bytes;
    return host_.bodies_in_flight <= host_.limits.bodies_in_flight;
  }

  ConnectionHost& host_;
  Stream stream_;
  Signal arrived_, room_;  // something happened for serve(); there is room for read_loop()
  asio::steady_timer watchdog_;
  std::array<char, kReadPiece> piece_;  // a read must not be under way into a buffer that is consumed
  boost::beast::flat_buffer buffer_;
  std::shared_ptr<Exchange> exchange_;
  std::string peer_;
  size_t body_bytes_ = 0, room_bytes_ = kReadPiece;
  bool over_ = false, parting_ = false, idle_ = true, served_ = false;
};

}  // namespace

void start_connection(ConnectionHost& host, tcp::socket socket) {
  std::make_shared<Connection<tcp::socket>>(host, std::move(socket))->start();
}

void start_connection(ConnectionHost& host, asio::ssl::stream<tcp::socket> stream) {
  std::make_shared<Connection<asio::ssl::stream<tcp::socket>>>(host, std::move(stream))->start();
}

}  // namespace kinglet::server
