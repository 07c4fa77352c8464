#include "engine/loader.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "engine/score.h"
#include "tests/support/models.h"
#include "text/chat_template.h"

namespace kinglet {
namespace {

MemoryPlan small_plan() {
  MemoryPlan plan;
  plan.weight_bytes = uint64_t{100} << 20;
  plan.working_bytes = uint64_t{10} << 20;
  plan.page_bytes = uint64_t{1} << 20;  // 64 positions
  plan.kv_bytes_per_token = plan.page_bytes / 64;
  return plan;
}

constexpr uint64_t mebibytes(uint64_t count) {
  return count << 20;
}

TEST(ChooseContext, WhatTheModelWasTrainedForWhereMemoryAllows) {
  EngineOptions engine;
  engine.max_sequences = 4;
  auto choice = choose_context(small_plan(), 2048, 64, mebibytes(1000), 0, engine);
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->context, 2048);
  EXPECT_EQ(choice->kv_bytes, mebibytes(32 * 4));
  EXPECT_NE(choice->reason.find("trained"), std::string::npos);
}

TEST(ChooseContext, WhatMemoryAllowsOtherwiseAndItSaysSo) {
  auto choice = choose_context(small_plan(), 131072, 64, mebibytes(200), 0, {});
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->context, 70 * 64);  // 180 MiB usable less 110
  EXPECT_EQ(choice->kv_bytes, mebibytes(70));
  EXPECT_NE(choice->reason.find("memory"), std::string::npos);
  EXPECT_NE(choice->reason.find("131072"), std::string::npos);
  EngineOptions engine;
  engine.kv_bytes = mebibytes(8);
  EXPECT_EQ(choose_context(small_plan(), 131072, 64, mebibytes(1000), 0, engine)->context, 512);
}

TEST(ChooseContext, RecurrentStatesOfAllSequencesAreCounted) {
  MemoryPlan plan = small_plan();
  plan.state_bytes = mebibytes(5);
  EngineOptions engine;
  engine.max_sequences = 8;
  auto choice = choose_context(plan, 131072, 64, mebibytes(200), 0, engine);
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->context, 30 * 64);  // 180 MiB usable less 110, less 40
  engine.max_sequences = 14;
  auto refused = choose_context(plan, 131072, 64, mebibytes(200), 0, engine);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("recurrent states 70 MiB"), std::string::npos) << refused.error().message;
}

TEST(ChooseContext, SnapshotsOfStatesTakeAnEighth) {
  MemoryPlan plan = small_plan();
  plan.state_bytes = mebibytes(2);
  EngineOptions engine;
  engine.max_sequences = 3;
  auto choice = choose_context(plan, 131072, 64, mebibytes(200), 0, engine);
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->kept_states, 4);  // an eighth of 180 less 110, less 6
  EXPECT_EQ(choice->context, 56 * 64);
  choice = choose_context(plan, 131072, 64, mebibytes(1000), 0, engine);
  EXPECT_EQ(choice->kept_states, most_kept_states(3));
  engine.prefix_cache = false;
  choice = choose_context(plan, 131072, 64, mebibytes(200), 0, engine);
  EXPECT_EQ(choice->kept_states, 0);
  EXPECT_EQ(choice->context, 64 * 64);
}

TEST(ChooseContext, WhatWasAskedForOrAnErrorWithTheNumbers) {
  auto choice = choose_context(small_plan(), 2048, 64, mebibytes(1000), 4096, {});
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->context, 4096);
  EXPECT_NE(choice->reason.find("2048"), std::string::npos);
  auto refused = choose_context(small_plan(), 2048, 64, mebibytes(150), 4096, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kResource);
  for (const char* number : {"100 MiB", "64 MiB", "135 MiB", "4096"}) {
    EXPECT_NE(refused.error().message.find(number), std::string::npos) << refused.error().message;
  }
  EXPECT_FALSE(choose_context(small_plan(), 2048, 64, mebibytes(100), 0, {}).ok());
  EXPECT_FALSE(choose_context(small_plan(), 2048, 64, 0, 0, {}).ok());
}

TEST(LoadEngine, AMissingFileIsAClearError) {
  auto engine = load_engine("/nowhere/model.gguf");
  ASSERT_FALSE(engine.ok());
  EXPECT_NE(engine.error().message.find("/nowhere/model.gguf"), std::string::npos);
}

std::vector<int32_t> chat_prompt(const Engine& engine, const Checkpoint& checkpoint, const std::string& question) {
  const auto chat_template = ChatTemplate::from_checkpoint(checkpoint);
  EXPECT_TRUE(chat_template.ok());
  RenderRequest render;
  render.messages_json = R"([{"role":"user","content":")" + question + R"("}])";
  const auto text = (*chat_template)->render(render);
  EXPECT_TRUE(text.ok());
  return *engine.tokenizer()->encode(*text, {.add_special = false, .parse_special = true});
}

