#include "server/server.h"

#include <fmt/format.h>

#include <random>
#include <utility>

#include "base/quote.h"
#include "server/server_state.h"

namespace kinglet::server {
namespace {

using Clock = std::chrono::steady_clock;

// Adds the request's id, and tells how it went.
class Witness : public ResponseWriter {
 public:
  using Report = std::function<void(int status, size_t bytes)>;
  Witness(std::shared_ptr<ResponseWriter> writer, std::string id, Report report)
      : writer_(std::move(writer)), id_(std::move(id)), report_(std::move(report)) {}
  ~Witness() override { report_(status_, bytes_); }

  void send(HttpResponse response) override { writer_->send(marked(std::move(response))); }
  void begin(HttpResponse response) override { writer_->begin(marked(std::move(response))); }
  void write(std::string piece) override {
    bytes_ += piece.size();
    writer_->write(std::move(piece));
  }
  void end() override { writer_->end(); }
  bool gone() const override { return writer_->gone(); }
  void on_gone(std::function<void()> callback) override { writer_->on_gone(std::move(callback)); }

 private:
  HttpResponse marked(HttpResponse response) {
    status_ = response.status;
    bytes_ += response.body.size();
    response.headers.emplace_back("x-request-id", id_);
    return response;
  }

  const std::shared_ptr<ResponseWriter> writer_;
  const std::string id_;
  const Report report_;
  std::atomic<int> status_ = 0;  // 0: the client was gone before there was one
  std::atomic<size_t> bytes_ = 0;
};

std::string access_line(const HttpRequest& request, const std::string& id, size_t bytes_in, int status, size_t bytes,
                        Clock::duration took) {
  return fmt::format("peer={} id={} method={} path={} status={} bytes_in={} bytes_out={} ms={}", request.peer, id,
                     quote(request.method, 16), quote(request.path, 64), status, bytes_in, bytes,
                     std::chrono::duration_cast<std::chrono::milliseconds>(took).count());
}

}  // namespace

void Server::State::run(const Visit& visit, const ServedModel& served, std::vector<Request> requests,
                        std::unique_ptr<AnswerFormat> format, bool stream, ErrorFormat error_format) {
  // Keys share nothing: how fast an answer comes would tell what others asked. The length keeps the two parts apart.
  for (Request& request : requests) {
    request.user = visit.user;
    request.cache_scope = fmt::format("{}:{}{}", visit.user.size(), visit.user, request.cache_scope);
  }
  Job::Parts parts;
  parts.format = std::move(format);
  parts.error_format = std::move(error_format);
  parts.writer = visit.writer;
  parts.stream = stream;
  parts.workers = workers.get();
  parts.metrics = &metrics;
  parts.over = [this](Job* over) {
    const std::lock_guard lock(mutex);
    std::erase_if(jobs, [over](const std::shared_ptr<Job>& job) { return job.get() == over; });
  };
  const auto job = std::make_shared<Job>(std::move(parts));
  {
    const std::lock_guard lock(mutex);
    jobs.insert(job);
  }
  job->start(served.engine(), std::move(requests));
}

Server::Server(std::shared_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<Server>> Server::start(ServerOptions options) {
  auto state = std::make_shared<State>();
  state->options = std::move(options);
  state->workers = std::make_unique<Workers>(state->options.workers);
  std::random_device random;
  state->id_prefix = fmt::format("{:08x}{:08x}", random(), random());
  const auto handler = [raw = state.get()](HttpRequest request, std::shared_ptr<ResponseWriter> writer) {
    Visit visit;
    visit.id = fmt::format("{}{:08x}", raw->id_prefix, ++raw->visits);
    HttpRequest facts;  // without headers and body
    facts.method = request.method;
    facts.path = request.path;
    facts.peer = request.peer;
    const size_t bytes_in = request.body.size();
    const auto begun = Clock::now();
    auto report = [raw, facts, bytes_in, id = visit.id, begun](int status, size_t bytes) {
      raw->metrics.response(status);
      if (!raw->options.access_log) return;
      raw->options.access_log(access_line(facts, id, bytes_in, status, bytes, Clock::now() - begun));
    };
    visit.request = std::move(request);
    visit.writer = std::make_shared<Witness>(std::move(writer), visit.id, std::move(report));
    if (answer_at_once(*raw, visit)) return;
    raw->workers->post([raw, visit = std::move(visit)]() mutable { answer_visit(*raw, std::move(visit)); });
  };
  KL_TRY(state->http, HttpServer::start(state->options.http, handler));
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

Server::~Server() {
  stop();
}

uint16_t Server::port() const {
  return state_->http->port();
}

void Server::report_loading(const std::string& stage, double fraction) {
  const std::lock_guard lock(state_->mutex);
  state_->loading_stage = stage;
  state_->loading_fraction = fraction;
}

void Server::serve(std::shared_ptr<const ServedModel> model) {
  const std::lock_guard lock(state_->mutex);
  state_->model = std::move(model);
}

void Server::refuse_new() {
  state_->draining = true;
  state_->http->wind_down();
}

int64_t Server::running() const {
  const std::lock_guard lock(state_->mutex);
  return static_cast<int64_t>(state_->jobs.size());
}

// Sockets first, so that nothing new comes; then the engine, which ends what runs; then the workers, who take notice.
void Server::stop() {
  if (!state_->workers) return;
  state_->draining = true;
  state_->http->stop();
  if (const auto model = state_->current_model()) model->engine().stop();
  state_->workers.reset();
  std::set<std::shared_ptr<Job>> left;
  {
    const std::lock_guard lock(state_->mutex);
    left.swap(state_->jobs);
  }
}

}  // namespace kinglet::server
