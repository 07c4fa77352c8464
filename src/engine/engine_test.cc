#include "engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include "engine/fake_model.h"

namespace kinglet {
namespace {

using std::chrono::milliseconds;

std::unique_ptr<Engine> make_engine(const FakeModelOptions& model, const EngineOptions& options = {}) {
  auto engine = Engine::create(std::make_unique<FakeModel>(model), nullptr, options);
  EXPECT_TRUE(engine.ok()) << (engine.ok() ? "" : engine.error().message);
  return std::move(engine).value();
}

EngineOptions few_sequences(int64_t count) {
  EngineOptions options;
  options.max_sequences = count;
  return options;
}

Request request_of(std::vector<int32_t> prompt, int64_t max_tokens = -1) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.sampling.seed = 1;
  return request;
}

// The tokens of a request that has the fake model to itself, by the plain definition.
std::vector<int32_t> run_alone(const FakeModelOptions& options, const Request& request) {
  const FakeModel model(options);
  std::vector<int32_t> tokens = request.prompt, answer;
  Sampler sampler(request.sampling, request.sampling.seed.value_or(0), request.prompt);
  SamplingScratch scratch;
  const int64_t left = options.context - static_cast<int64_t>(tokens.size());
  const int64_t most = request.max_tokens < 0 ? left : std::min(request.max_tokens, left);
  while (static_cast<int64_t>(answer.size()) < most) {
    auto sampled =
        sampler.sample(model.compute(), scratch, model.logits_after(tokens), static_cast<int64_t>(tokens.size()));
    EXPECT_TRUE(sampled.ok());
    tokens.push_back(sampled->token);
    answer.push_back(sampled->token);
    sampler.accept(sampled->token);
    if (std::count(request.stop_tokens.begin(), request.stop_tokens.end(), sampled->token) > 0) break;
  }
  return answer;
}

// Lets the engine thread take steps one by one.
class Gate {
 public:
  void wait() {  // engine thread
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_ || steps_ > 0; });
    if (!open_) --steps_;
  }
  void wait_arrived(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return arrived_ >= count; });
  }
  void let(int steps) {
    const std::lock_guard lock(mutex_);
    steps_ += steps;
    changed_.notify_all();
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0, steps_ = 0;
  bool open_ = false;
};

TEST(Engine, AnswersAsTheModelAloneWould) {
  const FakeModelOptions model;
  auto engine = make_engine(model);
  EXPECT_EQ(engine->context(), model.context);
  EXPECT_FALSE(engine->context_reason().empty());
  for (float temperature : {0.0f, 0.8f}) {
    Request request = request_of({1, 2, 3, 4, 5}, 20);
    request.sampling.temperature = temperature;
    request.sampling.repetition_penalty = 1.2f;
    request.sampling.logprobs = 2;
    auto generation = engine->submit(request);
    ASSERT_TRUE(generation.ok());
    const Completion completion = (*generation)->wait();
    EXPECT_EQ(completion.tokens, run_alone(model, request));
    EXPECT_EQ(completion.finish.reason, FinishReason::kLength);
    ASSERT_EQ(completion.logprobs.size(), 20u);
    EXPECT_EQ(completion.logprobs[3].token, completion.tokens[3]);
    EXPECT_EQ(completion.logprobs[3].top.size(), 2u);
    const RequestStats& stats = completion.finish.stats;
    EXPECT_EQ(stats.prompt_tokens, 5);
    EXPECT_EQ(stats.generated_tokens, 20);
    EXPECT_EQ(stats.seed, 1u);
    EXPECT_GE(stats.started_seconds, 0.0);
    EXPECT_GE(stats.first_token_seconds, stats.started_seconds);
    EXPECT_GE(stats.finished_seconds, stats.first_token_seconds);
  }
  engine->drain();
  EXPECT_EQ(engine->stats().finished, 2);
  EXPECT_EQ(engine->stats().generated_tokens, 40);
  EXPECT_EQ(engine->stats().prompt_tokens, 10);
  EXPECT_EQ(engine->stats().pages_used, 0);
}

