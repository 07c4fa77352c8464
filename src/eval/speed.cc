#include "eval/speed.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/memory.h"

namespace kinglet {
namespace {

using Clock = std::chrono::steady_clock;

// Any tokens do, as long as they differ: embedding rows are read from memory as in real use.
int32_t token_at(const StepModel& model, int64_t sequence, int64_t position) {
  const uint64_t mixed =
      (static_cast<uint64_t>(position) * 0x9E3779B97F4A7C15u) ^ (static_cast<uint64_t>(sequence) * 0xC2B2AE3D27D4EB4Fu);
  return static_cast<int32_t>((mixed >> 20) % static_cast<uint64_t>(model.vocabulary()));
}

// The sequences of a test, their pages and recurrent states.
class Sequences {
 public:
  static Result<Sequences> create(StepModel& model, const SpeedTest& test) {
    Sequences s(model, test);
    const int64_t length = test.depth + test.tokens;
    if (length > model.context())
      return Error{ErrorCode::kInvalid, test.name() + " at depth " + std::to_string(test.depth) +
                                            " needs a context of " + std::to_string(length) +
                                            " tokens, the model has " + std::to_string(model.context())};
    const auto pages = static_cast<size_t>((length + model.page_positions() - 1) / model.page_positions());
    for (int64_t i = 0; i < test.batch; i++) {
      KL_TRY(AlignedBuffer buffer, AlignedBuffer::allocate(pages * model.page_bytes()));
      std::vector<std::byte*> list;
      for (size_t p = 0; p < pages; p++) list.push_back(buffer.data() + p * model.page_bytes());
      s.buffers_.push_back(std::move(buffer));
      s.pages_.push_back(std::move(list));
      KL_TRY(AlignedBuffer state, AlignedBuffer::allocate(model.state_bytes()));
      s.states_.push_back(std::move(state));
    }
    KL_TRY(s.state_at_depth_, AlignedBuffer::allocate(model.state_bytes()));
    return s;
  }

  // Computes the cache up to the depth, once, and copies it to the other sequences.
  Status fill(const std::function<bool()>& keep_going) {
    for (int64_t at = 0; at < test_.depth;) {
      if (!keep_going()) return Error{ErrorCode::kCancelled, "interrupted"};
      const int64_t count = std::min(test_.depth - at, model_.max_step_tokens());
      step(0, 1, at, count);
      at += count;
    }
    for (size_t i = 1; i < buffers_.size() && test_.depth > 0; i++)
      std::memcpy(buffers_[i].data(), buffers_[0].data(), buffers_[0].size());
    if (model_.state_bytes() > 0) std::memcpy(state_at_depth_.data(), states_[0].data(), model_.state_bytes());
    return {};
  }

  // One repetition: seconds it took.
  Result<double> run(const std::function<bool()>& keep_going) {
    // A repetition writes over the pages of the one before, but its states have to be set back.
    for (const AlignedBuffer& state : states_)
      if (state.size() > 0) std::memcpy(state.data(), state_at_depth_.data(), state.size());
    const Clock::time_point start = Clock::now();
    const int64_t batch = test_.batch;
    if (test_.kind == SpeedTest::Kind::kGeneration) {
      for (int64_t i = 0; i < test_.tokens; i++) {
        if (!keep_going()) return Error{ErrorCode::kCancelled, "interrupted"};
        step(0, batch, test_.depth + i, 1);
      }
    } else {
      // Prompts share a step while they fit into one, else they go one after the other in chunks.
      const int64_t limit = model_.max_step_tokens(), together = std::clamp<int64_t>(limit / test_.tokens, 1, batch);
      for (int64_t first = 0; first < batch; first += together)
        for (int64_t at = 0; at < test_.tokens; at += limit) {
          if (!keep_going()) return Error{ErrorCode::kCancelled, "interrupted"};
          step(first, std::min(together, batch - first), test_.depth + at, std::min(limit, test_.tokens - at));
        }
    }
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

 private:
  Sequences(StepModel& model, const SpeedTest& test) : model_(model), test_(test) {}

  void step(int64_t first, int64_t count, int64_t position, int64_t tokens) {
    tokens_.clear();
    for (int64_t s = 0; s < count; s++)
      for (int64_t t = 0; t < tokens; t++) tokens_.push_back(token_at(model_, first + s, position + t));
    slices_.clear();
    for (int64_t s = 0; s < count; s++)
      slices_.push_back({std::span(tokens_).subspan(static_cast<size_t>(s * tokens), static_cast<size_t>(tokens)),
                         position, pages_[static_cast<size_t>(first + s)], LogitRows::kLast,
                         state_of(static_cast<size_t>(first + s))});
    model_.forward(slices_);
  }

  std::byte* state_of(size_t sequence) const { return model_.state_bytes() > 0 ? states_[sequence].data() : nullptr; }

  StepModel& model_;
  SpeedTest test_;
  std::vector<AlignedBuffer> buffers_;
  std::vector<std::vector<std::byte*>> pages_;
  std::vector<AlignedBuffer> states_;
  AlignedBuffer state_at_depth_;
  std::vector<int32_t> tokens_;
  std::vector<StepSlice> slices_;
};

}  // namespace

std::string SpeedTest::name() const {
  return (kind == Kind::kPrompt ? "pp" : "tg") + std::to_string(tokens);
}

Result<SpeedResult> measure_speed(StepModel& model, const SpeedTest& test, int repetitions,
                                  const std::function<bool()>& keep_going) {
  if (test.batch > model.max_step_tokens())
    return Error{ErrorCode::kInvalid, "batch " + std::to_string(test.batch) + ": expected at most " +
                                          std::to_string(model.max_step_tokens()) + " sequences"};
  KL_TRY(Sequences sequences, Sequences::create(model, test));
  KL_RETURN_IF_ERROR(sequences.fill(keep_going));
  std::vector<double> speeds;
  for (int i = 0; i <= repetitions; i++) {
    KL_TRY(const double seconds, sequences.run(keep_going));
    if (i > 0) speeds.push_back(static_cast<double>(test.tokens * test.batch) / seconds);
  }
  std::sort(speeds.begin(), speeds.end());
  const size_t n = speeds.size();
  const double median = n % 2 ? speeds[n / 2] : (speeds[n / 2 - 1] + speeds[n / 2]) / 2.0;
  return SpeedResult{test, median, speeds.front(), speeds.back()};
}

}  // namespace kinglet
