#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "engine/engine_thread.h"
#include "engine/generation.h"
#include "engine/request_check.h"
#include "sampling/random.h"

namespace kinglet {

struct Engine::State {
  State(std::unique_ptr<StepModel> model, BlockPool pages, StatePool states, const SchedulerLimits& scheduling,
        const PrefixCacheLimits& caching, const SpeculationOptions& speculation)
      : mailbox(std::make_shared<Mailbox>()),
        worker(std::move(model), std::move(pages), std::move(states), scheduling, caching, speculation, mailbox) {}

  std::shared_ptr<Mailbox> mailbox;
  EngineThread worker;
  std::shared_ptr<const Tokenizer> tokenizer;
  RequestLimits limits;
  int64_t most_unfinished = 0;
  std::string context_reason;
  uint64_t seed_source = 0;
  std::atomic<uint64_t> seeds_drawn = 0;
  std::mutex join_mutex;  // guards joining the thread
  std::thread thread;

  void close(bool stop);
  uint64_t draw_seed();
};

namespace {

Error invalid(const std::string& message) {
  return Error{ErrorCode::kInvalid, message};
}

// How many pages the pool gets: what the options allow, but no more than full contexts for all.
Result<SchedulerLimits> plan_limits(const StepModel& model, const EngineOptions& options) {
  SchedulerLimits limits;
  limits.step_tokens = options.step_tokens == 0 ? model.max_step_tokens() : options.step_tokens;
  if (limits.step_tokens < 1 || limits.step_tokens > model.max_step_tokens()) {
    return invalid("step_tokens is " + std::to_string(limits.step_tokens) + "; expected 1 to " +
                   std::to_string(model.max_step_tokens()));
  }
  limits.max_running = options.max_sequences;
  if (limits.max_running < 1 || limits.max_running > limits.step_tokens) {
    return invalid("max_sequences is " + std::to_string(limits.max_running) + "; expected 1 to " +
                   std::to_string(limits.step_tokens) + ", the tokens of a step");
  }
  if (options.max_waiting < 0) return invalid("max_waiting is negative");
  const int64_t drafted = options.speculation.max_tokens;
  if (options.speculation.on() && (drafted < 1 || drafted > SpeculationOptions::kMostTokens)) {
    return invalid("speculation.max_tokens is " + std::to_string(drafted) + "; expected 1 to " +
                   std::to_string(SpeculationOptions::kMostTokens));
  }
  limits.page_positions = model.page_positions();
  const int64_t pages_a_context = (model.context() + limits.page_positions - 1) / limits.page_positions;
  limits.pages = pages_a_context * limits.max_running;
  if (options.kv_bytes != 0) {
    const auto affordable = static_cast<int64_t>(std::min<uint64_t>(options.kv_bytes / model.page_bytes(), INT32_MAX));
    limits.pages = std::min(limits.pages, affordable);
  }
  if (limits.pages < 1) {
    return Error{ErrorCode::kResource, "one KV page has " + std::to_string(model.page_bytes()) +
                                           " bytes; the memory granted for them is " +
                                           std::to_string(options.kv_bytes)};
  }
  return limits;
}

uint64_t draw_seed_source() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

}  // namespace

Engine::Engine(std::shared_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<Engine>> Engine::create(std::unique_ptr<StepModel> model,
                                               std::shared_ptr<const Tokenizer> tokenizer,
                                               const EngineOptions& options) {
  KL_TRY(const SchedulerLimits limits, plan_limits(*model, options));
  if (tokenizer) KL_RETURN_IF_ERROR(tokenizer->check_vocabulary(model->vocabulary()));
  KL_TRY(BlockPool pages, BlockPool::create(model->page_bytes(), limits.pages));
  // With drafts each sequence may keep a second state, as it was before them.
  const int64_t states_each = options.speculation.on() ? 2 : 1;
  PrefixCacheLimits caching;
  caching.on = options.prefix_cache;
  caching.page_positions = limits.page_positions;
  caching.most_states = !options.prefix_cache     ? 0
                        : options.kept_states < 0 ? most_kept_states(options.max_sequences)
                                                  : options.kept_states;
  KL_TRY(StatePool states,
         StatePool::create(model->state_bytes(), limits.max_running * states_each + caching.most_states));
  const int64_t in_pool = limits.pages * limits.page_positions;
  const int64_t context = std::min(model->context(), in_pool);
  std::string reason = options.context_reason;
  if (context < model->context()) {
    reason = std::to_string(context) + " tokens: what the memory for KV pages holds (the model could take " +
             std::to_string(model->context()) + ")";
  } else if (reason.empty()) {
    reason = std::to_string(context) + " tokens: what the model was loaded for";
  }
  const int64_t vocabulary = model->vocabulary();
  auto state = std::make_shared<State>(std::move(model), std::move(pages), std::move(states), limits, caching,
                                       options.speculation);
  state->limits = {vocabulary, context, tokenizer.get()};
  state->tokenizer = std::move(tokenizer);
  state->most_unfinished = options.max_sequences + options.max_waiting;
  state->context_reason = std::move(reason);
  state->seed_source = draw_seed_source();
  state->thread = std::thread([worker = &state->worker] { worker->run(); });
  return std::unique_ptr<Engine>(new Engine(std::move(state)));
}

Engine::~Engine() {
  stop();
}

Result<std::shared_ptr<Generation>> Engine::submit(Request request) {
  const auto submitted = Sequence::Clock::now();
  KL_RETURN_IF_ERROR(check_request(&request, state_->limits));
  auto sequence = std::make_unique<Sequence>(std::move(request), state_->tokenizer, state_->draw_seed(), submitted);
  Mailbox& mailbox = *state_->mailbox;
  auto ticket = std::make_shared<Ticket>(state_->mailbox);
  {
    const std::lock_guard lock(mailbox.mutex);
    if (mailbox.closed) return Error{ErrorCode::kCancelled, "the engine is stopping and takes no more requests"};
    if (mailbox.unfinished >= state_->most_unfinished) {
      return Error{ErrorCode::kResource, std::to_string(mailbox.unfinished) +
                                             " requests run or wait already, which is the limit; try again later"};
    }
    ++mailbox.unfinished;
    mailbox.submissions.push_back({++mailbox.last_id, std::move(sequence), ticket});
  }
  mailbox.wake.notify_one();
  return std::shared_ptr<Generation>(std::make_shared<GenerationHandle>(std::move(ticket)));
}

// 53 bits: a seed that any JSON reader keeps.
uint64_t Engine::State::draw_seed() {
  const uint64_t count = ++seeds_drawn;
  const auto words = philox4x32({static_cast<uint32_t>(count), static_cast<uint32_t>(count >> 32), 0, 0},
                                {static_cast<uint32_t>(seed_source), static_cast<uint32_t>(seed_source >> 32)});
  return ((uint64_t{words[0]} << 32) | words[1]) >> 11;
}

void Engine::State::close(bool stop) {
  {
    const std::lock_guard lock(mailbox->mutex);
    mailbox->closed = true;
    mailbox->stop = mailbox->stop || stop;
  }
  mailbox->wake.notify_one();
  const std::lock_guard lock(join_mutex);
  if (thread.joinable()) thread.join();
}

void Engine::drain() {
  state_->close(false);
}
void Engine::stop() {
  state_->close(true);
}

int64_t Engine::context() const {
  return state_->limits.context;
}
const std::string& Engine::context_reason() const {
  return state_->context_reason;
}
int64_t Engine::vocabulary() const {
  return state_->limits.vocabulary;
}
const std::shared_ptr<const Tokenizer>& Engine::tokenizer() const {
  return state_->tokenizer;
}
const Model* Engine::model() const {
  return state_->worker.model().model();
}

EngineStats Engine::stats() const {
  const std::lock_guard lock(state_->mailbox->mutex);
  return state_->mailbox->stats;
}

}  // namespace kinglet
