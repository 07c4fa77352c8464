#include "tests/support/runner.h"

#include <algorithm>

#include "base/check.h"

namespace kinglet::test {

SequenceRun::SequenceRun(const Model& model, std::vector<int32_t> tokens) : tokens_(std::move(tokens)) {
  const size_t positions = static_cast<size_t>(model.options().page_positions);
  const size_t count = (tokens_.size() + positions - 1) / positions;
  const size_t bytes = model.plan().page_bytes;
  auto memory = AlignedBuffer::allocate(count * bytes);
  KL_CHECK(memory.ok(), "no memory for the pages of a test");
  memory_ = std::move(memory).value();
  auto state = AlignedBuffer::allocate(model.state_bytes());
  KL_CHECK(state.ok(), "no memory for the state of a test");
  state_ = std::move(state).value();
  // Last page first: nothing may depend on pages following each other in memory.
  for (size_t i = 0; i < count; i++) pages_.push_back(memory_.data() + (count - 1 - i) * bytes);
}

StepSlice SequenceRun::next(size_t count) {
  count = std::min(count, tokens_.size() - position_);
  StepSlice slice;
  slice.tokens = std::span(tokens_).subspan(position_, count);
  slice.first_position = static_cast<int64_t>(position_);
  slice.pages = pages_;
  slice.state = state_.size() > 0 ? state_.data() : nullptr;
  slice.logits = LogitRows::kAll;
  position_ += count;
  return slice;
}

void step(Model& model, std::span<SequenceRun* const> sequences, std::span<const size_t> counts) {
  std::vector<StepSlice> slices;
  std::vector<SequenceRun*> owners;
  for (size_t i = 0; i < sequences.size(); i++) {
    if (sequences[i]->done() || counts[i] == 0) continue;
    slices.push_back(sequences[i]->next(counts[i]));
    owners.push_back(sequences[i]);
  }
  if (slices.empty()) return;
  std::span<const float> logits = model.forward(slices);
  const size_t vocabulary = static_cast<size_t>(model.spec().vocabulary);
  for (size_t i = 0; i < slices.size(); i++) {
    const size_t floats = slices[i].tokens.size() * vocabulary;
    KL_CHECK(logits.size() >= floats, "fewer logits than asked for");
    owners[i]->keep(logits.first(floats));
    logits = logits.subspan(floats);
  }
  KL_CHECK(logits.empty(), "more logits than asked for");
}

std::vector<float> run_alone(Model& model, std::span<const int32_t> tokens, size_t chunk) {
  SequenceRun run(model, {tokens.begin(), tokens.end()});
  SequenceRun* const runs[] = {&run};
  const size_t counts[] = {std::min(chunk, static_cast<size_t>(Model::kMaxStepTokens))};
  while (!run.done()) step(model, runs, counts);
  return run.logits();
}

}  // namespace kinglet::test
