// HTTP as the rest of the server sees it: a request that came in whole, and a place to answer it. Plain types: neither
// sockets nor a library show through, so that everything behind it is tested without them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kinglet::server {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;  // "GET"
  std::string path;    // as sent, without the query
  std::string query;   // behind '?'
  Headers headers;     // names in lower case
  std::string body;
  std::string peer;  // the address that it came from

  std::string_view header(std::string_view name) const;  // `name` in lower case; empty where there is none
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  Headers headers;
  std::string body;
};

// Where the answer to one request goes: send() once, or begin(), any number of write()s and end(). Thread-safe; what
// comes after the end or after the client has gone is dropped.
class ResponseWriter {
 public:
  virtual ~ResponseWriter() = default;
  virtual void send(HttpResponse response) = 0;
  // A streamed answer; the response's body is its first piece.
  virtual void begin(HttpResponse response) = 0;
  virtual void write(std::string piece) = 0;
  virtual void end() = 0;
  virtual bool gone() const = 0;
  // Called once when the client goes away before the end, from the thread of the sockets: must be quick. At once where
  // it has gone already.
  virtual void on_gone(std::function<void()> callback) = 0;
};

// Called on the thread of the sockets: must be quick, and hands work to other threads.
using HttpHandler = std::function<void(HttpRequest request, std::shared_ptr<ResponseWriter> writer)>;

const char* reason_phrase(int status);

}  // namespace kinglet::server
