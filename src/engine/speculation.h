// Speculation: the engine thread's drafts: where they come from, how long they are, what became of them. It chooses
// between lookup and drafter and keeps the policy's books; verifying is the engine's step. Internal to this folder.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "engine/draft_policy.h"
#include "engine/drafter.h"
#include "engine/engine.h"
#include "engine/lookup_index.h"

namespace kinglet {

class Speculation {
 public:
  // `repeats`: sequences have states that rejected drafts leave traces in, so that what was accepted is computed again.
  Speculation(SpeculationOptions options, bool repeats) : options_(std::move(options)), repeats_(repeats) {}

  bool on() const { return options_.on(); }

  // Of all sequences of a step that decodes and does nothing else: fills the drafts, each up to `most` and the options'
  // limit, as far as they are thought to pay.
  void draft(std::span<DraftTask> tasks);
  // What became of a draft of the last draft(); `drafted`: as many of its tokens as went into the step.
  void judged(SequenceId id, int64_t drafted, int64_t accepted);
  // The step, with the time since `draft` was called; by_model is filled in here.
  void record(DecodeStep step);
  // As Drafter::observe, of every step.
  void observe(std::span<const SequenceId> ids, std::span<const StepSlice> slices, std::span<const float> states) {
    if (options_.drafter) options_.drafter->observe(ids, slices, states);
  }
  void forget(SequenceId id);

 private:
  struct Source {
    LookupIndex index;
    DraftOdds odds;
    DraftReason reason = DraftReason::kPair;  // of the last draft
    void draft(DraftTask* task, int64_t length);
  };
  std::vector<DraftOffer> offers(std::span<const DraftTask> tasks, bool with_drafter, std::vector<bool>* by_drafter);
  void fill(std::span<DraftTask> tasks, const std::vector<int64_t>& lengths, const std::vector<bool>& by_drafter);

  SpeculationOptions options_;
  bool repeats_;
  DraftPolicy policy_;
  std::map<SequenceId, Source> sources_;
  bool used_drafter_ = false;  // in the last draft()
  bool caught_up_ = false;     // and the drafter had more to read than a draft and what followed it
};

}  // namespace kinglet
