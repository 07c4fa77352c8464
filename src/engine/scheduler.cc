#include "engine/scheduler.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "base/check.h"
#include "engine/fair_share.h"

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

bool Scheduler::runs(SequenceId id) const {
  const auto entry = sequences_.find(id);
  return entry != sequences_.end() && entry->second.running;
}

// Senior ones first.
std::vector<Scheduler::Entry> Scheduler::running_in_turn() const {
  std::vector<Entry> entries;
  for (const auto& [turn, entry] : turns_) {
    if (!entry->second.running) break;
    entries.push_back(entry);
  }
  return entries;
}

Status Scheduler::add(SequenceId id, int64_t known, int64_t longest, const Claim& claim) {
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
  sequence.priority = claim.priority;
  sequence.user = claim.user;
  sequences_.emplace_hint(sequences_.end(), id, sequence);
  fresh_.insert(id);
  const auto [user, added] = users_.try_emplace(claim.user);
  if (added) {
    // Who comes anew stands with whoever has had least: nobody saves up for later.
    int64_t least = INT64_MAX;
    for (const auto& [name, other] : users_) {
      if (name != claim.user) least = std::min(least, other.served);
    }
    user->second = {next_user_++, users_.size() == 1 ? 0 : least, 0};
  }
  ++user->second.sequences;
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

// Makes room for `positions` positions in all, at the expense of its juniors where it must be. False when the
// taker is itself the most junior that runs.
bool Scheduler::take_pages(Entry taker, int64_t positions, StepPlan* plan) {
  const int64_t wanted = pages_for(positions);
  while (wanted - taker->second.pages > free_pages()) {
    const Entry youngest = running_in_turn().back();
    if (youngest == taker) return false;
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

// A prompt's last token is computed as an answer's are.
bool Scheduler::due(const Sequence& sequence) {
  return sequence.decoding || sequence.known - sequence.computed == 1;
}

// Running sequences that have one token to go, an answer's last or a prompt's; and those that repeat a few before it,
// as far as the others leave room, prompts a token.
void Scheduler::plan_decodes(StepPlan* plan) {
  const std::vector<Entry> running = running_in_turn();
  int64_t spare = limits_.step_tokens;
  bool prompts = false;
  for (Entry entry : running) {
    if (due(entry->second)) {
      --spare;
    } else {
      prompts = true;
    }
  }
  if (prompts) --spare;
  for (Entry entry : running) {
    const Sequence& sequence = entry->second;
    if (!sequence.running || !due(sequence)) continue;
    const int64_t tokens = std::min(sequence.known - sequence.computed, 1 + spare);
    // The most junior of all waits, and keeps what it has.
    if (!take_pages(entry, sequence.computed + tokens, plan)) break;
    plan_slice(entry, tokens, plan);
    spare -= tokens - 1;
  }
}

void Scheduler::plan_prompts(StepPlan* plan) {
  std::vector<Entry> prompts;
  std::vector<PromptClaim> claims;
  for (Entry entry : running_in_turn()) {
    const Sequence& sequence = entry->second;
    const bool joins = std::count(plan->admitted.begin(), plan->admitted.end(), entry->first) > 0;
    if (due(sequence) && !joins) continue;
    const User& user = users_.at(sequence.user);
    prompts.push_back(entry);
    claims.push_back(
        {until_cut(sequence), sequence.known - sequence.computed, sequence.priority, user.number, user.served});
  }
  const std::vector<int64_t> shares = share_tokens(claims, budget_);
  for (size_t i = 0; i < prompts.size(); ++i) {
    const Sequence& sequence = prompts[i]->second;
    if (!sequence.running || shares[i] == 0) continue;
    // As much as fits without hurting anyone; a single token at the expense of others, so that it moves on.
    const int64_t tokens = std::max<int64_t>(1, std::min(shares[i], room(prompts[i])));
    if (!take_pages(prompts[i], sequence.computed + tokens, plan)) break;
    plan_slice(prompts[i], tokens, plan);
  }
}

// Pages that the running prompts will still need: newcomers leave them alone.
void Scheduler::reserve() {
  reserved_ = 0;
  for (Entry entry : running_in_turn()) {
    reserved_ += std::max<int64_t>(0, pages_for(entry->second.known) - entry->second.pages);
  }
}

// Who joins next: those first that were preempted, in their turn. The end where nobody is left but `passed`.
Scheduler::Entry Scheduler::next_waiting(const std::set<SequenceId>& passed) {
  for (const auto& [turn, entry] : turns_) {
    if (!entry->second.running) return entry;
  }
  const int64_t patience = 8 * limits_.max_running;
  Entry best = sequences_.end();
  int64_t best_served = 0;
  for (SequenceId id : fresh_) {
    if (passed.contains(id)) continue;
    const Entry entry = sequences_.find(id);
    const int64_t served = users_.at(entry->second.user).served;
    if (best != sequences_.end() && (entry->second.priority < best->second.priority ||
                                     (entry->second.priority == best->second.priority && served >= best_served))) {
      continue;
    }
    best = entry;
    best_served = served;
    if (overtakings_ >= patience) break;  // it was the oldest
  }
  return best;
}

// False when it had better wait.
bool Scheduler::start(Entry entry, const CacheLookup& lookup) {
  Sequence& sequence = entry->second;
  CachedStart start;
  if (lookup) start = lookup(entry->first);
  if (start.wait && sequence.turn == kNoTurn) return false;
  KL_CHECK(!start.wait, "who has a turn does not wait for others");
  KL_CHECK(start.computed >= 0 && start.computed < sequence.known, "the last known token is computed in any case");
  sequence.running = true;
  ++running_;
  if (sequence.turn == kNoTurn) {
    overtakings_ = *fresh_.begin() == entry->first ? 0 : overtakings_ + 1;
    fresh_.erase(entry->first);
    sequence.turn = next_turn_++;
    turns_.emplace(sequence.turn, entry);
  }
  sequence.computed = start.computed;
  sequence.pages = pages_for(start.computed);
  held_ += sequence.pages;
  sequence.cuts.assign(start.cuts.rbegin(), start.cuts.rend());
  return true;
}

// Those that wait join while there is room in the step, and pages for all they know and one page more: a sequence that
// could not even be read in would only be thrown out again.
void Scheduler::admit(const CacheLookup& lookup, StepPlan* plan) {
  std::set<SequenceId> passed;
  while (running_ < limits_.max_running && std::ssize(passed) <= 2 * limits_.max_running) {
    const Entry entry = next_waiting(passed);
    if (entry == sequences_.end()) return;
    const Sequence& sequence = entry->second;
    const int64_t wanted = std::min(pages_for(sequence.known) + 1, pages_for(sequence.longest));
    if (wanted > free_pages() - reserved_) return;
    if (start(entry, lookup)) {
      plan->admitted.push_back(entry->first);
      reserved_ += wanted - sequence.pages;
    } else {
      passed.insert(entry->first);
    }
  }
}

StepPlan Scheduler::plan_step(const CacheLookup& lookup, int64_t most_prompt) {
  KL_CHECK(most_prompt > 0, "prompts go on in every step");
  StepPlan plan;
  budget_ = limits_.step_tokens;
  plan_decodes(&plan);
  const int64_t kept_back = plan.empty() ? 0 : std::max<int64_t>(0, budget_ - most_prompt);
  budget_ -= kept_back;
  reserve();
  if (plan.preempted.empty() && budget_ > 0) admit(lookup, &plan);
  plan_prompts(&plan);
  budget_ += kept_back;
  reserve();
  std::sort(plan.slices.begin(), plan.slices.end(), [&](const PlannedSlice& a, const PlannedSlice& b) {
    return sequences_.at(a.id).turn < sequences_.at(b.id).turn;
  });
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
    users_.at(sequence.user).served += slice.tokens - slice.drafts;
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
  if (entry->second.turn != kNoTurn) turns_.erase(entry->second.turn);
  if (!fresh_.empty() && *fresh_.begin() == id) overtakings_ = 0;
  fresh_.erase(id);
  const auto user = users_.find(entry->second.user);
  if (--user->second.sequences == 0) users_.erase(user);
  sequences_.erase(entry);
}

}  // namespace kinglet
