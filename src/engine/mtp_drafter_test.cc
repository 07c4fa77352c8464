#include "engine/mtp_drafter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "engine/step_model.h"

namespace kinglet {
namespace {

constexpr int64_t kVocabulary = 40, kWidth = 3;

// What a state of the fake models says: whose it is, of which position and of which token there.
struct Mark {
  float id = 0, position = 0, token = 0;
  bool operator==(const Mark&) const = default;
};

// An entry of a prediction layer: a state, and the token behind its position.
struct Entry {
  Mark state;
  int32_t token = 0;
};

int32_t guess(std::span<const Entry> entries) {
  uint64_t hash = 0;
  for (const Entry& e : entries)
    hash = (hash + static_cast<uint64_t>(e.token) * 64 + static_cast<uint64_t>(e.state.position)) * 1099511628211u;
  return static_cast<int32_t>((hash >> 20) % kVocabulary);
}

// A prediction layer whose cache holds its entries themselves: each must go on where the one before ended, in the same
// text. Its guess depends on all of them.
class FakePredictor final : public StepModel {
 public:
  FakePredictor(int64_t context, int64_t* tokens) : context_(context), tokens_(tokens) {}
  int64_t vocabulary() const override { return kVocabulary; }
  int64_t context() const override { return context_; }
  int64_t page_positions() const override { return 8; }
  uint64_t page_bytes() const override { return 8 * sizeof(Entry); }
  uint64_t state_bytes() const override { return 0; }
  int64_t max_step_tokens() const override { return 7; }
  std::span<const float> last_states() const override { return states_; }
  Compute compute() const override {
    static ThreadPool pool(1);
    return {&kernel_table(IsaLevel::kPortable), &pool};
  }

  std::span<const float> forward(std::span<const StepSlice> slices) override {
    logits_.clear();
    states_.clear();
    int64_t tokens = 0;
    for (const StepSlice& slice : slices) {
      tokens += std::ssize(slice.tokens);
      run(slice);
    }
    EXPECT_GT(tokens, 0);
    EXPECT_LE(tokens, max_step_tokens());
    *tokens_ += tokens;
    return logits_;
  }

 private:
  static Entry* place(const StepSlice& slice, int64_t entry) {
    EXPECT_LT(entry / 8, std::ssize(slice.pages));
    return reinterpret_cast<Entry*>(slice.pages[static_cast<size_t>(entry / 8)]) + entry % 8;
  }

  void run(const StepSlice& slice) {
    std::vector<Entry> entries(static_cast<size_t>(slice.first_position));
    for (size_t i = 0; i < entries.size(); ++i) entries[i] = *place(slice, static_cast<int64_t>(i));
    ASSERT_EQ(slice.states.size(), slice.tokens.size() * kWidth);
    for (size_t i = 0; i < slice.tokens.size(); ++i) {
      Entry entry;
      const float* state = slice.states.data() + i * kWidth;
      entry.state = {state[0], state[1], state[2]};
      entry.token = slice.tokens[i];
      EXPECT_LT(std::ssize(entries), context_);
      *place(slice, std::ssize(entries)) = entry;
      entries.push_back(entry);
      states_.insert(states_.end(), {entry.state.id, entry.state.position + 1, static_cast<float>(entry.token)});
    }
    for (size_t i = 1; i < entries.size(); ++i) {
      const Entry& before = entries[i - 1];
      const Mark expected = {before.state.id, before.state.position + 1, static_cast<float>(before.token)};
      ASSERT_EQ(entries[i].state, expected) << "entry " << i << ": its state is not that behind the entry before";
    }
    if (slice.logits == LogitRows::kNone) return;
    logits_.resize(logits_.size() + kVocabulary);
    logits_[logits_.size() - kVocabulary + static_cast<size_t>(guess(entries))] = 1;
  }

  int64_t context_;
  int64_t* tokens_;
  std::vector<float> logits_, states_;
};

struct Text {
  std::vector<int32_t> tokens;      // all known ones
  int64_t begin = 0, computed = 0;  // positions that the drafter saw, the last of them right
};

class MtpDrafting : public testing::Test {
 protected:
  void make(int64_t context, int64_t pages) {
    auto made = MtpDrafter::create(std::make_unique<FakePredictor>(context, &taken_in_), kWidth, pages);
    ASSERT_TRUE(made.ok());
    drafter_ = std::move(made).value();
  }

  int32_t any() { return static_cast<int32_t>(random_() % kVocabulary); }

  // A step of the engine's model: positions from `first` on up to the last known one, and drafts behind it.
  void step(SequenceId id, Text& text, int64_t first, int64_t end, std::span<const int32_t> drafts) {
    std::vector<int32_t> tokens(text.tokens.begin() + first, text.tokens.begin() + end);
    tokens.insert(tokens.end(), drafts.begin(), drafts.end());
    std::vector<float> states;
    for (size_t i = 0; i < tokens.size(); ++i) {
      states.insert(states.end(), {static_cast<float>(id), static_cast<float>(first + static_cast<int64_t>(i)),
                                   static_cast<float>(tokens[i])});
    }
    StepSlice slice;
    slice.tokens = tokens;
    slice.first_position = first;
    slice.logits = end == std::ssize(text.tokens) ? LogitRows::kLast : LogitRows::kNone;
    slice.last_rows = 1 + std::ssize(drafts);
    drafter_->observe({&id, 1}, {&slice, 1}, states);
    if (first > text.computed || first < text.begin) text.begin = first;
    text.computed = end;
  }

  std::vector<int32_t> draft(SequenceId id, const Text& text, int64_t most) {
    DraftTask task;
    task.id = id;
    task.tokens = text.tokens;
    task.most = most;
    drafter_->draft({&task, 1});
    return task.draft;
  }

