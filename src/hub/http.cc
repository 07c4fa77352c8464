#include "hub/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <chrono>
#include <mutex>

#include "hub/files.h"

namespace kinglet::hub {
namespace {

constexpr int kMaxRedirects = 10;
constexpr size_t kMaxHeaderBytes = 256 * 1024;
constexpr size_t kMaxErrorBody = 2048;

struct CurlUrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using CurlUrl = std::unique_ptr<CURLU, CurlUrlDeleter>;

std::string url_part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK || text == nullptr) return {};
  std::string out = text;
  curl_free(text);
  return out;
}

CurlUrl parse_url(const std::string& text) {
  CurlUrl url(curl_url());
  if (url == nullptr || curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) return nullptr;
  return url;
}

// "https://host:443", the part of an address that a token belongs to.
std::string origin_of(const std::string& text) {
  CurlUrl url = parse_url(text);
  if (url == nullptr) return {};
  std::string origin = url_part(url.get(), CURLUPART_SCHEME) + "://" + url_part(url.get(), CURLUPART_HOST) + ":" +
                       url_part(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  std::ranges::transform(origin, origin.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return origin;
}

// The absolute address that `location` means as seen from `base`; empty when it is none, or not http(s).
std::string resolve_location(const std::string& base, const std::string& location) {
  CurlUrl url = parse_url(base);
  if (url == nullptr || location.empty()) return {};
  if (curl_url_set(url.get(), CURLUPART_URL, location.c_str(), 0) != CURLUE_OK) return {};
  const std::string scheme = url_part(url.get(), CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") return {};
  if (scheme == "http" && base.starts_with("https:")) return {};
  if (!url_part(url.get(), CURLUPART_USER).empty()) return {};
  return url_part(url.get(), CURLUPART_URL);
}

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "bytes 0-99/1000" or "bytes 0-99/*"
void parse_content_range(std::string_view text, HttpHead& head) {
  if (!text.starts_with("bytes ")) return;
  text.remove_prefix(6);
  const size_t dash = text.find('-');
  const size_t slash = text.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || dash > slash) return;
  const auto first = parse_number(text.substr(0, dash));
  const auto last = parse_number(text.substr(dash + 1, slash - dash - 1));
  if (!first || !last || *last < *first || *last == UINT64_MAX) return;
  head.content_range = ByteRange{*first, *last + 1};
  head.range_total = parse_number(text.substr(slash + 1));
}

// One exchange, seen from curl's callbacks.
struct Exchange {
  CURL* curl = nullptr;
  const HttpReceiver* receiver = nullptr;
  const HttpRequest* request = nullptr;
  HttpHead head;
  std::string location;
  std::string error_body;
  size_t header_bytes = 0;
  bool head_delivered = false;
  Status refusal;  // what the receiver said
  curl_off_t received = 0;
  std::chrono::steady_clock::time_point last_byte = std::chrono::steady_clock::now();
  bool stalled = false;
};

void read_header(Exchange& exchange, std::string_view line) {
  const size_t colon = line.find(':');
  if (line.starts_with("HTTP/")) {  // the headers of this answer begin, those of an interim one are forgotten
    exchange.head.content_length.reset();
    exchange.head.content_range.reset();
    exchange.head.range_total.reset();
    exchange.head.etag.clear();
    exchange.location.clear();
    return;
  }
  if (colon == std::string_view::npos) return;
  std::string name(line.substr(0, colon));
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  while (!value.empty() && std::isspace(static_cast<unsigned char>(value.back()))) value.remove_suffix(1);
  if (name == "content-length") exchange.head.content_length = parse_number(value);
  if (name == "content-range") parse_content_range(value, exchange.head);
  if (name == "etag" && value.size() <= 200) exchange.head.etag = printable(value);
  if (name == "location") exchange.location = std::string(value);
  if (name == "x-error-message") exchange.head.error_message = printable(value);
}

size_t on_header(char* data, size_t size, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const size_t bytes = size * count;
  exchange.header_bytes += bytes;
  if (exchange.header_bytes > kMaxHeaderBytes) return 0;
  read_header(exchange, {data, bytes});
  return bytes;
}

bool deliver_head(Exchange& exchange) {
  if (exchange.head_delivered) return true;
  exchange.head_delivered = true;
  long status = 0;
  curl_easy_getinfo(exchange.curl, CURLINFO_RESPONSE_CODE, &status);
  exchange.head.status = static_cast<int>(status);
  if ((status == 200 || status == 206) && exchange.receiver->on_head) {
    exchange.refusal = exchange.receiver->on_head(exchange.head);
  }
  return exchange.refusal.ok();
}

size_t on_body(char* data, size_t size, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const size_t bytes = size * count;
  if (!deliver_head(exchange)) return 0;
  if (exchange.head.status != 200 && exchange.head.status != 206) {
    // An error's body is worth a line to the user, not more.
    if (exchange.error_body.size() >= kMaxErrorBody) return 0;
    exchange.error_body.append(data, bytes);
    return bytes;
  }
  exchange.refusal = exchange.receiver->on_data({data, bytes});
  return exchange.refusal.ok() ? bytes : 0;
}

// Called about once a second, and with every chunk.
int on_progress(void* user, curl_off_t, curl_off_t received, curl_off_t, curl_off_t) {
  auto& exchange = *static_cast<Exchange*>(user);
  const auto now = std::chrono::steady_clock::now();
  if (received != exchange.received) {
    exchange.received = received;
    exchange.last_byte = now;
  }
  exchange.stalled = now - exchange.last_byte > std::chrono::seconds(exchange.request->stall_s);
  return exchange.stalled || (exchange.request->cancelled && exchange.request->cancelled()) ? 1 : 0;
}

HttpFailure describe_failure(CURLcode code, const char* detail, const std::string& url) {
  const std::string reason = detail[0] != '\0' ? detail : curl_easy_strerror(code);
  HttpFailure failure{{ErrorCode::kNetwork, origin_of(url) + ": " + printable(reason, 400)}, true, false};
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
      failure.unreachable = true;
      break;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_OUT_OF_MEMORY:
      failure.retryable = false;
      break;
    default:
      break;
  }
  return failure;
}

struct SlistDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, SlistDeleter>;

void append_header(HeaderList& list, const std::string& line) {
  if (curl_slist* longer = curl_slist_append(list.get(), line.c_str())) {
    if (list == nullptr) list.reset(longer);
  }
}

}  // namespace

