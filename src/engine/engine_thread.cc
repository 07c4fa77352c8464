#include "engine/engine_thread.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/float_env.h"

namespace kinglet {

EngineThread::EngineThread(std::unique_ptr<StepModel> model, BlockPool pages, StatePool states,
                           const SchedulerLimits& limits, std::shared_ptr<Mailbox> mailbox)
    : model_(std::move(model)),
      pages_(std::move(pages)),
      states_(std::move(states)),
      scheduler_(limits),
      mailbox_(std::move(mailbox)) {
  stats_.pages = limits.pages;
}

void EngineThread::run() {
  const FloatEnv float_env;
  std::vector<Submission> submissions;
  bool cancelled = false;
  while (take_mail(&submissions, &cancelled)) {
    join(std::exchange(submissions, {}));
    if (cancelled) drop_cancelled();
    step();
    publish();
  }
  join(std::move(submissions));
  cancel_all();
  publish();
}

bool EngineThread::take_mail(std::vector<Submission>* submissions, bool* cancelled) {
  std::unique_lock lock(mailbox_->mutex);
  mailbox_->wake.wait(
      lock, [&] { return !running_.empty() || !mailbox_->submissions.empty() || mailbox_->stop || mailbox_->closed; });
  for (Submission& submission : mailbox_->submissions) submissions->push_back(std::move(submission));
  mailbox_->submissions.clear();
  *cancelled = std::exchange(mailbox_->cancelled, false);
  if (mailbox_->stop) return false;
  return !mailbox_->closed || !running_.empty() || !submissions->empty();
}

void EngineThread::join(std::vector<Submission> submissions) {
  for (Submission& submission : submissions) {
    Sequence& sequence = *submission.sequence;
    const Status added =
        scheduler_.add(submission.id, static_cast<int64_t>(sequence.tokens().size()), sequence.longest());
    const auto entry =
        running_.emplace(submission.id, Running{std::move(submission.sequence), std::move(submission.ticket)}).first;
    if (!added.ok()) {
      finish(entry, entry->second.sequence->end(FinishReason::kError, added.error()));
    } else if (entry->second.ticket->cancel_requested()) {
      finish(entry, entry->second.sequence->end(FinishReason::kCancelled));
    }
  }
}

void EngineThread::drop_cancelled() {
  for (auto entry = running_.begin(); entry != running_.end();) {
    const auto next = std::next(entry);
    if (entry->second.ticket->cancel_requested()) {
      finish(entry, entry->second.sequence->end(FinishReason::kCancelled));
    }
    entry = next;
  }
}

void EngineThread::finish(Entry entry, Event event) {
  KL_CHECK(event.finish.has_value(), "the last event says how it ended");
  switch (event.finish->reason) {
    case FinishReason::kStop:
    case FinishReason::kLength:
      ++stats_.finished;
      break;
    case FinishReason::kCancelled:
      ++stats_.cancelled;
      break;
    case FinishReason::kError:
      ++stats_.failed;
      break;
  }
  entry->second.sequence->release_memory(pages_, states_);
  scheduler_.remove(entry->first);
  const std::shared_ptr<Ticket> ticket = std::move(entry->second.ticket);
  running_.erase(entry);
  ++newly_finished_;
  publish();  // before the event: who has seen the end sees it in the statistics as well
  ticket->push(std::move(event));
}

void EngineThread::step() {
  StepPlan plan = scheduler_.plan_step();
  if (plan.empty()) return;
  prepare(&plan);
  if (plan.empty()) return;
  const std::span<const float> logits = forward(plan);
  if (const Status intact = model_->intact(); !intact.ok()) return fail_all(intact.error());
  scheduler_.advance(plan);
  ++stats_.steps;
  stats_.pages_used = pages_.used();
  choose(plan, logits);
}

Status EngineThread::take_memory(Sequence& sequence, int64_t pages) {
  const Status state = sequence.take_state(states_);
  if (!state.ok()) return state.error().with_context("memory for the recurrent state");
  const Status grown = sequence.grow_pages(pages_, pages);
  if (!grown.ok()) return grown.error().with_context("memory for the KV cache");
  return {};
}

// Gives and takes pages and states as planned. A sequence whose memory the system refuses fails alone.
void EngineThread::prepare(StepPlan* plan) {
  for (SequenceId id : plan->preempted) {
    Sequence& sequence = *running_.at(id).sequence;
    sequence.release_memory(pages_, states_);
    sequence.mark_preempted();
    ++stats_.preemptions;
  }
  std::vector<std::pair<SequenceId, Error>> refused;
  std::erase_if(plan->slices, [&](const PlannedSlice& slice) {
    Sequence& sequence = *running_.at(slice.id).sequence;
    sequence.mark_started();
    const Status taken = take_memory(sequence, slice.pages);
    if (!taken.ok()) refused.emplace_back(slice.id, taken.error());
    return !taken.ok();
  });
  for (auto& [id, error] : refused) {
    const auto entry = running_.find(id);
    finish(entry, entry->second.sequence->end(FinishReason::kError, std::move(error)));
  }
}

std::span<const float> EngineThread::forward(const StepPlan& plan) {
  std::vector<StepSlice> slices;
  slices.reserve(plan.slices.size());
  for (const PlannedSlice& planned : plan.slices) {
    const Sequence& sequence = *running_.at(planned.id).sequence;
    StepSlice slice;
    slice.tokens =
        sequence.tokens().subspan(static_cast<size_t>(planned.first_position), static_cast<size_t>(planned.tokens));
    slice.first_position = planned.first_position;
    slice.pages = sequence.page_data();
    slice.state = sequence.state_data();
    slice.logits = planned.samples ? LogitRows::kLast : LogitRows::kNone;
    slices.push_back(slice);
  }
  return model_->forward(slices);
}

void EngineThread::choose(const StepPlan& plan, std::span<const float> logits) {
  const auto vocabulary = static_cast<size_t>(model_->vocabulary());
  const Compute compute = model_->compute();
  size_t row = 0;
  for (const PlannedSlice& planned : plan.slices) {
    const auto entry = running_.find(planned.id);
    Sequence& sequence = *entry->second.sequence;
    stats_.prompt_tokens += std::clamp<int64_t>(sequence.prompt_tokens() - planned.first_position, 0, planned.tokens);
    if (!planned.samples) continue;
    Event event = sequence.choose(compute, scratch_, logits.subspan(row++ * vocabulary, vocabulary));
    stats_.generated_tokens += static_cast<int64_t>(event.tokens.size());
    if (event.finish) {
      finish(entry, std::move(event));
    } else {
      scheduler_.append_token(planned.id);
      entry->second.ticket->push(std::move(event));
    }
  }
}

void EngineThread::fail_all(const Error& error) {
  while (!running_.empty()) {
    finish(running_.begin(), running_.begin()->second.sequence->end(FinishReason::kError, error));
  }
}

void EngineThread::cancel_all() {
  while (!running_.empty()) {
    finish(running_.begin(), running_.begin()->second.sequence->end(FinishReason::kCancelled));
  }
}

void EngineThread::publish() {
  stats_.running = scheduler_.running();
  stats_.waiting = scheduler_.waiting();
  stats_.pages_used = pages_.used();
  const std::lock_guard lock(mailbox_->mutex);
  mailbox_->stats = stats_;
  mailbox_->unfinished -= std::exchange(newly_finished_, 0);
}

}  // namespace kinglet
