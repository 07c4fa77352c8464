#include "server/job.h"

#include <atomic>
#include <chrono>
#include <iterator>
#include <utility>

namespace kinglet::server {

// The engine's listener must not hold the last reference to a job: the job's end waits for the listener's.
struct Job::Bell {
  Workers* workers = nullptr;
  std::weak_ptr<Job> job;
  std::atomic<bool> rung = false;

  static void ring(const std::shared_ptr<Bell>& bell) {
    if (bell->rung.exchange(true)) return;
    bell->workers->post([bell] {
      if (const auto job = bell->job.lock()) job->look();
    });
  }
};

int http_status_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalid:
    case ErrorCode::kUnsupported:
      return 400;
    case ErrorCode::kNotFound:
      return 404;
    case ErrorCode::kResource:
    case ErrorCode::kCancelled:
      return 503;
    case ErrorCode::kIo:
    case ErrorCode::kNetwork:
      break;
  }
  return 500;
}

void Job::start(Engine& engine, std::vector<Request> requests) {
  for (Request& request : requests) {
    auto generation = engine.submit(std::move(request));
    if (!generation.ok()) {
      const bool full = generation.error().code == ErrorCode::kResource;
      generations_.clear();  // which cancels those before
      return refuse(full ? 429 : http_status_of(generation.error()), generation.error());
    }
    generations_.push_back(std::move(generation).value());
  }
  unfinished_ = generations_.size();
  completions_.resize(unfinished_);
  last_event_.resize(unfinished_);
  bell_ = std::make_shared<Bell>();
  bell_->workers = parts_.workers;
  bell_->job = weak_from_this();
  parts_.writer->on_gone([weak = weak_from_this()] {
    if (const auto job = weak.lock()) job->cancel();
  });
  for (const auto& generation : generations_) {
    generation->set_listener([bell = bell_] { Bell::ring(bell); });
  }
}

void Job::cancel() {
  for (const auto& generation : generations_) generation->cancel();
}

void Job::refuse(int status, const Error& error) {
  over_ = true;
  parts_.writer->send(parts_.error_format(status, error));
  if (parts_.over) parts_.over(this);
}

// The bell is cleared before the look, so that what comes during it rings again; the lock keeps two looks apart.
void Job::look() {
  const std::lock_guard lock(mutex_);
  bell_->rung = false;
  std::string pieces;
  for (size_t i = 0; i < generations_.size(); ++i) {
    while (auto event = generations_[i]->next_event(std::chrono::milliseconds(0))) {
      take(i, std::move(*event), &pieces);
    }
  }
  if (unfinished_ == 0) {
    finish(std::move(pieces));
  } else if (!pieces.empty()) {
    parts_.writer->write(std::move(pieces));
  }
}

void Job::take(size_t index, Event event, std::string* pieces) {
  parts_.metrics->event(event, &last_event_[index]);
  Completion& whole = completions_[index];
  if (event.finish) {
    --unfinished_;
    if (event.finish->error && !error_) {
      error_ = event.finish->error;
      cancel();
    }
  }
  if (parts_.stream) {
    if (error_) return;
    if (!begun_) {
      HttpResponse head;
      head.content_type = parts_.format->content_type(true);
      head.headers = {{"cache-control", "no-cache"}, {"x-accel-buffering", "no"}};
      head.body = parts_.format->first();
      parts_.writer->begin(std::move(head));
      begun_ = true;
    }
    *pieces += parts_.format->event(index, event);
    return;
  }
  whole.tokens.insert(whole.tokens.end(), event.tokens.begin(), event.tokens.end());
  std::move(event.logprobs.begin(), event.logprobs.end(), std::back_inserter(whole.logprobs));
  whole.text += event.text;
  whole.reasoning += event.reasoning;
  if (event.finish) whole.finish = std::move(*event.finish);
}

void Job::finish(std::string pieces) {
  if (std::exchange(over_, true)) return;
  if (error_ && !begun_) {
    parts_.writer->send(parts_.error_format(http_status_of(*error_), *error_));
  } else if (parts_.stream) {
    pieces += error_ ? parts_.format->failure(*error_) : parts_.format->last();
    parts_.writer->write(std::move(pieces));
    parts_.writer->end();
  } else {
    HttpResponse response;
    response.content_type = parts_.format->content_type(false);
    response.body = parts_.format->whole(completions_);
    parts_.writer->send(std::move(response));
  }
  if (parts_.over) parts_.over(this);
}

}  // namespace kinglet::server
