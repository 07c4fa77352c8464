// Runs token sequences through a Model and keeps every position's logits: what the engine does, without its scheduler,
// so that a test decides how a prompt is cut and what stands beside it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/memory.h"
#include "nn/model.h"

namespace kinglet::test {

// A sequence with KV pages and a recurrent state of its own.
class SequenceRun {
 public:
  SequenceRun(const Model& model, std::vector<int32_t> tokens);

  // The next `count` tokens, or what is left of them, as a slice of a step; empty when all are done.
  StepSlice next(size_t count);
  bool done() const { return position_ == tokens_.size(); }
  void keep(std::span<const float> logits) { logits_.insert(logits_.end(), logits.begin(), logits.end()); }
  const std::vector<float>& logits() const { return logits_; }  // [tokens so far][vocabulary]

 private:
  std::vector<int32_t> tokens_;
  size_t position_ = 0;
  AlignedBuffer memory_;
  std::vector<std::byte*> pages_;
  AlignedBuffer state_;
  std::vector<float> logits_;
};

// One step with one slice of each sequence that has tokens left; `counts[i]` tokens of sequence i. The logits of all
// rows are kept.
void step(Model& model, std::span<SequenceRun* const> sequences, std::span<const size_t> counts);

// All logits of one sequence alone, in chunks of `chunk` tokens.
std::vector<float> run_alone(Model& model, std::span<const int32_t> tokens, size_t chunk);

}  // namespace kinglet::test
