// Job: the answers to one call, from the engine's events to the client's bytes. No thread waits for it: the engine's
// listener asks a worker to look for events, and whoever goes away is noticed by the connection.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/call.h"
#include "server/http.h"
#include "server/metrics.h"
#include "server/workers.h"

namespace kinglet::server {

// How a dialect says that something went wrong before an answer began.
using ErrorFormat = std::function<HttpResponse(int status, const Error& error)>;

class Job : public std::enable_shared_from_this<Job> {
 public:
  struct Parts {
    std::unique_ptr<AnswerFormat> format;
    ErrorFormat error_format;
    std::shared_ptr<ResponseWriter> writer;
    bool stream = false;
    Workers* workers = nullptr;
    Metrics* metrics = nullptr;
    std::function<void(Job*)> over;  // called once, from a worker
  };
  explicit Job(Parts parts) : parts_(std::move(parts)) {}

  // Submits all requests, or answers with the error of one and is over.
  void start(Engine& engine, std::vector<Request> requests);
  void cancel();

 private:
  struct Bell;  // what the engine's thread touches
  void look();
  void take(size_t index, Event event, std::string* pieces);
  void finish(std::string pieces);
  void refuse(int status, const Error& error);

  std::mutex mutex_;  // of what follows, once started
  Parts parts_;
  std::vector<std::shared_ptr<Generation>> generations_;
  std::vector<Completion> completions_;
  std::vector<std::chrono::steady_clock::time_point> last_event_;
  std::shared_ptr<Bell> bell_;
  size_t unfinished_ = 0;
  bool begun_ = false, over_ = false;
  std::optional<Error> error_;
};

// 400 for what the caller got wrong, 503 for what is full, 500 for the rest.
int http_status_of(const Error& error);

}  // namespace kinglet::server