struct HttpClient::State {
  CURL* curl = nullptr;
};

HttpClient::HttpClient() : state_(std::make_unique<State>()) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  state_->curl = curl_easy_init();
}

HttpClient::~HttpClient() {
  if (state_->curl != nullptr) curl_easy_cleanup(state_->curl);
}

namespace {

void set_options(CURL* curl, const HttpRequest& request, const std::string& url, Exchange& exchange, char* detail) {
  curl_easy_reset(curl);  // keeps connections alive
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "kinglet");
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L * 1024);
  curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, static_cast<long>(std::min(request.stall_s, 20)));
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &exchange);
}

HeaderList make_headers(CURL* curl, const HttpRequest& request, bool same_origin) {
  HeaderList headers;
  append_header(headers, "Accept: */*");
  if (same_origin && !request.token.empty()) append_header(headers, "Authorization: Bearer " + request.token);
  if (request.range) {
    const std::string range = std::to_string(request.range->begin) + "-" + std::to_string(request.range->end - 1);
    curl_easy_setopt(curl, CURLOPT_RANGE, range.c_str());  // curl copies it
    if (!request.if_range.empty()) append_header(headers, "If-Range: " + request.if_range);
  }
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  return headers;
}

// Sends one request; no redirects.
HttpResult exchange_once(CURL* curl, const HttpRequest& request, const std::string& url, bool same_origin,
                         const HttpReceiver& receiver, std::string* location) {
  std::array<char, CURL_ERROR_SIZE> detail{};
  Exchange exchange;
  exchange.curl = curl;
  exchange.receiver = &receiver;
  exchange.request = &request;
  exchange.head.url = url;
  exchange.head.same_origin = same_origin;
  set_options(curl, request, url, exchange, detail.data());
  const HeaderList headers = make_headers(curl, request, same_origin);
  const CURLcode code = curl_easy_perform(curl);
  if (code == CURLE_OK) (void)deliver_head(exchange);  // a body of no bytes
  curl_off_t retry_after = 0;
  curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_after);
  exchange.head.retry_after_s = static_cast<int>(std::clamp<curl_off_t>(retry_after, 0, 1'000'000));
  if (exchange.head.error_message.empty()) exchange.head.error_message = printable(exchange.error_body);
  *location = exchange.location;

  HttpResult result{exchange.head, std::nullopt};
  if (request.cancelled && request.cancelled()) {
    result.failure = HttpFailure{cancelled_error(), false, false};
  } else if (!exchange.refusal.ok()) {
    result.failure = HttpFailure{exchange.refusal.error(), exchange.refusal.error().code == ErrorCode::kNetwork, false};
  } else if (exchange.stalled) {
    const std::string what = origin_of(url) + ": nothing arrived for " + std::to_string(request.stall_s) + " seconds";
    result.failure = HttpFailure{{ErrorCode::kNetwork, what}, true, false};
  } else if (code != CURLE_OK) {
    const bool cut_error_body = exchange.head_delivered && exchange.head.status >= 300 && code == CURLE_WRITE_ERROR;
    if (!cut_error_body) result.failure = describe_failure(code, detail.data(), url);
  }
  return result;
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

}  // namespace

