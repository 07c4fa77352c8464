// Scheduler: decides which tokens of which sequences go into the next step. Values in, values out: it knows counts of
// tokens and pages; no model, no memory, no threads, no clock.
//
// The policy. Tokens that follow an answer's last one (decodes) go into every step; prompts share the rest of it in
// chunks (engine/fair_share.h). Of those that wait, the highest priority joins first; of these, a request of the user
// who has had least; of these, the oldest; but whoever is oldest of all joins when many others went before it. With
// joining for the first time a sequence gets its turn, which it keeps: what joined earlier is senior. Drafts (guesses
// of what follows, which stand behind the last known token until the step has judged them) take what is left of the
// step and of the pages, and put nobody out. When pages run out, a sequence may take those of juniors only: the most
// junior loses all of its pages and goes back to the head of the waiting line, to be computed anew. So the most senior
// sequence advances in every step, and everything that add() accepted ends.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"

namespace kinglet {

using SequenceId = uint64_t;  // given out by the caller, ascending: the age of a sequence

// Who asks for a sequence.
struct Claim {
  std::string user;  // users are served alike
  int priority = 0;  // higher goes first
};

struct SchedulerLimits {
  int64_t page_positions = 64;
  int64_t pages = 0;          // in the pool
  int64_t max_running = 16;   // sequences that hold pages at once; at most step_tokens
  int64_t step_tokens = 512;  // in a step
};

// One sequence's share of a step: its tokens [first_position, first_position + tokens).
struct PlannedSlice {
  SequenceId id = 0;
  int64_t first_position = 0;
  int64_t tokens = 0;
  int64_t pages = 0;     // the sequence holds from now on; the caller brings its list of pages to this length
  bool samples = false;  // the slice reaches the last known token: a next one is to be chosen
  int64_t drafts = 0;    // of the tokens, those behind the last known one
  bool cut = false;      // it ends at one of the sequence's cuts
  bool operator==(const PlannedSlice&) const = default;
};

struct StepPlan {
  std::vector<SequenceId> preempted;  // give up all their pages, before the slices take theirs
  std::vector<SequenceId> admitted;   // join with this step (again, perhaps)
  std::vector<PlannedSlice> slices;   // senior sequences first
  bool empty() const { return slices.empty(); }
};

// What is known of a sequence that joins: it holds the pages of the first `computed` tokens (fewer than all) already.
// Its slices end at the cuts (ascending, behind those) until all it knows is computed.
struct CachedStart {
  bool wait = false;  // it had better join later: others are computing what it could begin with. Nothing was done.
  int64_t computed = 0;
  std::vector<int64_t> cuts;
};
using CacheLookup = std::function<CachedStart(SequenceId)>;

class Scheduler {
 public:
  explicit Scheduler(const SchedulerLimits& limits);

  // A sequence of `known` tokens that may grow to `longest` joins the waiting line. kResource, with the numbers, when
  // the pool could never hold it. Ids must ascend.
  Status add(SequenceId id, int64_t known, int64_t longest, const Claim& claim = {});

  // Plans a step and takes its pages; the caller runs it and reports with advance() before it plans the next.
  // `lookup` is asked once for each sequence that could join with it; without, all begin with nothing. `most_prompt`:
  // tokens of prompts, at least 1, in a step that decodes, too.
  StepPlan plan_step(const CacheLookup& lookup = {}, int64_t most_prompt = INT64_MAX);

  // Puts up to `count` drafts behind slice `index` of the plan just made, which `samples`. How many found room.
  int64_t add_drafts(StepPlan* plan, size_t index, int64_t count);

  // The memory for them was refused: takes the drafts out again. The sequence holds `pages` and no more.
  void take_back_drafts(StepPlan* plan, size_t index, int64_t pages);

  // After the step: each slice's known tokens are in the cache.
  void advance(const StepPlan& plan);
  // Tokens were chosen for the sequence: the first `accepted` are drafts, whose positions are in the cache now, and one
  // follows them. Only after a slice with `samples`.
  void append_token(SequenceId id, int64_t accepted = 0);
  // The same for a sequence whose drafts failed and left traces, so that it was set back to before the slice: what the
  // slice held, and the `accepted` drafts, is computed once more with the next step.
  void append_and_repeat(const PlannedSlice& slice, int64_t accepted);
  // The sequence is over or given up: forgotten, its pages free. Between steps or after advance().
  void remove(SequenceId id);

  const SchedulerLimits& limits() const { return limits_; }
  int64_t running() const { return running_; }
  bool runs(SequenceId id) const;
  int64_t waiting() const { return static_cast<int64_t>(sequences_.size()) - running_; }
  int64_t free_pages() const { return limits_.pages - held_; }
  int64_t held_pages(SequenceId id) const;
  int64_t pages_for(int64_t positions) const;

 private:
  struct Sequence {
    int64_t known = 0, computed = 0, longest = 0, pages = 0;
    std::vector<int64_t> cuts;  // the next one last
    int priority = 0;
    std::string user;
    int64_t turn = kNoTurn;  // when it first joined
    bool running = false;
    bool decoding = false;  // all it knows was computed once since it runs: its next step is due
  };
  struct User {
    int64_t number = 0, served = 0, sequences = 0;  // served: tokens computed
  };
  static constexpr int64_t kNoTurn = -1;
  using Entry = std::map<SequenceId, Sequence>::iterator;
  static bool due(const Sequence& sequence);
  std::vector<Entry> running_in_turn() const;
  bool take_pages(Entry taker, int64_t positions, StepPlan* plan);
  static int64_t until_cut(const Sequence& sequence);
  void plan_slice(Entry entry, int64_t tokens, StepPlan* plan);
  void preempt(Entry entry, StepPlan* plan);
  int64_t room(Entry entry) const;
  void plan_decodes(StepPlan* plan);
  void reserve();
  Entry next_waiting(const std::set<SequenceId>& passed);
  void plan_prompts(StepPlan* plan);
  void admit(const CacheLookup& lookup, StepPlan* plan);
  bool start(Entry entry, const CacheLookup& lookup);

  SchedulerLimits limits_;
  std::map<SequenceId, Sequence> sequences_;
  std::map<int64_t, Entry> turns_;  // of those that joined; every running one is senior to every waiting one
  std::set<SequenceId> fresh_;      // those that did not yet
  std::map<std::string, User> users_;
  int64_t next_turn_ = 0, next_user_ = 0;
  int64_t overtakings_ = 0;  // of the oldest that did not yet join
  int64_t running_ = 0, held_ = 0;
  int64_t budget_ = 0, reserved_ = 0;  // of the step being planned: tokens left; pages that prompts will need
};

}  // namespace kinglet
