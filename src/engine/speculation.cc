#include "engine/speculation.h"

#include <algorithm>
#include <utility>

namespace kinglet {

namespace {
// From this length on a match is trusted more than a drafter.
constexpr int64_t kSureMatch = 8;
}  // namespace

// What may be drafted for each: the text's own draft, or with a drafter, where the text has no sure one, the drafter's.
std::vector<DraftOffer> Speculation::offers(std::span<const DraftTask> tasks, bool with_drafter,
                                            std::vector<bool>* by_drafter) {
  std::vector<DraftOffer> offers;
  by_drafter->assign(tasks.size(), false);
  for (size_t i = 0; i < tasks.size(); ++i) {
    const Source& source = sources_[tasks[i].id];
    const int64_t most = std::min(tasks[i].most, options_.max_tokens), length = source.index.match().length;
    if (with_drafter && length < kSureMatch) {
      (*by_drafter)[i] = true;
      offers.push_back({most, source.odds.chance(DraftReason::kModel)});
    } else if (length > 0) {
      offers.push_back({most, source.odds.chance(reason_of_match(length))});
    } else {
      offers.push_back({});
    }
  }
  return offers;
}

void Speculation::draft(std::span<DraftTask> tasks) {
  if (options_.lookup) {
    for (const DraftTask& task : tasks) sources_[task.id].index.extend(task.tokens);
  }
  const bool has_drafter = options_.drafter != nullptr;
  std::vector<bool> none, by_drafter;
  std::vector<DraftOffer> all = offers(tasks, has_drafter, &by_drafter);
  if (options_.always) {
    std::vector<int64_t> lengths;
    for (const DraftOffer& offer : all) lengths.push_back(offer.tokens);
    return fill(tasks, lengths, by_drafter);
  }
  DraftPolicy::Choice choice = policy_.choose(all, has_drafter, repeats_);
  if (has_drafter) {
    DraftPolicy::Choice cheap = policy_.choose(offers(tasks, false, &none), false, repeats_);
    if (cheap.worth >= choice.worth) {
      choice = std::move(cheap);
      by_drafter = none;
    }
  }
  fill(tasks, choice.tokens, by_drafter);
}

// Out of the text, which has a match.
void Speculation::Source::draft(DraftTask* task, int64_t length) {
  reason = reason_of_match(index.match().length);
  task->draft = index.draft(task->tokens, length);
}

void Speculation::fill(std::span<DraftTask> tasks, const std::vector<int64_t>& lengths,
                       const std::vector<bool>& by_drafter) {
  std::vector<DraftTask> asked;
  for (size_t i = 0; i < tasks.size(); ++i) {
    Source& source = sources_[tasks[i].id];
    tasks[i].draft.clear();
    const int64_t match = source.index.match().length;
    if (lengths[i] == 0) {
      if (match > 0) source.odds.pass(reason_of_match(match));
      if (options_.drafter) source.odds.pass(DraftReason::kModel);
      continue;
    }
    if (by_drafter[i]) {
      source.reason = DraftReason::kModel;
      asked.push_back({tasks[i].id, tasks[i].tokens, lengths[i], {}, 0});
    } else {
      source.draft(&tasks[i], lengths[i]);
    }
  }
  used_drafter_ = !asked.empty();
  caught_up_ = false;
  if (asked.empty()) return;
  options_.drafter->draft(asked);
  for (const DraftTask& task : asked) caught_up_ = caught_up_ || task.caught_up > options_.max_tokens + 2;
  size_t next = 0;
  for (size_t i = 0; i < tasks.size(); ++i) {
    if (lengths[i] == 0 || !by_drafter[i]) continue;
    tasks[i].draft = std::move(asked[next++].draft);
    if (!tasks[i].draft.empty()) continue;
    // A text too long for the drafter, or no room left there: it is asked more and more seldom.
    Source& source = sources_[tasks[i].id];
    source.odds.record(DraftReason::kModel, 1, 0);
    if (source.index.match().length > 0) source.draft(&tasks[i], lengths[i]);
  }
}

void Speculation::judged(SequenceId id, int64_t drafted, int64_t accepted) {
  const auto source = sources_.find(id);
  if (source != sources_.end()) source->second.odds.record(source->second.reason, drafted, accepted);
}

void Speculation::record(DecodeStep step) {
  step.by_model = used_drafter_;
  if (used_drafter_ && caught_up_) return;  // a prompt was taken in, once
  policy_.record(step);
}

void Speculation::forget(SequenceId id) {
  sources_.erase(id);
  if (options_.drafter) options_.drafter->forget(id);
}

}  // namespace kinglet