  // What the layer says of the text from `begin` on.
  static std::vector<int32_t> expected(SequenceId id, const Text& text, int64_t most) {
    std::vector<int32_t> tokens = text.tokens;
    std::vector<Entry> entries;
    std::vector<int32_t> said;
    for (int64_t p = text.begin; std::ssize(said) < most; ++p) {
      const auto at = static_cast<size_t>(p);
      entries.push_back(
          {{static_cast<float>(id), static_cast<float>(p), static_cast<float>(tokens[at])}, tokens[at + 1]});
      if (p + 2 < std::ssize(tokens)) continue;
      said.push_back(guess(entries));
      tokens.push_back(said.back());
    }
    return said;
  }

  std::mt19937 random_{11};
  int64_t taken_in_ = 0;
  std::unique_ptr<MtpDrafter> drafter_;
};

// Prompts in chunks, drafts that hold or don't, steps that go back, texts that begin behind what a cache held.
TEST_F(MtpDrafting, SaysWhatTheLayerSaysOfAllThatItSaw) {
  make(200, 100);
  std::vector<Text> texts(3);
  int64_t drafted = 0, gaps = 0;
  for (int round = 0; round < 6000; ++round) {
    const SequenceId id = random_() % texts.size();
    Text& text = texts[id];
    if (text.tokens.empty() || std::ssize(text.tokens) > 150) {
      drafter_->forget(id);
      text = {};
      for (uint64_t i = 2 + random_() % 90; i > 0; --i) text.tokens.push_back(any());
    }
    int64_t first = text.computed;
    const int64_t known = std::ssize(text.tokens);
    if (random_() % 10 == 0)
      first = static_cast<int64_t>(random_() % static_cast<uint64_t>(known));  // a cache, or back
    gaps += first > text.computed ? 1 : 0;
    const bool ready = first + 1 == known && text.computed + 1 == known && text.computed > text.begin;
    if (!ready || random_() % 3 == 0) {  // without drafts
      const auto left = static_cast<uint64_t>(known - first);
      step(id, text, first, first + 1 + static_cast<int64_t>(random_() % left), {});
      if (text.computed == known) text.tokens.push_back(any());
      continue;
    }
    const auto most = static_cast<int64_t>(1 + random_() % 5);
    const auto drafts = draft(id, text, most);
    ASSERT_EQ(drafts, expected(id, text, most)) << "round " << round;
    ++drafted;
    step(id, text, first, known, drafts);
    const size_t held = random_() % (drafts.size() + 1);
    text.tokens.insert(text.tokens.end(), drafts.begin(), drafts.begin() + static_cast<std::ptrdiff_t>(held));
    text.computed += static_cast<int64_t>(held);
    text.tokens.push_back(any());
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(drafted, 500);
  EXPECT_GT(gaps, 30);
}

// Where nobody asks for drafts the layer takes in much at once: of a prompt all, of an answer as much as it keeps.
TEST_F(MtpDrafting, TakesInWhatWaits) {
  make(400, 100);
  Text text;
  for (int i = 0; i < 100; ++i) text.tokens.push_back(any());
  step(0, text, 0, 100, {});
  EXPECT_EQ(taken_in_, 99);
  int64_t most = 0;
  for (int i = 0; i < 200; ++i) {
    const int64_t before = taken_in_;
    text.tokens.push_back(any());
    step(0, text, text.computed, text.computed + 1, {});
    most = std::max(most, text.computed - 1 - taken_in_);
    EXPECT_TRUE(taken_in_ == before || taken_in_ - before > 32);
  }
  EXPECT_GT(most, 32);
  EXPECT_LE(most, 64);
  text.tokens.push_back(any());
  EXPECT_EQ(draft(0, text, 3), expected(0, text, 3));
  EXPECT_EQ(taken_in_, 300 + 2);
}

// No pages left, or the end of the context: no drafts, and nothing is lost for others.
TEST_F(MtpDrafting, EndsAtItsMemoryAndItsContext) {
  make(48, 6);
  const auto prompt = [&](SequenceId id, Text& text, int64_t count) {
    for (int64_t i = 0; i < count; ++i) text.tokens.push_back(any());
    step(id, text, 0, count, {});
    text.tokens.push_back(any());
  };
  Text first, second, third, fourth;
  prompt(1, first, 40);  // 5 of 6 pages
  EXPECT_EQ(draft(1, first, 1), expected(1, first, 1));
  prompt(2, second, 20);
  EXPECT_TRUE(draft(2, second, 3).empty());
  drafter_->forget(1);
  EXPECT_EQ(draft(2, second, 3), expected(2, second, 3));
  drafter_->forget(2);
  prompt(3, third, 46);
  EXPECT_EQ(draft(3, third, 9), expected(3, third, 3));  // entries 45, 46 and 47
  step(3, third, 46, 47, {});
  for (int i = 0; i < 4; ++i) {
    third.tokens.push_back(any());
    step(3, third, third.computed, third.computed + 1, {});
  }
  third.tokens.push_back(any());
  EXPECT_TRUE(draft(3, third, 1).empty());
  drafter_->forget(3);
  prompt(4, fourth, 70);  // more than waits, and more than fits
  EXPECT_TRUE(draft(4, fourth, 3).empty());
  step(4, fourth, 70, 71, {});
  fourth.tokens.push_back(any());
  fourth.begin = 70;
  EXPECT_EQ(draft(4, fourth, 3), expected(4, fourth, 3));  // of what it saw since
}

}  // namespace
}  // namespace kinglet
