// Drafter: what guesses the next tokens of sequences, by whatever means. Its guesses are judged by the engine's own
// model, so that a bad one costs time and nothing else. Called from the engine thread alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/scheduler.h"
#include "nn/model.h"

namespace kinglet {

// A sequence whose next tokens are asked for.
struct DraftTask {
  SequenceId id = 0;
  std::span<const int32_t> tokens;  // all known ones
  int64_t most = 0;                 // tokens wanted
  std::vector<int32_t> draft;       // the answer: up to `most` tokens of the vocabulary
  int64_t caught_up = 0;            // tokens of the text that the drafter had to take in first
};

class Drafter {
 public:
  virtual ~Drafter() = default;
  virtual void draft(std::span<DraftTask> tasks) = 0;
  // A step of the engine's model, drafts in it included, and the states of its tokens, where the model keeps them.
  virtual void observe(std::span<const SequenceId> /*ids*/, std::span<const StepSlice> /*slices*/,
                       std::span<const float> /*states*/) {}
  // The sequence is over.
  virtual void forget(SequenceId id) = 0;
};

}  // namespace kinglet
