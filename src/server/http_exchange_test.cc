#include "server/http_exchange.h"

#include <gtest/gtest.h>

namespace kinglet::server {
namespace {

HttpResponse text(std::string body) {
  HttpResponse response;
  response.content_type = "text/plain";
  response.body = std::move(body);
  return response;
}

TEST(Exchange, WholeAnswersSayTheirLength) {
  int woken = 0;
  Exchange exchange({}, [&] { ++woken; });
  exchange.send(text("abc"));
  exchange.send(text("again"));
  const auto taken = exchange.take();
  EXPECT_EQ(taken.bytes, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nabc");
  EXPECT_TRUE(taken.ended);
  EXPECT_TRUE(exchange.keeps_alive());
  EXPECT_EQ(woken, 1);
}

TEST(Exchange, StreamsComeInChunks) {
  Exchange exchange({}, [] {});
  exchange.begin(text(""));
  exchange.write("0123456789abcdef");
  exchange.write("");
  exchange.end();
  exchange.write("late");
  const auto taken = exchange.take();
  EXPECT_TRUE(taken.bytes.ends_with("transfer-encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"));
  EXPECT_TRUE(taken.ended);
}

TEST(Exchange, Http10StreamsEndWithTheConnection) {
  Exchange exchange({.http11 = false}, [] {});
  exchange.begin(text("a"));
  exchange.end();
  EXPECT_TRUE(exchange.take().bytes.ends_with("connection: close\r\n\r\na"));
  EXPECT_FALSE(exchange.keeps_alive());
}

TEST(Exchange, ValuesCannotBeginHeaders) {
  Exchange exchange({}, [] {});
  HttpResponse response = text("");
  response.headers.emplace_back("x-request-id", "1\r\nset-cookie: a=b");
  exchange.send(response);
  EXPECT_NE(exchange.take().bytes.find("x-request-id: 1  set-cookie: a=b\r\n"), std::string::npos);
}

TEST(Exchange, WhoGoesAwayIsToldOnce) {
  int told = 0;
  Exchange exchange({}, [] {});
  exchange.begin(text("a"));
  exchange.on_gone([&] { ++told; });
  exchange.set_gone();
  exchange.set_gone();
  exchange.write("b");
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(exchange.gone());
  EXPECT_EQ(exchange.take().bytes, "");
  exchange.on_gone([&] { ++told; });  // too late is at once
  EXPECT_EQ(told, 2);
}

TEST(Exchange, TooMuchUnsentShows) {
  Exchange exchange({.unsent_bytes = 200}, [] {});
  exchange.begin(text(""));
  exchange.write(std::string(20, 'x'));
  EXPECT_FALSE(exchange.overflown());
  exchange.write(std::string(200, 'x'));
  EXPECT_TRUE(exchange.overflown());
}

}  // namespace
}  // namespace kinglet::server