TEST(Engine, EndsAtTheContextAndAtStopTokens) {
  const FakeModelOptions model;
  auto engine = make_engine(model);
  Request request = request_of(std::vector<int32_t>(60, 7));
  Completion completion = (*engine->submit(request))->wait();
  EXPECT_EQ(completion.tokens.size(), 4u);
  EXPECT_EQ(completion.finish.reason, FinishReason::kLength);

  request = request_of({9}, 40);
  const auto answer = run_alone(model, request);
  request.stop_tokens = {answer[11]};
  const auto expected = run_alone(model, request);
  completion = (*engine->submit(request))->wait();
  EXPECT_EQ(completion.tokens, expected);
  EXPECT_EQ(completion.finish.reason, FinishReason::kStop);
  EXPECT_EQ(completion.finish.stop_token, answer[11]);
}

TEST(Engine, ADrawnSeedIsReportedAndRepeatsTheAnswer) {
  auto engine = make_engine({});
  Request request = request_of({1, 2}, 30);
  request.sampling.seed.reset();
  const Completion first = (*engine->submit(request))->wait(), second = (*engine->submit(request))->wait();
  EXPECT_NE(first.finish.stats.seed, second.finish.stats.seed);
  EXPECT_NE(first.tokens, second.tokens);
  request.sampling.seed = first.finish.stats.seed;
  EXPECT_EQ((*engine->submit(request))->wait().tokens, first.tokens);
}

TEST(Engine, RefusesBadRequestsAtOnce) {
  auto engine = make_engine({});
  const auto refusal = [&](const Request& request) {
    auto generation = engine->submit(request);
    EXPECT_FALSE(generation.ok());
    return generation.ok() ? Error{} : generation.error();
  };
  EXPECT_NE(refusal(request_of({})).message.find("empty"), std::string::npos);
  const Error too_long = refusal(request_of(std::vector<int32_t>(64, 1)));
  EXPECT_EQ(too_long.code, ErrorCode::kInvalid);
  EXPECT_NE(too_long.message.find("64"), std::string::npos);
  EXPECT_NE(refusal(request_of({1, 50})).message.find("50"), std::string::npos);
  EXPECT_NE(refusal(request_of({-1})).message.find("-1"), std::string::npos);
  EXPECT_NE(refusal(request_of({1}, 0)).message.find("max_tokens"), std::string::npos);
  Request request = request_of({1});
  request.stop = {"x"};
  EXPECT_NE(refusal(request).message.find("tokenizer"), std::string::npos);
  request = request_of({1});
  request.stop_tokens = {77};
  EXPECT_NE(refusal(request).message.find("stop_tokens"), std::string::npos);
  request = request_of({1});
  request.sampling.top_p = 0.0f;
  EXPECT_NE(refusal(request).message.find("top_p"), std::string::npos);
}

TEST(Engine, BadOptionsAreErrors) {
  const auto create = [](const EngineOptions& options) {
    return Engine::create(std::make_unique<FakeModel>(FakeModelOptions{}), nullptr, options);
  };
  EXPECT_FALSE(create(few_sequences(0)).ok());
  EXPECT_FALSE(create(few_sequences(17)).ok());  // more than the tokens of a step
  EngineOptions options;
  options.kv_bytes = 31;  // a page has 32
  EXPECT_EQ(create(options).error().code, ErrorCode::kResource);
  options.kv_bytes = 64;
  auto small = create(options);
  ASSERT_TRUE(small.ok());
  EXPECT_EQ((*small)->context(), 16);
  EXPECT_NE((*small)->context_reason().find("memory"), std::string::npos);
}

TEST(Engine, CancelEndsWithinAStep) {
  Gate gate;
  FakeModelOptions model;
  model.before_step = [&] { gate.wait(); };
  auto engine = make_engine(model);
  auto stays = *engine->submit(request_of({1, 2}, 30));
  auto leaves = *engine->submit(request_of({3, 4}, 30));
  gate.let(3);
  gate.wait_arrived(4);
  leaves->cancel();
  gate.let(1);
  gate.wait_arrived(5);  // the step after the cancellation begins: the sequence has left
  EXPECT_EQ(engine->stats().cancelled, 1);
  EXPECT_LE(engine->stats().running, 1);
  const Completion cancelled = leaves->wait();
  EXPECT_EQ(cancelled.finish.reason, FinishReason::kCancelled);
  EXPECT_LE(cancelled.tokens.size(), 4u);
  gate.open();
  EXPECT_EQ(stays->wait().tokens, run_alone(FakeModelOptions{}, request_of({1, 2}, 30)));
}

