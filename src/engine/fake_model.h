// FakeModel: a StepModel for tests. Its "keys and values" are the tokens themselves, written into the KV pages; its
// logits are a hash of all tokens that it finds there. So a page lost, mixed up or not zeroed changes the answer. Its
// recurrent state is the count and the running hash of the tokens it saw: one that is lost, shared, stale or not zeroed
// fails the test.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "engine/step_model.h"

namespace kinglet {

struct FakeModelOptions {
  int64_t vocabulary = 50;
  int64_t context = 64;
  int64_t page_positions = 8;
  int64_t max_step_tokens = 16;
  bool recurrent = true;              // false: a model without a state
  bool drafts = false;                // true: positions may hold something else, which is written over: rejected
                                      // drafts, or the rest of a page that a prefix was copied from
  int32_t poison = -1;                // a token that makes all later logits NaN
  std::function<void()> before_step;  // on the engine thread
  // Overrides the logits; the history is prompt and answer so far.
  std::function<void(std::span<const int32_t> history, std::span<float> logits)> logits;
};

class FakeModel : public StepModel {
 public:
  explicit FakeModel(FakeModelOptions options) : options_(std::move(options)) {}

  int64_t vocabulary() const override { return options_.vocabulary; }
  int64_t context() const override { return options_.context; }
  int64_t page_positions() const override { return options_.page_positions; }
  uint64_t page_bytes() const override { return static_cast<uint64_t>(options_.page_positions) * sizeof(int32_t); }
  uint64_t state_bytes() const override { return options_.recurrent ? sizeof(State) : 0; }
  int64_t max_step_tokens() const override { return options_.max_step_tokens; }

  Compute compute() const override {
    static ThreadPool pool(1);
    return {&kernel_table(IsaLevel::kPortable), &pool};
  }

  std::span<const float> forward(std::span<const StepSlice> slices) override {
    if (options_.before_step) options_.before_step();
    logits_.clear();
    int64_t tokens = 0;
    for (const StepSlice& slice : slices) {
      tokens += static_cast<int64_t>(slice.tokens.size());
      run_slice(slice);
    }
    EXPECT_LE(tokens, options_.max_step_tokens);
    EXPECT_GT(tokens, 0);
    return logits_;
  }

  // What forward() would give after `history`.
  std::vector<float> logits_after(std::span<const int32_t> history) const {
    std::vector<float> row(static_cast<size_t>(options_.vocabulary));
    if (options_.logits) {
      options_.logits(history, row);
      return row;
    }
    const uint64_t hash = state_after(history).hash;
    const bool poisoned = std::find(history.begin(), history.end(), options_.poison) != history.end();
    for (size_t i = 0; i < row.size(); ++i) {
      uint64_t mixed = (hash + i) * 0x9E3779B97F4A7C15u;
      mixed = (mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9u;
      row[i] = static_cast<float>(mixed >> 40) / static_cast<float>(1 << 22) - 2.0f;
      if (poisoned) row[i] = std::numeric_limits<float>::quiet_NaN();
    }
    return row;
  }

 private:
  struct State {
    int64_t tokens = 0;
    uint64_t hash = 0;
    void add(int32_t token) {
      ++tokens;
      hash = (hash + static_cast<uint64_t>(token + 1)) * 1099511628211u;
    }
    bool operator==(const State&) const = default;
  };

  static State state_after(std::span<const int32_t> history) {
    State state;
    for (int32_t token : history) state.add(token);
    return state;
  }

  // What a recurrent layer does: reads the state that the step before left, and leaves the next.
  void advance_state(const StepSlice& slice, std::span<const int32_t> history) const {
    if (!options_.recurrent) {
      EXPECT_EQ(slice.state, nullptr);
      return;
    }
    ASSERT_NE(slice.state, nullptr);
    State state;
    std::memcpy(&state, slice.state, sizeof(State));
    EXPECT_EQ(state, state_after(history)) << "a state was lost, shared or not reset: it saw " << state.tokens
                                           << " tokens before position " << history.size();
    for (int32_t token : slice.tokens) state.add(token);
    std::memcpy(slice.state, &state, sizeof(State));
  }

  int32_t* place(const StepSlice& slice, int64_t position) const {
    const auto page = static_cast<size_t>(position / options_.page_positions);
    EXPECT_LT(page, slice.pages.size());
    return reinterpret_cast<int32_t*>(slice.pages[page]) + position % options_.page_positions;
  }

  void run_slice(const StepSlice& slice) {
    std::vector<int32_t> history;
    for (int64_t position = 0; position < slice.first_position; ++position) {
      const int32_t stored = *place(slice, position);
      EXPECT_GT(stored, 0) << "a position that was computed is gone";
      history.push_back(stored - 1);
    }
    advance_state(slice, history);
    for (size_t i = 0; i < slice.tokens.size(); ++i) {
      const int64_t position = slice.first_position + static_cast<int64_t>(i);
      EXPECT_GE(slice.tokens[i], 0);
      EXPECT_LT(slice.tokens[i], options_.vocabulary);
      EXPECT_LT(position, options_.context);
      if (!options_.drafts) {
        EXPECT_EQ(*place(slice, position), 0) << "a page was not zeroed, or belongs to someone else";
      }
      *place(slice, position) = slice.tokens[i] + 1;
      history.push_back(slice.tokens[i]);
      const bool last = i + static_cast<size_t>(slice.last_rows) >= slice.tokens.size();
      if (slice.logits == LogitRows::kAll || (slice.logits == LogitRows::kLast && last)) {
        const auto row = logits_after(history);
        logits_.insert(logits_.end(), row.begin(), row.end());
      }
    }
  }

  FakeModelOptions options_;
  std::vector<float> logits_;
};

}  // namespace kinglet
