#include "server/browser_guard.h"

#include <gtest/gtest.h>

namespace kinglet::server {
namespace {

bool welcome(std::string host, std::string origin, bool local = true) {
  HttpRequest request;
  if (!host.empty()) request.headers.emplace_back("host", std::move(host));
  if (!origin.empty()) request.headers.emplace_back("origin", std::move(origin));
  return !refuse_page(request, local);
}

TEST(BrowserGuard, NamesOfThisMachine) {
  for (const char* host :
       {"localhost", "localhost:8080", "a.localhost", "127.0.0.1:1", "127.9.9.9", "::1", "[::1]", "[::1]:80"})
    EXPECT_TRUE(names_this_machine(host)) << host;
  for (const char* host : {"", "evil.example", "127.evil.example", "127.0.0.1.evil.example", "localhost.evil.example",
                           "[::2]", "10.0.0.1", "[::1", "xlocalhost"})
    EXPECT_FALSE(names_this_machine(host)) << host;
}

TEST(BrowserGuard, ProgramsAreWelcome) {
  EXPECT_TRUE(welcome("", ""));
  EXPECT_TRUE(welcome("localhost:8080", ""));
  EXPECT_TRUE(welcome("127.0.0.1:8080", "app://obsidian.md"));
  EXPECT_TRUE(welcome("127.0.0.1:8080", "vscode-webview://1"));
}

TEST(BrowserGuard, PagesOfThisMachineAreWelcome) {
  EXPECT_TRUE(welcome("localhost:8080", "http://localhost:8080"));
  EXPECT_TRUE(welcome("localhost:8080", "http://127.0.0.1:3000"));
  EXPECT_TRUE(welcome("box:8080", "http://box:8080", false));
}

TEST(BrowserGuard, OtherPagesAreNot) {
  EXPECT_FALSE(welcome("localhost:8080", "https://evil.example"));
  EXPECT_FALSE(welcome("localhost:8080", "http://localhost.evil.example"));
  EXPECT_FALSE(welcome("localhost:8080", "null"));
  EXPECT_FALSE(welcome("localhost:8080", "evil"));
  EXPECT_FALSE(welcome("box:8080", "http://evil.example", false));
}

TEST(BrowserGuard, NamesThatWereMadeToPointHereAreNot) {
  EXPECT_FALSE(welcome("evil.example:8080", ""));
  EXPECT_FALSE(welcome("evil.example:8080", "http://evil.example:8080"));
  EXPECT_TRUE(welcome("box:8080", "", false));
}

}  // namespace
}  // namespace kinglet::server