TEST(Engine, DroppingTheHandleCancels) {
  Gate gate;
  FakeModelOptions model;
  model.before_step = [&] { gate.wait(); };
  auto engine = make_engine(model);
  auto handle = *engine->submit(request_of({1}, 50));
  gate.wait_arrived(1);
  handle.reset();
  gate.open();
  engine->drain();
  EXPECT_EQ(engine->stats().cancelled, 1);
}

TEST(Engine, StopCancelsAndTakesNoMore) {
  Gate gate;
  FakeModelOptions model;
  model.before_step = [&] { gate.wait(); };
  auto engine = make_engine(model, few_sequences(2));
  std::vector<std::shared_ptr<Generation>> handles;
  for (int i = 0; i < 6; ++i) handles.push_back(*engine->submit(request_of({1, 2}, 50)));
  gate.wait_arrived(1);
  gate.open();
  engine->stop();
  int cancelled = 0;
  for (auto& handle : handles) cancelled += handle->wait().finish.reason == FinishReason::kCancelled ? 1 : 0;
  EXPECT_EQ(cancelled + engine->stats().finished, 6);
  EXPECT_EQ(engine->submit(request_of({1})).error().code, ErrorCode::kCancelled);
  engine->stop();  // again: nothing happens
}

TEST(Engine, DrainFinishesEverything) {
  auto engine = make_engine({}, few_sequences(2));
  std::vector<std::shared_ptr<Generation>> handles;
  for (int32_t i = 0; i < 9; ++i) handles.push_back(*engine->submit(request_of({i}, 10)));
  engine->drain();
  for (auto& handle : handles) EXPECT_EQ(handle->wait().tokens.size(), 10u);
  EXPECT_FALSE(engine->submit(request_of({1})).ok());
}

TEST(Engine, TooManyWaitingAreRefused) {
  Gate gate;
  FakeModelOptions model;
  model.before_step = [&] { gate.wait(); };
  EngineOptions options = few_sequences(1);
  options.max_waiting = 2;
  auto engine = make_engine(model, options);
  std::vector<std::shared_ptr<Generation>> handles;
  for (int i = 0; i < 3; ++i) handles.push_back(*engine->submit(request_of({1}, 3)));
  EXPECT_EQ(engine->submit(request_of({1}, 3)).error().code, ErrorCode::kResource);
  gate.open();
  for (auto& handle : handles) handle->wait();
  EXPECT_TRUE(engine->submit(request_of({1}, 3)).ok());
}

TEST(Engine, WhoWaitsTooLongIsTold) {
  Gate gate;
  FakeModelOptions model;
  model.before_step = [&] { gate.wait(); };
  auto engine = make_engine(model, few_sequences(1));
  auto runs = *engine->submit(request_of({1}, 3));
  Request request = request_of({1}, 3);
  request.queue_limit = milliseconds(1);
  gate.wait_arrived(1);
  auto late = *engine->submit(request);
  std::this_thread::sleep_for(milliseconds(3));
  gate.let(1);
  const Completion completion = late->wait();
  EXPECT_EQ(completion.finish.reason, FinishReason::kError);
  ASSERT_TRUE(completion.finish.error.has_value());
  EXPECT_EQ(completion.finish.error->code, ErrorCode::kResource);
  EXPECT_NE(completion.finish.error->message.find("1 ms"), std::string::npos);
  gate.open();
  EXPECT_EQ(runs->wait().finish.reason, FinishReason::kLength);
  request.queue_limit = milliseconds(-1);
  EXPECT_NE(engine->submit(request).error().message.find("queue_limit"), std::string::npos);
}

TEST(Engine, AFailingRequestHurtsNoOther) {
  FakeModelOptions model;
  model.poison = 13;
  auto engine = make_engine(model);
  Request healthy = request_of({1, 2, 3}, 20), sick = request_of({5, 13}, 20);
  healthy.sampling.logit_bias = {{13, -std::numeric_limits<float>::infinity()}};
  auto a = *engine->submit(healthy), b = *engine->submit(sick), c = *engine->submit(healthy);
  const Completion failed = b->wait();
  EXPECT_EQ(failed.finish.reason, FinishReason::kError);
  ASSERT_TRUE(failed.finish.error.has_value());
  EXPECT_NE(failed.finish.error->message.find("NaN"), std::string::npos);
  EXPECT_EQ(a->wait().tokens, run_alone(model, healthy));
  EXPECT_EQ(c->wait().tokens, run_alone(model, healthy));
}

