#include "server/http_server.h"

#include <atomic>
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <exception>
#include <thread>

#include "base/log.h"
#include "server/http_connection.h"

namespace kinglet::server {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

Error cannot_listen(const HttpServerOptions& options, const std::string& why) {
  return Error{ErrorCode::kIo, "cannot listen on " + options.host + ":" + std::to_string(options.port) + ": " + why};
}

Result<std::unique_ptr<asio::ssl::context>> make_tls(const HttpServerOptions& options) {
  if (options.certificate.empty() && options.key.empty()) return std::unique_ptr<asio::ssl::context>();
  if (options.certificate.empty() || options.key.empty()) {
    return Error{ErrorCode::kInvalid, "TLS needs both a certificate and its key"};
  }
  auto tls = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  boost::system::error_code failed;
  tls->set_options(
      asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1, failed);
  if (!failed) tls->use_certificate_chain_file(options.certificate, failed);
  if (failed) return Error{ErrorCode::kInvalid, options.certificate + ": no usable certificate: " + failed.message()};
  tls->use_private_key_file(options.key, asio::ssl::context::pem, failed);
  if (failed) return Error{ErrorCode::kInvalid, options.key + ": no usable key: " + failed.message()};
  return tls;
}

}  // namespace

struct HttpServer::Core : ConnectionHost, std::enable_shared_from_this<HttpServer::Core> {
  tcp::acceptor acceptor{io};
  std::unique_ptr<asio::ssl::context> tls;
  std::thread thread;
  std::atomic<uint16_t> bound_port = 0;

  Status listen(const HttpServerOptions& options) {
    boost::system::error_code failed;
    tcp::resolver resolver(io);
    const auto found = resolver.resolve(options.host, std::to_string(options.port),
                                        tcp::resolver::passive | tcp::resolver::numeric_service, failed);
    if (failed || found.empty()) return cannot_listen(options, failed.message());
    const tcp::endpoint endpoint = found.begin()->endpoint();
    acceptor.open(endpoint.protocol(), failed);
    if (!failed) acceptor.set_option(asio::socket_base::reuse_address(true), failed);
    if (!failed) acceptor.bind(endpoint, failed);
    if (!failed) acceptor.listen(asio::socket_base::max_listen_connections, failed);
    if (failed) return cannot_listen(options, failed.message());
    bound_port = acceptor.local_endpoint(failed).port();
    return {};
  }

  asio::awaitable<void> accept_loop() {
    constexpr auto token = asio::as_tuple(asio::use_awaitable);
    asio::steady_timer pause(io);
    while (acceptor.is_open()) {
      auto [failed, socket] = co_await acceptor.async_accept(token);
      if (failed == asio::error::operation_aborted) break;
      if (failed) {  // no descriptors left, say
        pause.expires_after(std::chrono::milliseconds(100));
        co_await pause.async_wait(token);
        continue;
      }
      if (count >= limits.connections) continue;  // closed at once; the client may come again
      boost::system::error_code ignored;
      socket.set_option(tcp::no_delay(true), ignored);
      if (tls) {
        start_connection(*this, asio::ssl::stream<tcp::socket>(std::move(socket), *tls));
      } else {
        start_connection(*this, std::move(socket));
      }
    }
  }
};

HttpServer::HttpServer(std::shared_ptr<Core> core) : core_(std::move(core)) {}

Result<std::unique_ptr<HttpServer>> HttpServer::start(const HttpServerOptions& options, HttpHandler handler) {
  auto core = std::make_shared<Core>();
  core->limits = options.limits;
  core->handler = std::move(handler);
  KL_TRY(core->tls, make_tls(options));
  KL_RETURN_IF_ERROR(core->listen(options));
  asio::co_spawn(core->io, core->accept_loop(), asio::detached);
  core->owner = core;
  core->thread = std::thread([raw = core.get()] {
    for (;;) {
      try {
        raw->io.run();
        return;
      } catch (const std::exception& error) {
        log_error(std::string("a connection ended early: ") + error.what());
      }
    }
  });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(core)));
}

HttpServer::~HttpServer() {
  stop();
}

uint16_t HttpServer::port() const {
  return core_->bound_port;
}

size_t HttpServer::connections() const {
  return core_->count;
}

void HttpServer::wind_down() {
  asio::post(core_->io, [core = core_.get()] {
    core->winding_down = true;
    for (ConnectionBase* connection : core->connections) connection->close_if_idle();
  });
}

void HttpServer::stop() {
  if (!core_->thread.joinable()) return;
  asio::post(core_->io, [core = core_.get()] {
    boost::system::error_code ignored;
    core->acceptor.close(ignored);
    core->winding_down = true;
    const auto all = core->connections;  // closing may change the list
    for (ConnectionBase* connection : all) connection->close();
  });
  core_->thread.join();  // run() returns when no connection is left
}

}  // namespace kinglet::server