// Several requests on a pool that is too small for them all: what each answers is what it answers alone.
TEST(EngineRealModel, CompanyChangesNothing) {
  KINGLET_TEST_MODEL(path, "smollm2");
  auto checkpoint = open_checkpoint(path);
  ASSERT_TRUE(checkpoint.ok());
  LoadOptions options;
  options.model.context = 192;
  options.engine.max_sequences = 4;
  options.engine.kv_bytes = plan_memory(**checkpoint, options.model)->page_bytes * 6;
  double last_fraction = -1.0;
  options.progress = [&](const char*, double fraction) { last_fraction = fraction; };
  auto engine = load_engine(*checkpoint, options);
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  EXPECT_EQ((*engine)->context(), 192);
  EXPECT_GE(last_fraction, 0.99);

  std::vector<Request> requests;
  for (const char* question : {"What is the capital of France?", "Name three birds.", "What is two plus two?",
                               "Why is the sky blue?", "Write a line about the sea."}) {
    Request request;
    request.prompt = chat_prompt(**engine, **checkpoint, question);
    request.max_tokens = 60;
    request.sampling.temperature = requests.empty() ? 0.0f : 0.7f;
    request.sampling.seed = 5;
    request.sampling.logprobs = 2;
    requests.push_back(std::move(request));
  }
  std::vector<Completion> alone;
  for (const Request& request : requests) alone.push_back((*(*engine)->submit(request))->wait());
  EXPECT_FALSE(alone[0].text.empty());
  std::vector<std::shared_ptr<Generation>> together;
  for (const Request& request : requests) together.push_back(*(*engine)->submit(request));
  for (size_t i = 0; i < together.size(); ++i) {
    const Completion completion = together[i]->wait();
    EXPECT_EQ(completion.tokens, alone[i].tokens);
    EXPECT_EQ(completion.text, alone[i].text);
    ASSERT_EQ(completion.logprobs.size(), alone[i].logprobs.size());
    for (size_t t = 0; t < completion.logprobs.size(); ++t) {
      EXPECT_EQ(completion.logprobs[t].logprob, alone[i].logprobs[t].logprob);
      EXPECT_EQ(completion.logprobs[t].top, alone[i].logprobs[t].top);
    }
  }
}

// Resident bytes of this process's maps of a file.
uint64_t resident_bytes(const std::string& path) {
  std::ifstream maps("/proc/self/smaps");
  uint64_t sum = 0;
  bool of_file = false;
  for (std::string line; std::getline(maps, line);) {
    const bool header = line.find('-') < line.find(' ') && line.find(':') > line.find(' ');
    if (header) of_file = line.ends_with(path);
    if (of_file && line.starts_with("Rss:")) sum += std::stoull(line.substr(4)) << 10;
  }
  return sum;
}

TEST(EngineRealModel, WeightsAreNotHeldTwice) {
  KINGLET_TEST_MODEL(path, "smollm2");
  const std::string file = std::filesystem::canonical(path);
  LoadOptions options;
  options.model.context = 192;
  auto checkpoint = open_checkpoint(path);
  ASSERT_TRUE(checkpoint.ok());
  auto loaded = load_engine(*checkpoint, options);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  // What the tokenizer was read from stays, and embeddings once they are looked at.
  EXPECT_LT(resident_bytes(file), std::filesystem::file_size(file) / 4);
}

TEST(EngineRealModel, KnowsAnAnswer) {
  KINGLET_TEST_MODEL(path, "smollm2");
  auto checkpoint = open_checkpoint(path);
  ASSERT_TRUE(checkpoint.ok());
  LoadOptions options;
  options.model.compute = ComputeMode::kF32;  // to the model itself, "The capital" and "L'Étoile" are nearly equal
  options.model.context = 128;
  auto engine = load_engine(*checkpoint, options);
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  Request request;
  request.prompt = chat_prompt(**engine, **checkpoint, "What is the capital of France?");
  request.max_tokens = 20;
  request.sampling.temperature = 0.0f;
  const Completion completion = (*(*engine)->submit(request))->wait();
  EXPECT_EQ(completion.text, "The capital of France is Paris.");
  EXPECT_EQ(completion.finish.reason, FinishReason::kStop);
}

TEST(ScoreRealModel, TheSameBitsForAnyChunk) {
  KINGLET_TEST_MODEL(path, "smollm2");
  auto checkpoint = open_checkpoint(path);
  ASSERT_TRUE(checkpoint.ok());
  auto model = load_step_model(*checkpoint, {}, 128);
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ((*model)->context(), 128);
  const auto tokenizer = *Tokenizer::from_checkpoint(**checkpoint);
  const auto tokens = *tokenizer->encode(
      "The kinglet is one of the smallest birds of Europe. It lives in forests of spruce and fir, where "
      "it feeds on insects and spiders that it finds between the needles.");
  const auto whole = token_logprobs(**model, tokens);
  ASSERT_TRUE(whole.ok());
  double mean = 0.0;
  for (float logprob : *whole) mean -= logprob / static_cast<double>(whole->size());
  EXPECT_GT(mean, 1.0);
  EXPECT_LT(mean, 5.0);
  for (int64_t chunk : {1, 7, 33}) EXPECT_EQ(*token_logprobs(**model, tokens, {chunk, 0}), *whole);
  const auto tail = token_logprobs(**model, tokens, {0, 20});
  EXPECT_EQ(*tail, std::vector<float>(whole->begin() + 20, whole->end()));
}

}  // namespace
}  // namespace kinglet
