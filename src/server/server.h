// Server: one model behind its APIs. It listens before the model is there and says so, hands calls to the engine, and
// drains.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "server/api_keys.h"
#include "server/http_server.h"
#include "server/served_model.h"

namespace kinglet::server {

struct ServerOptions {
  HttpServerOptions http;
  ApiKeys keys;  // empty: everyone may
  int workers = 2;
  std::function<void(const std::string& line)> access_log;  // from any thread; may be empty
};

class Server {
 public:
  static Result<std::unique_ptr<Server>> start(ServerOptions options);
  ~Server();  // stop()
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  uint16_t port() const;
  // For /health while the model is not there yet.
  void report_loading(const std::string& stage, double fraction);
  void serve(std::shared_ptr<const ServedModel> model);

  // Refuses new calls (503) from now on.
  void refuse_new();
  int64_t running() const;  // calls that are being answered
  // Cancels what runs, closes all connections and returns when the threads have ended.
  void stop();

  struct State;  // server_state.h; internal to this folder

 private:
  explicit Server(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace kinglet::server
