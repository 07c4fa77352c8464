// What goes into the engine and what comes out: plain data, ids and text. Chat messages, templates and JSON are turned
// into a Request (and out of events) by whoever calls.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sampling/sampler.h"
#include "text/grammar.h"
#include "text/reasoning.h"

namespace kinglet {

// How a model that thinks sets its thinking off from its answer.
struct Thinking {
  ReasoningMarkers markers;
  bool open = false;  // the prompt ends inside the thinking
};

struct Request {
  std::vector<int32_t> prompt;  // at least one token, fewer than the context
  SamplingParams sampling;
  int64_t max_tokens = -1;                 // generated at most; -1: until the context is full. 0 is refused
  std::vector<std::string> stop;           // the answer ends before the first of these; they need a tokenizer
  std::vector<int32_t> stop_tokens;        // the answer ends with one of these, besides the vocabulary's own
  bool ignore_eos = false;                 // the vocabulary's end-of-generation tokens don't end the answer
  bool skip_special = true;                // special tokens leave no text
  std::vector<int32_t> visible_special;    // but these do: the markers of tool calls (visible_special_tokens())
  std::shared_ptr<const Grammar> grammar;  // compiled for the engine's tokenizer; may be null
  // Thinking comes out apart, and neither stop strings nor the grammar concern it. With a grammar, a model thinks only
  // where the prompt opens the thinking.
  std::optional<Thinking> thinking;
  std::string user;                                      // users are served alike, however much each asks for
  int priority = 0;                                      // higher goes first
  std::optional<std::chrono::milliseconds> queue_limit;  // longest wait for its first step; then it ends with kError
  std::string cache_scope;  // requests of the same scope share the computed beginnings of their texts
};

enum class FinishReason {
  kStop,       // an end-of-generation token, a stop token or string, or the end of the grammar
  kLength,     // max_tokens or the context
  kCancelled,  // cancel(), or the engine stopped
  kError,      // FinishInfo::error says what
};
const char* finish_reason_name(FinishReason reason);  // "stop", "length", "cancelled", "error"

struct RequestStats {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;     // of the prompt, those that were found computed
  int64_t generated_tokens = 0;  // the stop token included
  int64_t drafted_tokens = 0;    // by speculation
  int64_t accepted_tokens = 0;   // of those, the ones that were chosen
  int64_t preemptions = 0;       // times the sequence lost its pages and was computed anew
  // Seconds since the request was submitted; negative where it did not come to that.
  double started_seconds = -1.0;      // its first token entered a step
  double first_token_seconds = -1.0;  // its first token was chosen
  double finished_seconds = -1.0;
  uint64_t seed = 0;                           // the same request with this seed gives the same answer
  double prompt_tokens_per_second() const;     // computed, from start to first token; 0: unknown
  double generated_tokens_per_second() const;  // from the first token on; 0 where unknown
};

struct FinishInfo {
  FinishReason reason = FinishReason::kStop;
  std::optional<Error> error;              // for kError
  std::optional<int32_t> stop_token;       // for kStop by a token
  std::optional<std::string> stop_string;  // for kStop by a string
  RequestStats stats;
};

// One step of an answer. Tokens and text are two views of it and need not end at the same place: text waits for whole
// characters and for certainty about stop strings. The last event of a request, and no other, has `finish`.
struct Event {
  std::vector<int32_t> tokens;         // chosen in this step, a stop token included
  std::vector<SampledToken> logprobs;  // one a token when SamplingParams::logprobs >= 0, else empty
  std::string text;                    // complete UTF-8; never a part of a stop string; empty without a tokenizer
  std::string reasoning;               // complete UTF-8: what the model thinks, with Request::thinking
  std::optional<FinishInfo> finish;
};

// All events of a request put together.
struct Completion {
  std::vector<int32_t> tokens;
  std::vector<SampledToken> logprobs;
  std::string text, reasoning;
  FinishInfo finish;
};

}  // namespace kinglet
