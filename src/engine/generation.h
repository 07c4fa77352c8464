// The two ends of a request's event queue: Ticket is the engine's, GenerationHandle the caller's. And Mailbox, through
// which callers reach the engine thread. Internal to this folder.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "engine/engine.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"

namespace kinglet {

class Ticket;

// A request on its way to the engine thread.
struct Submission {
  SequenceId id = 0;
  std::unique_ptr<Sequence> sequence;
  std::shared_ptr<Ticket> ticket;
};

// What callers leave for the engine thread. All fields are guarded by `mutex`; `wake` tells of changes.
struct Mailbox {
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<Submission> submissions;
  int64_t unfinished = 0;  // submitted and not yet finished
  SequenceId last_id = 0;
  bool cancelled = false;  // some ticket asks for its end
  bool closed = false;     // takes no more
  bool stop = false;       // cancel everything and end
  EngineStats stats;
};

// A request's events, from the engine thread to whoever waits.
class Ticket {
 public:
  explicit Ticket(std::shared_ptr<Mailbox> mailbox) : mailbox_(std::move(mailbox)) {}

  void push(Event event);  // engine thread
  bool cancel_requested() const { return cancel_requested_.load(std::memory_order_relaxed); }

  // With a deadline of time_point::max(), however long it takes.
  std::optional<Event> next(std::chrono::steady_clock::time_point deadline);
  void cancel();
  void set_listener(std::function<void()> listener);

 private:
  std::shared_ptr<Mailbox> mailbox_;
  std::atomic<bool> cancel_requested_ = false;
  std::mutex mutex_;  // guards events_ and over_
  std::condition_variable arrived_;
  std::deque<Event> events_;
  bool over_ = false;          // the last event was taken
  std::mutex listener_mutex_;  // held while the listener runs, so that replacing it waits for its end
  std::function<void()> listener_;
};

class GenerationHandle final : public Generation {
 public:
  explicit GenerationHandle(std::shared_ptr<Ticket> ticket) : ticket_(std::move(ticket)) {}
  ~GenerationHandle() override;
  std::optional<Event> next_event(std::chrono::milliseconds timeout) override;
  std::optional<Event> next_event() override;
  Completion wait() override;
  void cancel() override { ticket_->cancel(); }
  void set_listener(std::function<void()> listener) override { ticket_->set_listener(std::move(listener)); }

 private:
  std::shared_ptr<Ticket> ticket_;
};

}  // namespace kinglet