HttpResult HttpClient::get(const HttpRequest& request, const HttpReceiver& receiver) {
  auto fail = [&](ErrorCode code, const std::string& message) {
    return HttpResult{{}, HttpFailure{{code, message}, false, false}};
  };
  if (state_->curl == nullptr) return fail(ErrorCode::kResource, "cannot set up an HTTP connection: out of memory");
  const std::string origin = origin_of(request.url);
  if (origin.empty()) return fail(ErrorCode::kInvalid, "not a valid address: " + printable(request.url));
  std::string url = request.url;
  for (int hop = 0; hop <= kMaxRedirects; ++hop) {
    std::string location;
    const bool same_origin = origin_of(url) == origin;
    HttpResult result = exchange_once(state_->curl, request, url, same_origin, receiver, &location);
    if (result.failure || !is_redirect(result.head.status)) return result;
    const std::string next = resolve_location(url, location);
    if (next.empty()) {
      return fail(ErrorCode::kNetwork,
                  origin_of(url) + " redirects to an address that is not followed: \"" + printable(location) + "\"");
    }
    url = next;
  }
  return fail(ErrorCode::kNetwork, origin + ": more than " + std::to_string(kMaxRedirects) + " redirects");
}

std::string encode_url_path(std::string_view path) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && (std::isalnum(byte) || c == '/' || c == '-' || c == '.' || c == '_' || c == '~')) {
      out += c;
    } else {
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  return out;
}

bool is_plain_endpoint(const std::string& text) {
  if (!text.starts_with("http://") && !text.starts_with("https://")) return false;
  if (std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; }))
    return false;
  CurlUrl url = parse_url(text);
  return url != nullptr && !url_part(url.get(), CURLUPART_HOST).empty() &&
         url_part(url.get(), CURLUPART_USER).empty() && url_part(url.get(), CURLUPART_QUERY).empty() &&
         url_part(url.get(), CURLUPART_FRAGMENT).empty();
}

}  // namespace kinglet::hub
