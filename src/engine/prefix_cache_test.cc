// The prefix cache changes the work and nothing else: what is computed is counted, answers are compared with those of
// an engine without it.
#include "engine/prefix_cache.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "engine/fake_model.h"
#include "engine/speculation_test_support.h"

namespace kinglet {
namespace {

using Tokens = std::vector<int32_t>;

Tokens random_text(std::mt19937& random, int64_t vocabulary, size_t size) {
  Tokens tokens(size);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % static_cast<uint64_t>(vocabulary));
  return tokens;
}

Request request_of(Tokens prompt, int64_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.sampling.seed = 1;
  return request;
}

Tokens operator+(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::unique_ptr<Engine> make_engine(const FakeModelOptions& model, const EngineOptions& options = {}) {
  auto engine = Engine::create(std::make_unique<FakeModel>(model), nullptr, options);
  EXPECT_TRUE(engine.ok()) << (engine.ok() ? "" : engine.error().message);
  return std::move(engine).value();
}

Completion run(Engine& engine, const Request& request) {
  return (*engine.submit(request))->wait();
}

FakeModelOptions long_model(bool recurrent) {
  FakeModelOptions model;
  model.context = 6000;
  model.page_positions = 64;
  model.max_step_tokens = 512;
  model.recurrent = recurrent;
  model.drafts = true;  // a copied page has other tokens behind those that agree
  return model;
}

// Of a second prompt that shares 4096 tokens, less than a twentieth is computed.
TEST(PrefixCache, ASecondPromptComputesWhatIsNew) {
  for (bool recurrent : {false, true}) {
    SCOPED_TRACE(recurrent);
    std::mt19937 random(1);
    const auto engine = make_engine(long_model(recurrent));
    const Tokens shared = random_text(random, 50, 4096);
    std::vector<int64_t> computed, cached;
    for (int i = 0; i < 4; ++i) {
      const int64_t before = engine->stats().prompt_tokens;
      const Completion completion = run(*engine, request_of(shared + random_text(random, 50, 40), 3));
      computed.push_back(engine->stats().prompt_tokens - before);
      cached.push_back(completion.finish.stats.cached_tokens);
    }
    EXPECT_EQ(cached[0], 0);
    EXPECT_EQ(computed[0], 4136);
    for (int i = 1; i < 4; ++i) {
      EXPECT_EQ(computed[i] + cached[i], 4136);
      EXPECT_LE(20 * computed[i], computed[0]);
    }
    const EngineStats stats = engine->stats();
    EXPECT_EQ(stats.cache_queries, 4);
    EXPECT_EQ(stats.cache_queried_tokens, 4 * 4136);
    EXPECT_EQ(stats.cache_hit_tokens, cached[1] + cached[2] + cached[3]);
    EXPECT_GE(stats.cache_pages, 64);
    EXPECT_EQ(stats.pages_used, 0);
  }
}

// Where two texts part inside a prompt whose states were kept elsewhere, the second one leaves a state for the third.
TEST(PrefixCache, AStateIsKeptWhereTextsPart) {
  std::mt19937 random(2);
  const auto engine = make_engine(long_model(true));
  const Tokens shared = random_text(random, 50, 1000);
  std::vector<int64_t> cached;
  for (int i = 0; i < 3; ++i) {
    const Tokens prompt = shared + random_text(random, 50, 500);
    cached.push_back(run(*engine, request_of(prompt, 2)).finish.stats.cached_tokens);
  }
  EXPECT_EQ(cached, (std::vector<int64_t>{0, 0, 1000 / 64 * 64}));
}

TEST(PrefixCache, StatesOfLongPromptsStandInBetween) {
  std::mt19937 random(3);
  const auto engine = make_engine(long_model(true));
  const Tokens prompt = random_text(random, 50, 5000);
  run(*engine, request_of(prompt, 2));
  const Tokens other = Tokens(prompt.begin(), prompt.begin() + 3000) + random_text(random, 50, 100);
  EXPECT_EQ(run(*engine, request_of(other, 2)).finish.stats.cached_tokens, PrefixCache::kSnapshotTokens);
}

TEST(PrefixCache, TheLastTokenIsComputedInAnyCase) {
  for (bool recurrent : {false, true}) {
    const auto engine = make_engine(long_model(recurrent));
    const Request request = request_of(Tokens(128, 7), 4);
    const Completion first = run(*engine, request), second = run(*engine, request);
    EXPECT_EQ(first.tokens, second.tokens);
    EXPECT_EQ(second.finish.stats.cached_tokens, recurrent ? 64 : 127);
  }
}

TEST(PrefixCache, ScopesAreApartAndItCanBeOff) {
  for (bool on : {true, false}) {
    EngineOptions options;
    options.prefix_cache = on;
    const auto engine = make_engine(long_model(false), options);
    Request request = request_of(Tokens(200, 3), 2);
    const auto cached = [&](const char* scope) {
      request.cache_scope = scope;
      return run(*engine, request).finish.stats.cached_tokens;
    };
    EXPECT_EQ(cached("a"), 0);
    EXPECT_EQ(cached("b"), 0);
    EXPECT_EQ(cached(""), 0);
    EXPECT_EQ(cached("b"), on ? 199 : 0);
    EXPECT_EQ(engine->stats().cache_pages > 0, on);
  }
}

// What an agent sends: everything so far, its last answer included, and something new. In one of the traces the
// template drops the beginning of each answer (its thinking) from then on.
TEST(PrefixCache, AnAgentsStepsComeFromTheCache) {
  for (bool recurrent : {false, true}) {
    for (bool drops : {false, true}) {
      SCOPED_TRACE(::testing::Message() << recurrent << drops);
      std::mt19937 random(4);
      FakeModelOptions model = long_model(recurrent);
      model.context = 8000;
      const auto engine = make_engine(model);
      Tokens text = random_text(random, 50, 1500);
      int64_t sent_before = 0, cached = 0;
      size_t known = 0;  // tokens of the text that were part of an earlier prompt, or of an answer as it was given
      for (int step = 0; step < 20; ++step) {
        text = text + random_text(random, 50, 60 + random() % 140);
        const Completion completion = run(*engine, request_of(text, 20 + static_cast<int64_t>(random() % 20)));
        cached += completion.finish.stats.cached_tokens;
        sent_before += static_cast<int64_t>(known);
        known = text.size() + (drops ? 0 : completion.tokens.size());
        const auto kept = completion.tokens.begin() + (drops ? 15 : 0);
        text.insert(text.end(), kept, completion.tokens.end());
      }
      EXPECT_GE(static_cast<double>(cached), 0.95 * static_cast<double>(sent_before));
      EXPECT_LE(cached, sent_before + 20);
    }
  }
}

// A sequence that lost its pages finds them again where nobody needed them.
TEST(PrefixCache, APreemptedSequenceComputesLittleAnew) {
  for (bool recurrent : {false, true}) {
    FakeModelOptions model;
    model.recurrent = recurrent;
    model.drafts = true;
    EngineOptions options;
    options.max_sequences = 2;
    options.kv_bytes = FakeModel(model).page_bytes() * 12;
    int64_t computed[2];
    for (bool on : {false, true}) {
      options.prefix_cache = on;
      EngineStats stats;
      std::vector<Request> requests = {request_of(Tokens(30, 1), 34), request_of(Tokens(30, 2), 34)};
      const auto completions = answers(std::make_unique<FakeModel>(model), options, requests, &stats);
      EXPECT_GT(stats.preemptions, 0);
      EXPECT_EQ(completions[1].finish.stats.cached_tokens, 0) << "what it computed itself was not cached";
      computed[on] = stats.prompt_tokens;
    }
    EXPECT_EQ(computed[false], 90);
    EXPECT_LT(computed[true], 90);
  }
}

// Of prompts that come together, one is computed and the others wait for what they share with it.
TEST(PrefixCache, WhatComesTogetherIsComputedOnce) {
  std::mt19937 random(5);
  FakeModelOptions model = long_model(false);
  const Tokens shared = random_text(random, 50, 2048);
  std::vector<Request> requests;
  for (int i = 0; i < 8; ++i) requests.push_back(request_of(shared + random_text(random, 50, 30), 3));
  requests[7].user = "another";
  EngineStats stats;
  answers(std::make_unique<FakeModel>(model), {}, requests, &stats);
  EXPECT_LE(stats.prompt_tokens, 2048 + 8 * 64);
}

// Nothing of a request that failed is used again.
TEST(PrefixCache, ErrorsLeaveNothing) {
  FakeModelOptions model = long_model(true);
  model.poison = 13;
  const auto engine = make_engine(model);
  EXPECT_EQ(run(*engine, request_of(Tokens(40, 13), 2)).finish.reason, FinishReason::kError);
  EXPECT_EQ(engine->stats().cache_pages, 0);
}

std::vector<Request> related_requests(std::mt19937& random) {
  const Tokens shared = random_text(random, 50, 40);
  std::vector<Request> requests = random_requests(random, 50, 60, 30);
  for (Request& request : requests) {
    const auto size = static_cast<std::ptrdiff_t>(random() % 40);
    request.prompt = Tokens(shared.begin(), shared.begin() + size) + request.prompt;
    request.prompt.resize(std::min<size_t>(request.prompt.size(), 55));
    if (random() % 8 == 0) request.cache_scope = "x";
  }
  return requests;
}

// Everything at once: texts that share beginnings, pools too small, speculation, cancellations, several threads, states
// or none, snapshots that find no room. The fake model checks pages and states, the answers say the rest.
TEST(PrefixCache, RandomCompanyChangesNoAnswer) {
  EngineStats all;
  for (uint32_t round = 0; round < 16; ++round) {
    SCOPED_TRACE(round);
    std::mt19937 random(round);
    FakeModelOptions model;
    model.page_positions = 3 + static_cast<int64_t>(random() % 9);
    model.recurrent = round % 2 == 0;
    model.drafts = true;
    EngineOptions options;
    options.max_sequences = 2 + static_cast<int64_t>(random() % 5);
    options.step_tokens = 8 + static_cast<int64_t>(random() % 9);
    options.kept_states = static_cast<int64_t>(random() % 9);
    options.kv_bytes =
        FakeModel(model).page_bytes() * (static_cast<uint64_t>(64 / model.page_positions) + 2 + random() % 12);
    const std::vector<Request> requests = related_requests(random);
    EngineOptions without = options;
    without.prefix_cache = false;
    EngineStats stats;
    const auto plain = answers(std::make_unique<FakeModel>(model), without, requests, &stats);
    EXPECT_EQ(stats.cache_queries, 0);
    if (round % 4 >= 2) {
      options.speculation.always = true;
      options.speculation.max_tokens = 5;
      options.speculation.drafter = std::make_shared<RandomDrafter>(round, 50, truth_of(whole_texts(requests, plain)));
    }
    const auto engine = make_engine(model, options);
    const auto client = [&](size_t first) {
      std::mt19937 chance(static_cast<uint32_t>(first));
      for (size_t again = 0; again < 2; ++again) {
        for (size_t i = first; i < requests.size(); i += 3) {
          const auto generation = *engine->submit(requests[i]);
          if (chance() % 6 == 0) {
            generation->next_event(std::chrono::milliseconds(1));
            generation->cancel();
            generation->wait();
          } else {
            expect_same({plain[i]}, {generation->wait()});
          }
        }
      }
    };
    std::vector<std::thread> clients;
    for (size_t c = 0; c < 3; ++c) clients.emplace_back(client, c);
    for (std::thread& thread : clients) thread.join();
    engine->drain();
    stats = engine->stats();
    EXPECT_EQ(stats.pages_used, 0);
    EXPECT_LE(stats.cache_pages, stats.pages);
    all.cache_hit_tokens += stats.cache_hit_tokens;
    all.cache_evictions += stats.cache_evictions;
    all.preemptions += stats.preemptions;
    all.accepted_tokens += stats.accepted_tokens;
  }
  EXPECT_GT(all.cache_hit_tokens, 5000);
  EXPECT_GT(all.cache_evictions, 500);
  EXPECT_GT(all.preemptions, 20);
  EXPECT_GT(all.accepted_tokens, 200);
}

}  // namespace
}  // namespace kinglet
