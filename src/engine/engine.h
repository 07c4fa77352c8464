// Engine: many requests at once on one model. One thread owns model, KV pages and scheduler; everyone else talks to it
// through submit() and the handles it returns. It works on tokens: prompts arrive as ids, templates and JSON stay
// outside.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "engine/request.h"
#include "engine/step_model.h"
#include "text/tokenizer.h"

namespace kinglet {

class Drafter;

// Drafts of the next tokens, checked all at once in one step. They change the speed and nothing else: a step's logits
// have the bits of single steps, and what is chosen from them is what would be chosen without drafts.
struct SpeculationOptions {
  bool lookup = false;               // out of the sequence's own text, where its end stood before
  std::shared_ptr<Drafter> drafter;  // asked where the text has no good draft; may be null
  int64_t max_tokens = 16;           // of a draft, 1 to kMostTokens
  bool always = false;               // whether they pay or not: for tests

  static constexpr int64_t kMostTokens = 64;
  bool on() const { return lookup || drafter != nullptr; }
};

struct EngineOptions {
  int64_t max_sequences = 16;  // that run at once; more wait
  int64_t max_waiting = 1024;  // submissions beyond these are refused
  uint64_t kv_bytes = 0;       // for KV pages in all; 0: enough for max_sequences full contexts
  int64_t step_tokens = 0;     // in a step; 0: what the model takes
  std::string context_reason;  // why context() is what it is, for people
  bool prefix_cache = true;    // a text that begins as an earlier one did goes on from there
  int64_t kept_states = -1;  // snapshots for it, of models with recurrent states; -1: as many as max_sequences asks for
  SpeculationOptions speculation;
};

// Snapshots of recurrent states that serve so many sequences well: the ends of two prompts and answers each, and more
// where few share them.
constexpr int64_t most_kept_states(int64_t max_sequences) {
  return max_sequences < 4 ? 8 : 2 * max_sequences;
}

struct EngineStats {
  int64_t running = 0, waiting = 0;
  int64_t pages = 0, pages_used = 0;  // as of the last step; used by requests that run
  int64_t steps = 0, prompt_tokens = 0, generated_tokens = 0, preemptions = 0;
  int64_t drafted_tokens = 0, accepted_tokens = 0;  // speculation
  // The prefix cache: sequences that asked when they began (again, after a preemption), their tokens, and those of them
  // that were found computed; what it holds now, pages in use among it; pages it gave up for others so far.
  int64_t cache_queries = 0, cache_queried_tokens = 0, cache_hit_tokens = 0;
  int64_t cache_pages = 0, cache_states = 0, cache_evictions = 0;
  int64_t finished = 0, failed = 0, cancelled = 0;
};

// One submitted request, shared by whoever waits for it. Thread-safe. Dropping the last reference cancels the request.
class Generation {
 public:
  virtual ~Generation() = default;
  // The next event, or nothing when `timeout` passed first or the last event was already taken.
  virtual std::optional<Event> next_event(std::chrono::milliseconds timeout) = 0;
  // The next event, however long it takes; nothing when the last event was already taken.
  virtual std::optional<Event> next_event() = 0;
  // Takes all events still to come and puts them together.
  virtual Completion wait() = 0;
  // Asks for an end: the sequence leaves with the step that runs. The last event says kCancelled, unless it ended
  // before.
  virtual void cancel() = 0;
  // Called from the engine thread after each new event, for callers that cannot block (an event loop); must be quick
  // and must not call back into the engine. Called at once when events are there already.
  virtual void set_listener(std::function<void()> listener) = 0;
};

class Engine {
 public:
  // `tokenizer` may be null: then there is no text, and requests with stop strings are refused.
  static Result<std::unique_ptr<Engine>> create(std::unique_ptr<StepModel> model,
                                                std::shared_ptr<const Tokenizer> tokenizer,
                                                const EngineOptions& options = {});
  // Stops: what still runs is cancelled.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // kInvalid: empty prompt, prompt longer than the context, a token outside the vocabulary, a parameter out of range;
  // kResource: it can never fit, or too many wait; kCancelled: the engine is stopping. Thread-safe.
  Result<std::shared_ptr<Generation>> submit(Request request);

  // Takes no more requests and returns when all are finished.
  void drain();
  // Takes no more requests, cancels all, and returns when the thread has ended.
  void stop();

  int64_t context() const;  // positions of the longest sequence, prompt and answer
  const std::string& context_reason() const;
  int64_t vocabulary() const;
  const std::shared_ptr<const Tokenizer>& tokenizer() const;
  const Model* model() const;  // for facts (spec, plan, isa); nullptr for a fake one
  EngineStats stats() const;

 private:
  struct State;
  explicit Engine(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace kinglet
