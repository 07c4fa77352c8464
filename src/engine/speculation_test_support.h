// What tests of speculation share: requests at random, an adversary that drafts, answers compared bit by bit.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "engine/drafter.h"
#include "engine/engine.h"

namespace kinglet {

// Drafts the truth, garbage, or the truth with a wrong token in it, at random lengths.
class RandomDrafter final : public Drafter {
 public:
  // `truth`: the token that will follow `tokens`, or a negative number where nobody knows.
  using Truth = std::function<int32_t(std::span<const int32_t> tokens)>;
  RandomDrafter(uint32_t seed, int64_t vocabulary, Truth truth)
      : random_(seed), vocabulary_(vocabulary), truth_(std::move(truth)) {}

  void draft(std::span<DraftTask> tasks) override {
    for (DraftTask& task : tasks) {
      if (random_() % 5 == 0) continue;
      const auto count = static_cast<size_t>(random_() % static_cast<uint64_t>(task.most + 1));
      const uint64_t kind = random_() % 3;  // 0: garbage, 1: the truth, 2: the truth with garbage somewhere
      const size_t wrong = count == 0 ? 0 : random_() % count;
      std::vector<int32_t> text(task.tokens.begin(), task.tokens.end());
      for (size_t i = 0; i < count; ++i) {
        const int32_t next = kind == 0 || (kind == 2 && i == wrong) ? -1 : truth_(text);
        text.push_back(next >= 0 ? next : static_cast<int32_t>(random_() % static_cast<uint64_t>(vocabulary_)));
        task.draft.push_back(text.back());
      }
    }
  }
  void forget(SequenceId) override {}

 private:
  std::mt19937_64 random_;
  int64_t vocabulary_;
  Truth truth_;
};

// The truth out of whole texts known beforehand.
inline RandomDrafter::Truth truth_of(std::vector<std::vector<int32_t>> texts) {
  return [texts = std::move(texts)](std::span<const int32_t> tokens) -> int32_t {
    for (const auto& text : texts) {
      if (text.size() > tokens.size() && std::equal(tokens.begin(), tokens.end(), text.begin())) {
        return text[tokens.size()];
      }
    }
    return -1;
  };
}

// All requests at once, and the engine's books afterwards.
inline std::vector<Completion> answers(std::unique_ptr<StepModel> model, const EngineOptions& options,
                                       const std::vector<Request>& requests, EngineStats* stats) {
  const auto engine = Engine::create(std::move(model), nullptr, options);
  EXPECT_TRUE(engine.ok()) << (engine.ok() ? "" : engine.error().message);
  std::vector<std::shared_ptr<Generation>> generations;
  for (const Request& request : requests) generations.push_back(*(*engine)->submit(request));
  std::vector<Completion> completions;
  for (auto& generation : generations) completions.push_back(generation->wait());
  (*engine)->drain();
  *stats = (*engine)->stats();
  EXPECT_EQ(stats->pages_used, 0);
  return completions;
}

// Prompts and answers, for truth_of().
inline std::vector<std::vector<int32_t>> whole_texts(const std::vector<Request>& requests,
                                                     const std::vector<Completion>& completions) {
  std::vector<std::vector<int32_t>> texts;
  for (size_t i = 0; i < requests.size(); ++i) {
    texts.push_back(requests[i].prompt);
    texts.back().insert(texts.back().end(), completions[i].tokens.begin(), completions[i].tokens.end());
  }
  return texts;
}

inline void expect_same(const std::vector<Completion>& plain, const std::vector<Completion>& drafted) {
  ASSERT_EQ(plain.size(), drafted.size());
  for (size_t i = 0; i < plain.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(plain[i].tokens, drafted[i].tokens);
    EXPECT_EQ(plain[i].finish.reason, drafted[i].finish.reason);
    EXPECT_EQ(plain[i].finish.stop_token, drafted[i].finish.stop_token);
    EXPECT_EQ(plain[i].finish.stats.generated_tokens, drafted[i].finish.stats.generated_tokens);
    ASSERT_EQ(plain[i].logprobs.size(), drafted[i].logprobs.size());
    for (size_t t = 0; t < plain[i].logprobs.size(); ++t) {
      EXPECT_EQ(std::memcmp(&plain[i].logprobs[t].logprob, &drafted[i].logprobs[t].logprob, sizeof(float)), 0);
      EXPECT_EQ(plain[i].logprobs[t].top, drafted[i].logprobs[t].top);
    }
  }
}

// `longest`: of prompt and answer.
inline std::vector<Request> random_requests(std::mt19937& random, int64_t vocabulary, int64_t longest, int count) {
  std::vector<Request> requests;
  for (int i = 0; i < count; ++i) {
    Request request;
    const auto prompt = static_cast<size_t>(1 + random() % static_cast<uint64_t>(longest / 2));
    while (request.prompt.size() < prompt) {  // words, and passages that stand there again
      const size_t size = request.prompt.size();
      const bool again = size > 4 && random() % 3 == 0;
      const size_t from = again ? random() % size : 0, count_again = again ? std::min(size - from, prompt - size) : 1;
      for (size_t j = 0; j < count_again; ++j) {
        request.prompt.push_back(again ? request.prompt[from + j]
                                       : static_cast<int32_t>(random() % static_cast<uint64_t>(vocabulary)));
      }
    }
    request.max_tokens = 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(longest));
    request.sampling.seed = random();
    request.sampling.temperature = random() % 3 == 0 ? 0.0f : 0.7f;
    request.sampling.top_k = static_cast<int64_t>(random() % 20);
    request.sampling.repetition_penalty = random() % 2 == 0 ? 1.0f : 1.2f;
    request.sampling.frequency_penalty = random() % 2 == 0 ? 0.0f : 0.1f;
    request.sampling.logprobs = static_cast<int>(random() % 3) - 1;
    if (random() % 2 == 0) request.stop_tokens = {static_cast<int32_t>(random() % static_cast<uint64_t>(vocabulary))};
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace kinglet
