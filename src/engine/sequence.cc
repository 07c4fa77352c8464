#include "engine/sequence.h"

#include <algorithm>
#include <utility>

namespace kinglet {

Sequence::Sequence(Request request, std::shared_ptr<const Tokenizer> tokenizer, uint64_t seed,
                   Clock::time_point submitted)
    : request_(std::move(request)),
      tokenizer_(std::move(tokenizer)),
      tokens_(request_.prompt),
      sampler_(request_.sampling, seed, request_.prompt),
      stops_(request_.stop),
      submitted_(submitted) {
  if (request_.grammar) grammar_.emplace(request_.grammar);
  if (tokenizer_) detokenizer_.emplace(tokenizer_, request_.skip_special);
  if (request_.thinking) splitter_.emplace(request_.thinking->markers, request_.thinking->open);
  stats_.prompt_tokens = static_cast<int64_t>(tokens_.size());
  stats_.seed = sampler_.seed();
}

Status Sequence::grow_pages(BlockPool& pool, int64_t count) {
  return pages_.grow(pool, count);
}

Status Sequence::take_state(StatePool& pool) {
  if (state_ != kNoState || pool.state_bytes() == 0) return {};
  KL_TRY(state_, pool.allocate());
  state_data_ = pool.data(state_);
  return {};
}

Status Sequence::keep_state(StatePool& pool) {
  if (state_ == kNoState) return {};
  if (kept_state_ == kNoState) {
    KL_TRY(kept_state_, pool.clone(state_));
    return {};
  }
  pool.restore(kept_state_, state_);
  return {};
}

void Sequence::release_memory(BlockPool& pages, StatePool& states) {
  pages_.release(pages);
  if (state_ != kNoState) states.release(state_);
  if (kept_state_ != kNoState) states.release(kept_state_);
  state_ = kept_state_ = kNoState;
  state_data_ = nullptr;
  cached_ = {};
}

double Sequence::seconds() const {
  return std::chrono::duration<double>(Clock::now() - submitted_).count();
}

void Sequence::mark_started() {
  if (stats_.started_seconds < 0.0) stats_.started_seconds = seconds();
}

// What a sequence finds when it comes back after a preemption, it computed itself.
void Sequence::mark_cached(int64_t tokens) {
  if (stats_.started_seconds < 0.0) stats_.cached_tokens = std::min(tokens, stats_.prompt_tokens);
}

bool Sequence::is_stop_token(int32_t token) const {
  const auto& stops = request_.stop_tokens;
  if (std::find(stops.begin(), stops.end(), token) != stops.end()) return true;
  return !request_.ignore_eos && tokenizer_ && tokenizer_->is_end_of_generation(token);
}

// Special tokens leave no text, except those that set the thinking off, and those that the request asks for.
std::string Sequence::detokenize(int32_t token) {
  if (!detokenizer_) return "";
  const std::string_view spelling = tokenizer_->token_text(token);
  const auto& visible = request_.visible_special;
  const bool marker =
      tokenizer_->is_special(token) && ((request_.thinking && request_.thinking->markers.mention(spelling)) ||
                                        std::find(visible.begin(), visible.end(), token) != visible.end());
  return marker ? detokenizer_->finish() + std::string(spelling) : detokenizer_->push(token);
}

void Sequence::put_piece(const ReasoningPiece& piece, Event* event) {
  event->reasoning += piece.reasoning;
  event->text += stops_.push(piece.answer);
}

void Sequence::put_text(const std::string& text, Event* event) {
  if (!splitter_) return put_piece({"", text}, event);
  const bool outside_grammar = grammar_ && splitter_->inside();
  ReasoningPiece piece = splitter_->push(text);
  if (outside_grammar) piece.answer.clear();  // the rest of a token that ended the thinking
  put_piece(piece, event);
}

// Everything that was held back, at the end.
void Sequence::flush_text(Event* event) {
  if (detokenizer_) put_text(detokenizer_->finish(), event);
  if (splitter_) put_piece(splitter_->finish(), event);
  event->text += stops_.finish();
}

Result<SampledToken> Sequence::next_token(const Compute& compute, SamplingScratch& scratch,
                                          std::span<const float> logits) {
  std::span<const uint32_t> mask;
  const bool ruled = grammar_ && !(splitter_ && splitter_->inside());
  if (ruled) {
    KL_TRY(mask, grammar_->mask());
  }
  KL_TRY(SampledToken sampled, sampler_.sample(compute, scratch, logits, static_cast<int64_t>(tokens_.size()), mask));
  if (ruled) KL_RETURN_IF_ERROR(grammar_->commit(sampled.token));
  sampler_.accept(sampled.token);
  return sampled;
}

Event Sequence::choose(const Compute& compute, SamplingScratch& scratch, std::span<const float> logits, int32_t draft) {
  auto sampled = next_token(compute, scratch, logits);
  if (!sampled.ok()) return end(FinishReason::kError, sampled.error());
  const int32_t token = sampled->token;
  tokens_.push_back(token);
  ++stats_.generated_tokens;
  if (token == draft) ++stats_.accepted_tokens;
  if (stats_.first_token_seconds < 0.0) stats_.first_token_seconds = seconds();
  Event event;
  event.tokens.push_back(token);
  if (request_.sampling.logprobs >= 0) event.logprobs.push_back(std::move(sampled).value());
  event.finish = finish_after(token, &event);
  return event;
}

std::optional<FinishInfo> Sequence::finish_after(int32_t token, Event* event) {
  const bool stop_token = is_stop_token(token);
  if (!stop_token) put_text(detokenize(token), event);
  const bool sentence_over = grammar_ && grammar_->is_finished();
  const bool full = stats_.generated_tokens >= request_.max_tokens;
  if (!stop_token && !sentence_over && !full && !stops_.found()) return std::nullopt;
  flush_text(event);
  FinishInfo finish = info(stop_token || sentence_over || stops_.found() ? FinishReason::kStop : FinishReason::kLength);
  if (stop_token) {
    finish.stop_token = token;
  } else {
    finish.stop_string = stops_.found();
  }
  return finish;
}

Event Sequence::end(FinishReason reason, std::optional<Error> error) {
  Event event;
  flush_text(&event);
  event.finish = info(reason);
  event.finish->error = std::move(error);
  return event;
}

FinishInfo Sequence::info(FinishReason reason) const {
  FinishInfo finish;
  finish.reason = reason;
  finish.stats = stats_;
  finish.stats.finished_seconds = seconds();
  return finish;
}

}  // namespace kinglet
