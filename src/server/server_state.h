// What the server's routes work on. Internal to this folder.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "server/job.h"
#include "server/metrics.h"
#include "server/server.h"
#include "server/workers.h"

namespace kinglet::server {

// One request on its way through the routes.
struct Visit {
  HttpRequest request;
  std::shared_ptr<ResponseWriter> writer;
  std::string id;    // x-request-id
  std::string user;  // the key's name
};

struct Server::State {
  ServerOptions options;
  Metrics metrics;
  std::unique_ptr<Workers> workers;
  std::unique_ptr<HttpServer> http;
  std::atomic<bool> draining = false;
  std::atomic<uint64_t> visits = 0;
  std::string id_prefix;  // sets this process's ids apart from others'

  mutable std::mutex mutex;  // of what follows
  std::shared_ptr<const ServedModel> model;
  std::string loading_stage = "starting";
  double loading_fraction = 0.0;
  std::set<std::shared_ptr<Job>> jobs;

  std::shared_ptr<const ServedModel> current_model() const {
    const std::lock_guard lock(mutex);
    return model;
  }
  // Runs a call's requests; the answer goes to the visitor.
  void run(const Visit& visit, const ServedModel& served, std::vector<Request> requests,
           std::unique_ptr<AnswerFormat> format, bool stream, ErrorFormat error_format);
};

// Answers a request, on a worker; `state` outlives it. Every way ends in an answer.
void answer_visit(Server::State& state, Visit visit);
// What is answered on the spot, on the sockets' thread: health. False when it is something else.
bool answer_at_once(Server::State& state, const Visit& visit);

}  // namespace kinglet::server
