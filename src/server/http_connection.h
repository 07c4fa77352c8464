// One connection: requests are read, handed on and answered one after the other. Internal to the HTTP layer, and for
// its .cc files only, because it shows Asio's types.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <memory>
#include <set>

#include "server/http_server.h"

namespace kinglet::server {

// Lives and is used on the thread of the sockets.
class ConnectionBase {
 public:
  virtual ~ConnectionBase() = default;
  virtual void close() = 0;
  virtual void close_if_idle() = 0;
};

// What connections share.
struct ConnectionHost {
  boost::asio::io_context io{1};
  HttpLimits limits;
  HttpHandler handler;
  std::weak_ptr<ConnectionHost> owner;  // whoever answers keeps the host alive, however late it does
  std::set<ConnectionBase*> connections;
  std::atomic<size_t> count = 0;
  size_t bodies_in_flight = 0;
  bool winding_down = false;
};

void start_connection(ConnectionHost& host, boost::asio::ip::tcp::socket socket);
void start_connection(ConnectionHost& host, boost::asio::ssl::stream<boost::asio::ip::tcp::socket> stream);

}  // namespace kinglet::server
