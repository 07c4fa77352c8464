// EngineThread: what the engine's one thread does: takes submissions, plans a step, runs it, hands out events. Owns
// model, pages, states and scheduler. Internal to this folder.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "cache/block_pool.h"
#include "cache/state_pool.h"
#include "engine/chunk_policy.h"
#include "engine/generation.h"
#include "engine/prefix_cache.h"
#include "engine/scheduler.h"
#include "engine/speculation.h"
#include "engine/step_model.h"

namespace kinglet {

class EngineThread {
 public:
  EngineThread(std::unique_ptr<StepModel> model, BlockPool pages, StatePool states, const SchedulerLimits& limits,
               const PrefixCacheLimits& caching, const SpeculationOptions& speculation,
               std::shared_ptr<Mailbox> mailbox);

  // Works until the mailbox says stop, or is closed and nothing is left to do.
  void run();

  const StepModel& model() const { return *model_; }

 private:
  struct Running {
    std::unique_ptr<Sequence> sequence;
    std::shared_ptr<Ticket> ticket;
  };
  using Entry = std::map<SequenceId, Running>::iterator;

  // What the mailbox held; waits for something to do. False when the thread is to end.
  bool take_mail(std::vector<Submission>* submissions, bool* cancelled);
  void join(std::vector<Submission> submissions);
  void drop_cancelled();
  void drop_late();
  void record(const StepPlan& plan, double seconds);
  CachedStart begin(SequenceId id);
  void step();
  void prepare(StepPlan* plan);
  Status take_memory(Sequence& sequence, int64_t pages);
  bool only_decodes(const StepPlan& plan) const;
  void add_drafts(StepPlan* plan);
  bool place_drafts(StepPlan* plan, size_t index, std::span<const int32_t> draft);
  std::span<const float> forward(const StepPlan& plan);
  void choose(const StepPlan& plan, std::span<const float> logits);
  int64_t choose_for(const PlannedSlice& planned, std::span<const int32_t> drafts, std::span<const float> logits);
  void settle(const PlannedSlice& planned, int64_t accepted, Sequence& sequence);
  void share(const StepPlan& plan);
  void finish(Entry entry, Event event);
  void cancel_all();
  void fail_all(const Error& error);
  void publish();

  std::unique_ptr<StepModel> model_;
  BlockPool pages_;
  StatePool states_;
  PrefixCache cache_;
  Scheduler scheduler_;
  std::shared_ptr<Mailbox> mailbox_;
  std::map<SequenceId, Running> running_;  // and waiting: all that joined and did not finish
  Speculation speculation_;
  ChunkPolicy chunks_;
  int64_t decodes_ = 0;                                 // in the last step: those that wait for the next one
  std::map<SequenceId, std::vector<int32_t>> drafted_;  // of this step: a slice's known tokens, then its drafts
  SamplingScratch scratch_;
  EngineStats stats_;
  int64_t newly_finished_ = 0;  // not yet told to the mailbox
};

}  // namespace kinglet
