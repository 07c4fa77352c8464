#include "server/browser_guard.h"

#include <algorithm>

namespace kinglet::server {
namespace {

std::string_view without_port(std::string_view host) {
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

// 127.0.0.0/8 in its usual form: a name such as 127.example.com is none.
bool is_loopback_v4(std::string_view host) {
  return host.starts_with("127.") && std::count(host.begin(), host.end(), '.') == 3 &&
         host.find_first_not_of("0123456789.") == std::string_view::npos;
}

}  // namespace

bool names_this_machine(std::string_view host) {
  if (host == "::1") return true;
  const std::string_view name = without_port(host);
  return name == "localhost" || name.ends_with(".localhost") || name == "[::1]" || is_loopback_v4(name);
}

std::optional<std::string> refuse_page(const HttpRequest& request, bool local) {
  const std::string_view host = request.header("host"), origin = request.header("origin");
  if (local && !host.empty() && !names_this_machine(host)) {
    return "this server answers to localhost only; found another name in Host. Start it with --api-key-file to use "
           "others";
  }
  if (origin.empty()) return std::nullopt;
  const size_t scheme = origin.find("://");
  const bool page = origin == "null" || origin.starts_with("http://") || origin.starts_with("https://");
  if (!page && scheme != std::string_view::npos) return std::nullopt;  // a program's own window: app://, file://
  const std::string_view from = scheme == std::string_view::npos ? origin : origin.substr(scheme + 3);
  if (page && origin != "null" && (from == host || names_this_machine(from))) return std::nullopt;
  return "this server has no keys and so answers no pages of other sites; found one in Origin. Start it with "
         "--api-key-file to let them in";
}

}  // namespace kinglet::server
