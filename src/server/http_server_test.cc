#include "server/http_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "server/workers.h"

namespace kinglet::server {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// A client of plain sockets; every wait ends after ten seconds.
class Client {
 public:
  explicit Client(uint16_t port, int receive_bytes = 0) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval limit = {10, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (receive_bytes > 0) ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0;
  }
  ~Client() { ::close(socket_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool connected() const { return connected_; }
  void put(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }
  // All up to the server's end of the connection, or up to `until`.
  std::string get(std::string_view until = {}) {
    std::string all;
    char piece[4096];
    while (until.empty() || all.find(until) == std::string::npos) {
      const ssize_t size = ::recv(socket_, piece, sizeof(piece), 0);
      if (size < 0) return all + "(the server kept the connection)";
      if (size == 0) break;
      all.append(piece, static_cast<size_t>(size));
    }
    return all;
  }

 private:
  int socket_;
  bool connected_ = false;
};

// Answers come from other threads, as they do in earnest.
class HttpServerTest : public testing::Test {
 protected:
  void start(HttpHandler handler, const HttpLimits& limits = {}) {
    HttpServerOptions options;
    options.limits = limits;
    auto server = HttpServer::start(options, std::move(handler));
    ASSERT_TRUE(server.ok()) << server.error().message;
    server_ = std::move(server).value();
  }
  void start_echo(const HttpLimits& limits = {}) {
    start(
        [this](HttpRequest request, std::shared_ptr<ResponseWriter> writer) {
          workers_.post([request = std::move(request), writer] { echo(request, *writer); });
        },
        limits);
  }
  static void echo(const HttpRequest& request, ResponseWriter& writer) {
    HttpResponse response;
    response.body = request.body;
    if (request.path == "/whole") return writer.send(std::move(response));
    writer.begin(std::move(response));
    for (int i = 0; i < 3; ++i) writer.write("+" + std::to_string(i));
    writer.end();
  }
  bool all_gone() const {
    const auto end = Clock::now() + std::chrono::seconds(10);
    while (server_->connections() > 0 && Clock::now() < end) std::this_thread::sleep_for(milliseconds(5));
    return server_->connections() == 0;
  }

  Workers workers_{2};
  std::unique_ptr<HttpServer> server_;
};

std::string post(std::string_view path, const std::string& body) {
  return "POST " + std::string(path) +
         " HTTP/1.1\r\nhost: localhost\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

TEST_F(HttpServerTest, ManyClientsGetTheirOwnAnswers) {
  start_echo();
  std::atomic<int> right = 0;
  std::vector<std::thread> clients;
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([this, c, &right] {
      Client client(server_->port());
      for (int i = 0; i < 20; ++i) {
        const std::string body = "client " + std::to_string(c) + " request " + std::to_string(i);
        client.put(post(i % 2 == 0 ? "/whole" : "/pieces", body));
        const std::string answer = client.get(i % 2 == 0 ? body : "0\r\n\r\n");
        right += answer.starts_with("HTTP/1.1 200") && answer.find(body) != std::string::npos ? 1 : 0;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(right, 8 * 20);
  EXPECT_TRUE(all_gone());
}

TEST_F(HttpServerTest, RequestsSentAheadAreAnsweredInOrder) {
  start_echo();
  Client client(server_->port());
  client.put(post("/whole", "first") + post("/pieces", "second") + post("/whole", "third"));
  const std::string all = client.get("third");
  EXPECT_LT(all.find("first"), all.find("second"));
  EXPECT_LT(all.find("second"), all.find("third"));
}

TEST_F(HttpServerTest, SlowHeadsAndBodiesAreCutOff) {
  HttpLimits limits;
  limits.head = limits.body = milliseconds(200);
  start_echo(limits);
  Client head(server_->port()), body(server_->port());
  head.put("POST /whole HT");
  body.put("POST /whole HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nonly this");
  EXPECT_TRUE(head.get().starts_with("HTTP/1.1 408"));
  EXPECT_TRUE(body.get().starts_with("HTTP/1.1 408"));
  EXPECT_TRUE(all_gone());
}

TEST_F(HttpServerTest, IdleConnectionsAreClosed) {
  HttpLimits limits;
  limits.idle = milliseconds(100);
  start_echo(limits);
  Client client(server_->port());
  EXPECT_EQ(client.get(), "");
  EXPECT_TRUE(all_gone());
}

TEST_F(HttpServerTest, WhoTakesNothingIsCutOff) {
  HttpLimits limits;
  limits.write = milliseconds(200);
  limits.unsent_bytes = 1 << 20;
  std::promise<void> gone;
  start(
      [&](HttpRequest, std::shared_ptr<ResponseWriter> writer) {
        writer->on_gone([&gone] { gone.set_value(); });
        workers_.post([writer] {
          writer->begin({});
          const auto end = Clock::now() + std::chrono::seconds(10);
          while (!writer->gone() && Clock::now() < end) {
            writer->write(std::string(64 << 10, 'x'));
            std::this_thread::sleep_for(milliseconds(1));
          }
        });
      },
      limits);
  Client client(server_->port(), 4096);
  client.put(post("/", ""));
  EXPECT_EQ(gone.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
  EXPECT_TRUE(all_gone());
}

TEST_F(HttpServerTest, WhoLeavesIsNoticedWithoutAWrite) {
  std::promise<void> gone;
  std::promise<std::shared_ptr<ResponseWriter>> arrived;
  start([&](HttpRequest, std::shared_ptr<ResponseWriter> writer) {
    writer->on_gone([&gone] { gone.set_value(); });
    arrived.set_value(std::move(writer));
  });
  std::shared_ptr<ResponseWriter> writer;
  {
    Client client(server_->port());
    client.put(post("/", "hello"));
    writer = arrived.get_future().get();
  }
  EXPECT_EQ(gone.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
  EXPECT_TRUE(writer->gone());
  writer->send({});  // goes nowhere
}

TEST_F(HttpServerTest, StopClosesWhatIsOpen) {
  std::promise<std::shared_ptr<ResponseWriter>> arrived;
  start([&](HttpRequest, std::shared_ptr<ResponseWriter> writer) { arrived.set_value(std::move(writer)); });
  Client waiting(server_->port()), idle(server_->port());
  waiting.put(post("/", ""));
  const auto writer = arrived.get_future().get();
  server_->stop();
  EXPECT_EQ(waiting.get(), "");
  EXPECT_EQ(idle.get(), "");
  EXPECT_TRUE(writer->gone());
  EXPECT_FALSE(Client(server_->port()).connected());
}

TEST_F(HttpServerTest, MoreConnectionsThanAllowedAreClosedAtOnce) {
  HttpLimits limits;
  limits.connections = 2;
  start_echo(limits);
  Client a(server_->port()), b(server_->port());
  a.put(post("/whole", "a"));
  b.put(post("/whole", "b"));
  EXPECT_TRUE(a.get("\r\n\r\na").ends_with("a"));
  EXPECT_TRUE(b.get("\r\n\r\nb").ends_with("b"));
  Client c(server_->port());
  EXPECT_EQ(c.get(), "");
}

TEST_F(HttpServerTest, TooLargeIsRefusedWithItsBounds) {
  HttpLimits limits;
  limits.header_bytes = 1024;
  limits.body_bytes = 1000;
  start_echo(limits);
  Client body(server_->port()), head(server_->port()), nonsense(server_->port());
  body.put(post("/whole", std::string(1001, 'x')));
  head.put("GET / HTTP/1.1\r\nhost: localhost\r\nx: " + std::string(3000, 'x') + "\r\n\r\n");
  nonsense.put("\x16\x03\x01 hello\r\n\r\n");
  EXPECT_TRUE(body.get().starts_with("HTTP/1.1 413"));
  EXPECT_TRUE(head.get().starts_with("HTTP/1.1 431"));
  EXPECT_TRUE(nonsense.get().starts_with("HTTP/1.1 400"));
}

}  // namespace
}  // namespace kinglet::server
