#include "engine/score.h"

#include <algorithm>
#include <string>

#include "base/float_env.h"
#include "cache/block_pool.h"
#include "cache/state_pool.h"

namespace kinglet {

namespace {

constexpr int64_t kDefaultChunk = 64;

Error invalid(const std::string& message) {
  return Error{ErrorCode::kInvalid, message};
}

Status check_tokens(const StepModel& model, std::span<const int32_t> tokens, const ScoreOptions& options) {
  const auto count = static_cast<int64_t>(tokens.size());
  if (count == 0) return invalid("there are no tokens to score");
  if (count > model.context()) {
    return invalid(std::to_string(count) + " tokens are more than the context of " + std::to_string(model.context()));
  }
  if (options.chunk < 0 || options.chunk > model.max_step_tokens()) {
    return invalid("chunk is " + std::to_string(options.chunk) + "; expected 0 (a default) to " +
                   std::to_string(model.max_step_tokens()));
  }
  if (options.first_position < 0) return invalid("first_position is negative");
  for (int64_t i = 0; i < count; ++i) {
    const int32_t token = tokens[static_cast<size_t>(i)];
    if (token >= 0 && token < model.vocabulary()) continue;
    return invalid("token " + std::to_string(i) + " has id " + std::to_string(token) +
                   "; the model's vocabulary goes from 0 to " + std::to_string(model.vocabulary() - 1));
  }
  return {};
}

}  // namespace

Status score_tokens(StepModel& model, std::span<const int32_t> tokens, const ScoreOptions& options,
                    const std::function<Status(int64_t, std::span<const float>)>& row) {
  KL_RETURN_IF_ERROR(check_tokens(model, tokens, options));
  const FloatEnv float_env;
  const auto count = static_cast<int64_t>(tokens.size());
  const int64_t page_count = (count + model.page_positions() - 1) / model.page_positions();
  KL_TRY(BlockPool pool, BlockPool::create(model.page_bytes(), page_count));
  std::vector<std::byte*> pages;
  for (int64_t i = 0; i < page_count; ++i) {
    KL_TRY(const PageId page, pool.allocate());
    pages.push_back(pool.page_data(page));
  }
  KL_TRY(StatePool states, StatePool::create(model.state_bytes(), 1));
  std::byte* state = nullptr;
  if (states.state_bytes() > 0) {
    KL_TRY(const StateId id, states.allocate());
    state = states.data(id);
  }
  const int64_t chunk = options.chunk > 0 ? options.chunk : std::min(kDefaultChunk, model.max_step_tokens());
  const auto vocabulary = static_cast<size_t>(model.vocabulary());
  for (int64_t begin = 0; begin < count;) {
    const bool silent = begin < options.first_position;
    // Steps end where the reported rows begin, so that a step's rows are wanted all or not at all.
    const int64_t most = silent ? std::min(model.max_step_tokens(), options.first_position - begin) : chunk;
    const int64_t length = std::min(most, count - begin);
    StepSlice slice;
    slice.tokens = tokens.subspan(static_cast<size_t>(begin), static_cast<size_t>(length));
    slice.first_position = begin;
    slice.pages = pages;
    slice.state = state;
    slice.logits = silent ? LogitRows::kNone : LogitRows::kAll;
    const std::span<const float> logits = model.forward({&slice, 1});
    KL_RETURN_IF_ERROR(model.intact());
    for (int64_t i = 0; !silent && i < length; ++i) {
      KL_RETURN_IF_ERROR(row(begin + i, logits.subspan(static_cast<size_t>(i) * vocabulary, vocabulary)));
    }
    begin += length;
  }
  return {};
}

Result<std::vector<float>> token_logprobs(StepModel& model, std::span<const int32_t> tokens,
                                          const ScoreOptions& options) {
  std::vector<float> logprobs;
  const Compute compute = model.compute();
  const auto count = static_cast<int64_t>(tokens.size());
  KL_RETURN_IF_ERROR(
      score_tokens(model, tokens, options, [&](int64_t position, std::span<const float> logits) -> Status {
        if (position + 1 == count) return {};
        const auto next = static_cast<size_t>(tokens[static_cast<size_t>(position + 1)]);
        const float all = log_sum_exp(compute, logits.data(), static_cast<int64_t>(logits.size()));
        logprobs.push_back(logits[next] - all);
        return {};
      }));
  return logprobs;
}

}  // namespace kinglet
