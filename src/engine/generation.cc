#include "engine/generation.h"

#include <iterator>
#include <utility>

namespace kinglet {

namespace {
constexpr auto kForever = std::chrono::steady_clock::time_point::max();
}

void Ticket::push(Event event) {
  {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
  }
  arrived_.notify_all();
  const std::lock_guard lock(listener_mutex_);
  if (listener_) listener_();
}

std::optional<Event> Ticket::next(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  const auto ready = [&] { return over_ || !events_.empty(); };
  if (deadline == kForever) {
    arrived_.wait(lock, ready);
  } else {
    arrived_.wait_until(lock, deadline, ready);
  }
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  if (event.finish) {
    over_ = true;
    lock.unlock();
    arrived_.notify_all();  // whoever else waits gets nothing
  }
  return event;
}

void Ticket::cancel() {
  if (cancel_requested_.exchange(true)) return;
  {
    const std::lock_guard lock(mailbox_->mutex);
    mailbox_->cancelled = true;
  }
  mailbox_->wake.notify_one();
}

void Ticket::set_listener(std::function<void()> listener) {
  const std::lock_guard lock(listener_mutex_);
  listener_ = std::move(listener);
  if (!listener_) return;
  bool waiting = false;
  {
    const std::lock_guard events_lock(mutex_);
    waiting = !events_.empty();
  }
  if (waiting) listener_();
}

GenerationHandle::~GenerationHandle() {
  ticket_->set_listener({});
  ticket_->cancel();
}

std::optional<Event> GenerationHandle::next_event(std::chrono::milliseconds timeout) {
  const auto now = std::chrono::steady_clock::now();
  const auto longest = std::chrono::duration_cast<std::chrono::milliseconds>(kForever - now);
  return ticket_->next(timeout >= longest ? kForever : now + timeout);
}

std::optional<Event> GenerationHandle::next_event() {
  return ticket_->next(kForever);
}

Completion GenerationHandle::wait() {
  Completion completion;
  while (auto event = next_event()) {
    completion.tokens.insert(completion.tokens.end(), event->tokens.begin(), event->tokens.end());
    std::move(event->logprobs.begin(), event->logprobs.end(), std::back_inserter(completion.logprobs));
    completion.text += event->text;
    completion.reasoning += event->reasoning;
    if (event->finish) completion.finish = std::move(*event->finish);
  }
  return completion;
}

}  // namespace kinglet
