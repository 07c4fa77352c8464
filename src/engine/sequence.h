// Sequence: a request while the engine works on it: its tokens, its pages and state, and what has to be done to choose
// the next token and to turn it into an event. Used by the engine thread alone. Internal to this folder.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cache/page_list.h"
#include "cache/prefix_tree.h"
#include "cache/state_pool.h"
#include "engine/request.h"
#include "engine/stop_matcher.h"
#include "sampling/sampler.h"
#include "text/detokenizer.h"
#include "text/reasoning.h"
#include "text/tokenizer.h"

namespace kinglet {

// Where a sequence's text stands in the prefix tree, and how much of it is there.
struct CachedText {
  PrefixTree::Place place;
  int64_t computed = 0;  // tokens whose positions in the pages are final, and which the state has seen
  int64_t branch = 0;    // tokens of its beginning that some other text shares, in full pages
};

class Sequence {
 public:
  using Clock = std::chrono::steady_clock;

  // `request` is checked, its max_tokens what the context allows. `tokenizer` may be null: no text then.
  Sequence(Request request, std::shared_ptr<const Tokenizer> tokenizer, uint64_t seed, Clock::time_point submitted);

  std::span<const int32_t> tokens() const { return tokens_; }  // prompt and answer so far
  int64_t preemptions() const { return stats_.preemptions; }
  int64_t prompt_tokens() const { return stats_.prompt_tokens; }
  int64_t longest() const { return stats_.prompt_tokens + request_.max_tokens - 1; }  // that need a place in the cache

  // Brings the list of pages to `count`. kResource when the system refuses memory.
  Status grow_pages(BlockPool& pool, int64_t count);
  // Takes a state of zeros, unless the sequence has one or the pool's states have no bytes. Errors as grow_pages().
  Status take_state(StatePool& pool);
  // Gives pages and state back: what was computed is forgotten.
  void release_memory(BlockPool& pages, StatePool& states);
  std::span<std::byte* const> page_data() const { return pages_.data(); }
  std::byte* state_data() const { return state_data_; }  // null: none

  // For the prefix cache.
  const Request& request() const { return request_; }
  PageList& pages() { return pages_; }
  CachedText& cached() { return cached_; }
  const CachedText& cached() const { return cached_; }
  StateId state() const { return state_; }
  void set_state(StatePool& pool, StateId from) { pool.restore(state_, from); }

  // Keeps a copy of the state, for restore_state(). Nothing where there is no state. Errors as grow_pages().
  Status keep_state(StatePool& pool);
  void restore_state(StatePool& pool) { pool.restore(state_, kept_state_); }

  // Its queue_limit has passed before its first step.
  bool is_late(Clock::time_point now) const {
    return request_.queue_limit && stats_.started_seconds < 0.0 && now - submitted_ > *request_.queue_limit;
  }
  void mark_started();
  void mark_cached(int64_t tokens);  // that it begins with, once
  void mark_drafted(int64_t tokens) { stats_.drafted_tokens += tokens; }
  void mark_preempted() { ++stats_.preemptions; }

  // Chooses the next token from logits [vocabulary]. The event has `finish` when it was the last one. `draft`: what was
  // thought to come, for the statistics.
  Event choose(const Compute& compute, SamplingScratch& scratch, std::span<const float> logits,
               int32_t draft = kNoDraft);
  static constexpr int32_t kNoDraft = -1;

  // The last event of a sequence that ends without a token.
  Event end(FinishReason reason, std::optional<Error> error = {});

 private:
  bool is_stop_token(int32_t token) const;
  std::string detokenize(int32_t token);
  void put_text(const std::string& text, Event* event);
  void put_piece(const ReasoningPiece& piece, Event* event);
  void flush_text(Event* event);
  Result<SampledToken> next_token(const Compute& compute, SamplingScratch& scratch, std::span<const float> logits);
  std::optional<FinishInfo> finish_after(int32_t token, Event* event);
  FinishInfo info(FinishReason reason) const;
  double seconds() const;

  Request request_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<int32_t> tokens_;
  Sampler sampler_;
  std::optional<GrammarState> grammar_;
  std::optional<StreamingDetokenizer> detokenizer_;
  std::optional<ReasoningSplitter> splitter_;
  StopMatcher stops_;
  PageList pages_;
  CachedText cached_;
  StateId state_ = kNoState, kept_state_ = kNoState;
  std::byte* state_data_ = nullptr;
  RequestStats stats_;
  Clock::time_point submitted_;
};

}  // namespace kinglet