TEST(Engine, EventsArriveOneByOneAndTimeoutsPass) {
  Gate gate;
  FakeModelOptions model;
  model.before_step = [&] { gate.wait(); };
  auto engine = make_engine(model);
  auto handle = *engine->submit(request_of({1, 2}, 3));
  std::atomic<int> calls = 0;
  handle->set_listener([&] { ++calls; });
  EXPECT_FALSE(handle->next_event(milliseconds(5)).has_value());
  EXPECT_FALSE(handle->next_event(milliseconds(0)).has_value());
  for (int i = 0; i < 3; ++i) {
    gate.let(1);
    auto event = handle->next_event(milliseconds::max());
    ASSERT_TRUE(event.has_value());
    EXPECT_EQ(event->tokens.size(), 1u);
    EXPECT_EQ(event->finish.has_value(), i == 2);
  }
  EXPECT_FALSE(handle->next_event().has_value());
  engine->drain();
  EXPECT_EQ(calls, 3);
}

TEST(Engine, AModelWithoutRecurrentLayersGetsNoState) {
  FakeModelOptions model;
  model.recurrent = false;
  auto engine = make_engine(model);
  const Request request = request_of({3, 1, 4}, 5);
  EXPECT_EQ((*engine->submit(request))->wait().tokens, run_alone(model, request));
}

// Requests join, leave and are thrown out of a pool that is too small for them, from several threads: each answer is
// the one that it would be alone.
TEST(Engine, RandomCompanyChangesNoToken) {
  std::atomic<int64_t> preemptions = 0, cancelled = 0;
  for (uint32_t round = 0; round < 6; ++round) {
    FakeModelOptions model;
    model.page_positions = 4 + 3 * static_cast<int64_t>(round % 3);
    EngineOptions options = few_sequences(2 + round);
    options.kv_bytes = FakeModel(model).page_bytes() * static_cast<uint64_t>(64 / model.page_positions + 3 + round);
    options.step_tokens = 8 + round;
    auto engine = make_engine(model, options);
    const auto client = [&](uint32_t seed) {
      std::mt19937 random(seed);
      for (int i = 0; i < 25; ++i) {
        std::vector<int32_t> prompt(1 + random() % 30);
        for (int32_t& token : prompt) token = static_cast<int32_t>(random() % 50);
        Request request = request_of(prompt, 1 + static_cast<int64_t>(random() % 40));
        request.sampling.seed = random();
        request.sampling.temperature = random() % 3 == 0 ? 0.0f : 0.9f;
        request.sampling.top_k = static_cast<int64_t>(random() % 20);
        request.sampling.repetition_penalty = 1.1f;
        if (random() % 3 == 0) request.stop_tokens = {static_cast<int32_t>(random() % 50)};
        const auto expected = run_alone(model, request);
        auto generation = *engine->submit(request);
        if (random() % 5 == 0) {
          for (uint32_t taken = static_cast<uint32_t>(random() % 5); taken > 0; --taken) {
            generation->next_event(milliseconds(1));
          }
          generation->cancel();
          if (generation->wait().finish.reason == FinishReason::kCancelled) ++cancelled;
          continue;
        }
        const Completion completion = generation->wait();
        EXPECT_EQ(completion.tokens, expected);
        preemptions += completion.finish.stats.preemptions;
      }
    };
    std::vector<std::thread> clients;
    for (uint32_t c = 0; c < 6; ++c) clients.emplace_back(client, round * 100 + c);
    for (std::thread& thread : clients) thread.join();
    engine->drain();
    EXPECT_EQ(engine->stats().pages_used, 0);
    EXPECT_EQ(engine->stats().finished + engine->stats().cancelled, 150);
  }
  EXPECT_GT(preemptions, 20) << "the pools are too large to test anything";
  EXPECT_GT(cancelled, 5);
}

}  // namespace
}  // namespace kinglet
