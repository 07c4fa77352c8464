#include "engine/engine_thread.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/float_env.h"

namespace kinglet {

namespace {
// A sequence that has more tokens to repeat gets no drafts: should they fail, it would repeat these and theirs, and one
// failure after the other would make steps wider and wider.
constexpr int64_t kMostRepeated = 4;
}  // namespace

EngineThread::EngineThread(std::unique_ptr<StepModel> model, BlockPool pages, StatePool states,
                           const SchedulerLimits& limits, const PrefixCacheLimits& caching,
                           const SpeculationOptions& speculation, std::shared_ptr<Mailbox> mailbox)
    : model_(std::move(model)),
      pages_(std::move(pages)),
      states_(std::move(states)),
      cache_(caching, pages_, states_),
      scheduler_(limits),
      mailbox_(std::move(mailbox)),
      speculation_(speculation, states_.state_bytes() > 0) {
  stats_.pages = limits.pages;
}

void EngineThread::run() {
  const FloatEnv float_env;
  std::vector<Submission> submissions;
  bool cancelled = false;
  while (take_mail(&submissions, &cancelled)) {
    join(std::exchange(submissions, {}));
    if (cancelled) drop_cancelled();
    drop_late();
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
    const Status added = scheduler_.add(submission.id, std::ssize(sequence.tokens()), sequence.longest(),
                                        {sequence.request().user, sequence.request().priority});
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

// Those that waited for their first step for longer than they wanted to.
void EngineThread::drop_late() {
  const auto now = Sequence::Clock::now();
  for (auto entry = running_.begin(); entry != running_.end();) {
    const auto next = std::next(entry);
    Sequence& sequence = *entry->second.sequence;
    if (sequence.is_late(now) && !scheduler_.runs(entry->first)) {
      const std::string message = "the request waited for longer than its limit of " +
                                  std::to_string(sequence.request().queue_limit->count()) +
                                  " ms: " + std::to_string(scheduler_.running()) + " requests run and " +
                                  std::to_string(scheduler_.waiting()) + " wait; try again later";
      finish(entry, sequence.end(FinishReason::kError, Error{ErrorCode::kResource, message}));
    }
    entry = next;
  }
}

// What a step of decodes and prompts took. Steps with drafts say nothing about steps without.
void EngineThread::record(const StepPlan& plan, double seconds) {
  int64_t prompt_tokens = 0, decodes = 0, drafts = 0;
  decodes_ = 0;
  for (const PlannedSlice& slice : plan.slices) {
    drafts += slice.drafts;
    if (slice.tokens - slice.drafts > 1 || !slice.samples) {
      prompt_tokens += slice.tokens - slice.drafts;
    } else {
      ++decodes;
    }
    if (slice.samples && running_.contains(slice.id)) ++decodes_;
  }
  if (drafts == 0) chunks_.record(decodes, prompt_tokens, seconds);
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
  // What an error leaves is not to be trusted.
  Sequence& sequence = *entry->second.sequence;
  if (event.finish->reason == FinishReason::kError) {
    cache_.discard(sequence);
  } else {
    cache_.retire(sequence);
  }
  scheduler_.remove(entry->first);
  speculation_.forget(entry->first);
  const std::shared_ptr<Ticket> ticket = std::move(entry->second.ticket);
  running_.erase(entry);
  ++newly_finished_;
  publish();  // before the event: who has seen the end sees it in the statistics as well
  ticket->push(std::move(event));
}

// A sequence does not begin while others compute what it could begin with.
CachedStart EngineThread::begin(SequenceId id) {
  Sequence& sequence = *running_.at(id).sequence;
  if (sequence.preemptions() == 0) {
    for (const auto& [other, entry] : running_) {
      if (other != id && scheduler_.runs(other) && cache_.worth_waiting(sequence, *entry.sequence))
        return {true, 0, {}};
    }
  }
  return cache_.begin(sequence);
}

void EngineThread::step() {
  StepPlan plan = scheduler_.plan_step([this](SequenceId id) { return begin(id); }, chunks_.most(decodes_));
  if (plan.empty()) return;
  prepare(&plan);
  if (plan.empty()) return;
  const bool drafts = speculation_.on() && only_decodes(plan);
  DecodeStep decodes;
  drafted_.clear();
  const auto begun = Sequence::Clock::now();
  if (drafts) {
    add_drafts(&plan);
    decodes.sequences = static_cast<int64_t>(plan.slices.size());
    for (const PlannedSlice& slice : plan.slices) decodes.extra += slice.tokens - 1;
  }
  const std::span<const float> logits = forward(plan);
  if (const Status intact = model_->intact(); !intact.ok()) return fail_all(intact.error());
  scheduler_.advance(plan);
  ++stats_.steps;
  const int64_t generated = stats_.generated_tokens;
  choose(plan, logits);
  share(plan);
  const double seconds = std::chrono::duration<double>(Sequence::Clock::now() - begun).count();
  record(plan, seconds);
  if (!drafts) return;
  decodes.chosen = stats_.generated_tokens - generated;
  decodes.seconds = seconds;
  speculation_.record(decodes);
}

// Answers go on, and nothing else happens: the steps that drafts may join.
bool EngineThread::only_decodes(const StepPlan& plan) const {
  return std::all_of(plan.slices.begin(), plan.slices.end(), [&](const PlannedSlice& slice) {
    return slice.samples && slice.first_position >= running_.at(slice.id).sequence->prompt_tokens();
  });
}

void EngineThread::add_drafts(StepPlan* plan) {
  std::vector<DraftTask> tasks;
  for (const PlannedSlice& slice : plan->slices) {
    const Sequence& sequence = *running_.at(slice.id).sequence;
    DraftTask task;
    task.id = slice.id;
    task.tokens = sequence.tokens();
    if (slice.tokens <= 1 + kMostRepeated) task.most = sequence.longest() - static_cast<int64_t>(task.tokens.size());
    tasks.push_back(std::move(task));
  }
  speculation_.draft(tasks);
  for (size_t i = 0; i < tasks.size(); ++i) {
    if (!tasks[i].draft.empty() && !place_drafts(plan, i, tasks[i].draft)) return;
  }
}

// False when the step has no room for more.
bool EngineThread::place_drafts(StepPlan* plan, size_t index, std::span<const int32_t> draft) {
  PlannedSlice& slice = plan->slices[index];
  Sequence& sequence = *running_.at(slice.id).sequence;
  if (!sequence.keep_state(states_).ok()) return false;  // no memory for it: the step goes without
  const int64_t granted = scheduler_.add_drafts(plan, index, static_cast<int64_t>(draft.size()));
  if (granted == 0) return false;
  if (!cache_.grow(sequence, slice.pages).ok()) {
    scheduler_.take_back_drafts(plan, index, std::ssize(sequence.page_data()));
    return false;
  }
  const auto known = sequence.tokens().subspan(static_cast<size_t>(slice.first_position));
  std::vector<int32_t>& tokens = drafted_[slice.id];
  tokens.assign(known.begin(), known.end());
  tokens.insert(tokens.end(), draft.begin(), draft.begin() + granted);
  sequence.mark_drafted(granted);
  stats_.drafted_tokens += granted;
  return true;
}

Status EngineThread::take_memory(Sequence& sequence, int64_t pages) {
  const Status state = sequence.take_state(states_);
  if (!state.ok()) return state.error().with_context("memory for the recurrent state");
  const Status grown = cache_.grow(sequence, pages);
  if (!grown.ok()) return grown.error().with_context("memory for the KV cache");
  return {};
}

// Gives and takes pages and states as planned. A sequence whose memory the system refuses fails alone.
void EngineThread::prepare(StepPlan* plan) {
  for (SequenceId id : plan->preempted) {
    Sequence& sequence = *running_.at(id).sequence;
    cache_.retire(sequence);
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
  std::vector<SequenceId> ids;
  slices.reserve(plan.slices.size());
  for (const PlannedSlice& planned : plan.slices) {
    const Sequence& sequence = *running_.at(planned.id).sequence;
    StepSlice slice;
    if (planned.drafts > 0) {
      slice.tokens = drafted_.at(planned.id);
    } else {
      slice.tokens =
          sequence.tokens().subspan(static_cast<size_t>(planned.first_position), static_cast<size_t>(planned.tokens));
    }
    slice.last_rows = 1 + planned.drafts;
    slice.first_position = planned.first_position;
    slice.pages = sequence.page_data();
    slice.state = sequence.state_data();
    slice.logits = planned.samples ? LogitRows::kLast : LogitRows::kNone;
    slices.push_back(slice);
    ids.push_back(planned.id);
  }
  const std::span<const float> logits = model_->forward(slices);
  speculation_.observe(ids, slices, model_->last_states());
  return logits;
}

void EngineThread::choose(const StepPlan& plan, std::span<const float> logits) {
  const auto vocabulary = static_cast<size_t>(model_->vocabulary());
  for (const PlannedSlice& planned : plan.slices) {
    Sequence& sequence = *running_.at(planned.id).sequence;
    sequence.cached().computed = planned.first_position + planned.tokens - planned.drafts;
    stats_.prompt_tokens += std::clamp<int64_t>(sequence.prompt_tokens() - planned.first_position, 0, planned.tokens);
    if (!planned.samples) continue;
    std::span<const int32_t> drafts;
    if (planned.drafts > 0) drafts = std::span(drafted_.at(planned.id)).last(static_cast<size_t>(planned.drafts));
    const int64_t accepted = choose_for(planned, drafts, logits);
    if (planned.drafts > 0) speculation_.judged(planned.id, planned.drafts, accepted);
    logits = logits.subspan((drafts.size() + 1) * vocabulary);
  }
}

// Chooses as single steps would: one token after the other, each from the logits behind the tokens before it, for as
// long as the drafts were these tokens. How many were.
int64_t EngineThread::choose_for(const PlannedSlice& planned, std::span<const int32_t> drafts,
                                 std::span<const float> logits) {
  const auto vocabulary = static_cast<size_t>(model_->vocabulary());
  const auto entry = running_.find(planned.id);
  Sequence& sequence = *entry->second.sequence;
  for (size_t i = 0;; ++i) {
    const int32_t draft = i < drafts.size() ? drafts[i] : Sequence::kNoDraft;
    Event event = sequence.choose(model_->compute(), scratch_, logits.subspan(i * vocabulary, vocabulary), draft);
    stats_.generated_tokens += static_cast<int64_t>(event.tokens.size());
    const bool holds = !event.tokens.empty() && event.tokens.back() == draft;
    stats_.accepted_tokens += holds ? 1 : 0;
    const int64_t accepted = static_cast<int64_t>(i) + (holds ? 1 : 0);
    if (event.finish) {
      settle(planned, accepted, sequence);
      finish(entry, std::move(event));
      return accepted;
    }
    entry->second.ticket->push(std::move(event));
    if (holds) continue;
    settle(planned, accepted, sequence);
    if (i < drafts.size() && sequence.state_data() != nullptr) {
      scheduler_.append_and_repeat(planned, accepted);
    } else {
      scheduler_.append_token(planned.id, accepted);
    }
    return accepted;
  }
}

// How much of the text pages and state are final for, `accepted` of the slice's drafts being right. A state that has
// seen wrong ones goes back to before the slice.
void EngineThread::settle(const PlannedSlice& planned, int64_t accepted, Sequence& sequence) {
  CachedText& cached = sequence.cached();
  if (accepted < planned.drafts && sequence.state_data() != nullptr) {
    sequence.restore_state(states_);
    cached.computed = planned.first_position;
  } else {
    cached.computed = planned.first_position + planned.tokens - planned.drafts + accepted;
  }
}

// What the step computed of sequences that go on.
void EngineThread::share(const StepPlan& plan) {
  for (const PlannedSlice& slice : plan.slices) {
    const auto entry = running_.find(slice.id);
    if (entry == running_.end()) continue;
    if (slice.cut) {
      cache_.share_state(*entry->second.sequence);
    } else {
      cache_.share(*entry->second.sequence);
    }
  }
}

void EngineThread::fail_all(const Error& error) {
  while (!running_.empty()) {
    finish(running_.begin(), running_.begin()->second.sequence->end(FinishReason::kError, error));
  }
  cache_.clear();
}

void EngineThread::cancel_all() {
  while (!running_.empty()) {
    finish(running_.begin(), running_.begin()->second.sequence->end(FinishReason::kCancelled));
  }
}

void EngineThread::publish() {
  stats_.running = scheduler_.running();
  stats_.waiting = scheduler_.waiting();
  cache_.fill(&stats_);
  const std::lock_guard lock(mailbox_->mutex);
  mailbox_->stats = stats_;
  mailbox_->unfinished -= std::exchange(newly_finished_, 0);
}

}  // namespace kinglet
