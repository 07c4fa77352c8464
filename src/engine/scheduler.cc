#include "engine/scheduler.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "base/check.h"

namespace kinglet {

Scheduler::Scheduler(const SchedulerLimits& limits) : limits_(limits) {
  KL_CHECK(limits.page_positions > 0 && limits.pages > 0, "a scheduler needs pages");
  KL_CHECK(limits.max_running > 0 && limits.max_running <= limits.step_tokens,
           "every running sequence must find room for a token in a step");
}

int64_t Scheduler::pages_for(int64_t positions) const {
  return positions / limits_.page_positions + (positions % limits_.page_positions != 0 ? 1 : 0);
}

int64_t Scheduler::held_pages(SequenceId id) const {
  const auto entry = sequences_.find(id);
  return entry == sequences_.end() ? 0 : entry->second.pages;
}

Status Scheduler::add(SequenceId id, int64_t known, int64_t longest) {
  KL_CHECK(known > 0 && longest >= known, "a sequence has tokens and does not shrink");
  KL_CHECK(sequences_.empty() || sequences_.rbegin()->first < id, "ids of sequences ascend");
  if (pages_for(longest) > limits_.pages) {
    return Error{ErrorCode::kResource, "a sequence of up to " + std::to_string(longest) + " tokens needs " +
                                           std::to_string(pages_for(longest)) + " KV pages of " +
                                           std::to_string(limits_.page_positions) + " positions; there are " +
                                           std::to_string(limits_.pages) + " in all"};
  }
  Sequence sequence;
  sequence.known = known;
  sequence.longest = longest;
  sequences_.emplace_hint(sequences_.end(), id, sequence);
  return {};
}

void Scheduler::preempt(Entry entry, StepPlan* plan) {
  const auto slice = std::find_if(plan->slices.begin(), plan->slices.end(),
                                  [&](const PlannedSlice& planned) { return planned.id == entry->first; });
  if (slice != plan->slices.end()) {
    budget_ += slice->tokens;
    plan->slices.erase(slice);
  }
  plan->preempted.push_back(entry->first);
  held_ -= entry->second.pages;
  --running_;
  entry->second.pages = entry->second.computed = 0;
  entry->second.running = entry->second.decoding = false;
  entry->second.cuts.clear();
}

int64_t Scheduler::room(Entry entry) const {
  const Sequence& sequence = entry->second;
  return (sequence.pages + free_pages()) * limits_.page_positions - sequence.computed;
}

// Makes room for `positions` positions in all, at the expense of younger sequences where it must be. False when the
// taker is itself the youngest that runs.
bool Scheduler::take_pages(Entry taker, int64_t positions, StepPlan* plan) {
  const int64_t wanted = pages_for(positions);
  while (wanted - taker->second.pages > free_pages()) {
    auto youngest = sequences_.end();  // running ones are a prefix of the map
    for (auto entry = std::next(taker); entry != sequences_.end() && entry->second.running; ++entry) youngest = entry;
    if (youngest == sequences_.end()) return false;
    preempt(youngest, plan);
  }
  if (wanted > taker->second.pages) {
    held_ += wanted - taker->second.pages;
    taker->second.pages = wanted;
  }
  return true;
}

int64_t Scheduler::until_cut(const Sequence& sequence) {
  return (sequence.cuts.empty() ? sequence.known : sequence.cuts.back()) - sequence.computed;
}

void Scheduler::plan_slice(Entry entry, int64_t tokens, StepPlan* plan) {
  const Sequence& sequence = entry->second;
  const int64_t end = sequence.computed + tokens;
  plan->slices.push_back({entry->first, sequence.computed, tokens, sequence.pages, end == sequence.known, 0,
                          !sequence.cuts.empty() && end == sequence.cuts.back()});
  budget_ -= tokens;
}

// Running sequences that have one token to go, an answer's last or a prompt's; and those that repeat a few before it,
// as far as the others leave room.
void Scheduler::plan_decodes(StepPlan* plan) {
  const auto due = [](const Sequence& s) { return s.decoding || s.known - s.computed == 1; };
  int64_t spare = limits_.step_tokens;
  for (auto entry = sequences_.begin(); entry != sequences_.end() && entry->second.running; ++entry) {
    if (due(entry->second)) --spare;
  }
  for (auto entry = sequences_.begin(); entry != sequences_.end() && entry->second.running; ++entry) {
    const Sequence& sequence = entry->second;
    if (!due(sequence)) continue;
    const int64_t tokens = std::min(sequence.known - sequence.computed, 1 + spare);
    // The youngest of all waits, and keeps what it has.
    if (!take_pages(entry, sequence.computed + tokens, plan)) break;
    plan_slice(entry, tokens, plan);
    spare -= tokens - 1;
  }
}

void Scheduler::plan_prompts(StepPlan* plan) {
  for (auto entry = sequences_.begin(); entry != sequences_.end() && entry->second.running; ++entry) {
    const Sequence& sequence = entry->second;
    const int64_t remaining = sequence.known - sequence.computed;
    if (remaining <= 1 || sequence.decoding || budget_ == 0) continue;
    // As much as fits without hurting anyone; a single token at the expense of others, so that it moves on.
    const int64_t tokens = std::max<int64_t>(1, std::min({until_cut(sequence), budget_, room(entry)}));
    if (!take_pages(entry, sequence.computed + tokens, plan)) break;
    plan_slice(entry, tokens, plan);
  }
}

void Scheduler::start(Entry entry, const CacheLookup& lookup) {
  Sequence& sequence = entry->second;
  sequence.running = true;
  ++running_;
  if (!lookup) return;
  CachedStart start = lookup(entry->first);
  KL_CHECK(start.computed >= 0 && start.computed < sequence.known, "the last known token is computed in any case");
  sequence.computed = start.computed;
  sequence.pages = pages_for(start.computed);
  held_ += sequence.pages;
  sequence.cuts.assign(start.cuts.rbegin(), start.cuts.rend());
}

// The oldest waiting sequences join while there is room in the step, and pages for all they know and one page more: a
// sequence that could not even be read in would only be thrown out again.
void Scheduler::admit(const CacheLookup& lookup, StepPlan* plan) {
  auto entry =
      std::find_if(sequences_.begin(), sequences_.end(), [](const auto& item) { return !item.second.running; });
  for (; entry != sequences_.end() && budget_ > 0 && running_ < limits_.max_running; ++entry) {
    Sequence& sequence = entry->second;
    const int64_t wanted = std::min(pages_for(sequence.known) + 1, pages_for(sequence.longest));
    if (wanted > free_pages() - reserved_) return;
    start(entry, lookup);
    plan->admitted.push_back(entry->first);
    const int64_t tokens = std::min(until_cut(sequence), budget_);
    take_pages(entry, sequence.computed + tokens, plan);
    plan_slice(entry, tokens, plan);
    reserved_ += wanted - sequence.pages;
  }
}

StepPlan Scheduler::plan_step(const CacheLookup& lookup) {
  StepPlan plan;
  budget_ = limits_.step_tokens;
  plan_decodes(&plan);
  plan_prompts(&plan);
  // Pages that the running prompts will still need: newcomers leave them alone.
  reserved_ = 0;
  for (auto entry = sequences_.begin(); entry != sequences_.end() && entry->second.running; ++entry) {
    reserved_ += std::max<int64_t>(0, pages_for(entry->second.known) - entry->second.pages);
  }
  if (plan.preempted.empty()) admit(lookup, &plan);
  std::sort(plan.slices.begin(), plan.slices.end(),
            [](const PlannedSlice& a, const PlannedSlice& b) { return a.id < b.id; });
  return plan;
}

// Pages are taken only where one is left for every other sequence that runs.
int64_t Scheduler::add_drafts(StepPlan* plan, size_t index, int64_t count) {
  PlannedSlice& slice = plan->slices[index];
  const auto entry = sequences_.find(slice.id);
  KL_CHECK(entry != sequences_.end() && slice.samples, "drafts follow the last known token");
  Sequence& sequence = entry->second;
  const int64_t spare_pages = std::max<int64_t>(0, free_pages() - reserved_ - running_);
  const int64_t positions = sequence.known + slice.drafts;
  const int64_t room = (sequence.pages + spare_pages) * limits_.page_positions - positions;
  const int64_t granted = std::max<int64_t>(0, std::min({count, budget_, room, sequence.longest - positions}));
  const int64_t wanted = std::max(sequence.pages, pages_for(positions + granted));
  held_ += wanted - sequence.pages;
  slice.pages = sequence.pages = wanted;
  slice.tokens += granted;
  slice.drafts += granted;
  budget_ -= granted;
  return granted;
}

void Scheduler::take_back_drafts(StepPlan* plan, size_t index, int64_t pages) {
  PlannedSlice& slice = plan->slices[index];
  const auto entry = sequences_.find(slice.id);
  KL_CHECK(entry != sequences_.end() && pages <= slice.pages, "drafts are taken back from where they were added");
  held_ -= slice.pages - pages;
  slice.pages = entry->second.pages = pages;
  budget_ += slice.drafts;
  slice.tokens -= slice.drafts;
  slice.drafts = 0;
}

void Scheduler::advance(const StepPlan& plan) {
  for (const PlannedSlice& slice : plan.slices) {
    const auto entry = sequences_.find(slice.id);
    KL_CHECK(entry != sequences_.end(), "a planned sequence is known until the step is over");
    KL_CHECK(entry->second.computed == slice.first_position, "a plan is carried out once");
    Sequence& sequence = entry->second;
    sequence.computed += slice.tokens - slice.drafts;
    while (!sequence.cuts.empty() && sequence.cuts.back() <= sequence.computed) sequence.cuts.pop_back();
  }
}

void Scheduler::append_token(SequenceId id, int64_t accepted) {
  const auto entry = sequences_.find(id);
  KL_CHECK(entry != sequences_.end(), "only known sequences grow");
  Sequence& sequence = entry->second;
  KL_CHECK(sequence.computed == sequence.known && sequence.known + accepted < sequence.longest,
           "a sequence grows when all it knows is computed, up to its announced length");
  sequence.computed += accepted;
  sequence.known += accepted + 1;
  sequence.decoding = true;
}

void Scheduler::append_and_repeat(const PlannedSlice& slice, int64_t accepted) {
  append_token(slice.id, accepted);
  sequences_.find(slice.id)->second.computed = slice.first_position;
}

void Scheduler::remove(SequenceId id) {
  const auto entry = sequences_.find(id);
  if (entry == sequences_.end()) return;
  held_ -= entry->second.pages;
  if (entry->second.running) --running_;
  sequences_.erase(entry);
}

}  // namespace kinglet
