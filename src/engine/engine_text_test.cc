// The engine with a tokenizer: text, stop strings, end-of-generation tokens, grammars. The model is a fake one that
// follows a script, the tokenizer has one token for each byte, and a few special ones. All of it without drafts and
// with drafts that partly hold: nothing may differ.
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/fake_model.h"
#include "engine/model_drafter.h"
#include "engine/speculation_test_support.h"
#include "text/grammar.h"
#include "text/tool_calls.h"

namespace kinglet {
namespace {

constexpr int32_t kEnd = 256;

std::string utf8(uint32_t code) {
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
}

// The letter that byte-level BPE writes for a byte: printable Latin-1 for itself, the others from U+0100 on.
std::string byte_letter(uint32_t byte) {
  const auto printable = [](uint32_t b) { return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae; };
  if (printable(byte)) return utf8(byte);
  uint32_t code = 0x100;
  for (uint32_t b = 0; b < byte; ++b) code += printable(b) ? 0 : 1;
  return utf8(code);
}

std::shared_ptr<const Tokenizer> byte_tokenizer(const char* end = "<|im_end|>") {
  std::string vocabulary;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    std::string letter = byte_letter(byte);
    if (letter == "\"" || letter == "\\") letter.insert(0, "\\");
    vocabulary += (byte == 0 ? "\"" : ",\"") + letter + "\":" + std::to_string(byte);
  }
  std::string added;
  int id = kEnd;
  for (const char* word : {end, "<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>"}) {
    added += std::string(added.empty() ? "" : ",") + R"({"id":)" + std::to_string(id++) + R"(,"content":")" + word +
             R"(",)" + R"("single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true})";
  }
  const std::string json =
      R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[)" + added +
      R"(],"normalizer":null,)"
      R"("pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false},)"
      R"("post_processor":null,"decoder":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,)"
      R"("use_regex":false},"model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,)"
      R"("end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":false,"vocab":{)" +
      vocabulary + R"(},"merges":[]}})";
  auto tokenizer = Tokenizer::from_json(json);
  EXPECT_TRUE(tokenizer.ok()) << (tokenizer.ok() ? "" : tokenizer.error().message);
  return tokenizer.ok() ? *tokenizer : nullptr;
}

class EngineText : public ::testing::TestWithParam<bool> {
 protected:
  // The model answers any one-token prompt with `script`, then the end token, then again from the start.
  void start(const std::string& script) {
    tokenizer_ = byte_tokenizer();
    ASSERT_NE(tokenizer_, nullptr);
    ASSERT_TRUE(tokenizer_->is_end_of_generation(kEnd));
    FakeModelOptions model;
    model.vocabulary = 300;  // a few rows more than the tokenizer has ids
    model.context = 200;
    if (!script.empty()) {
      std::vector<int32_t> tokens = *tokenizer_->encode(script, {.add_special = false, .parse_special = true});
      tokens.push_back(kEnd);
      model.logits = [tokens](std::span<const int32_t> history, std::span<float> logits) {
        logits[static_cast<size_t>(tokens[(history.size() - 1) % tokens.size()])] = 10.0f;
      };
    }
    EngineOptions options;
    if (GetParam()) {
      model.drafts = true;
      options.speculation.always = true;
      options.speculation.drafter = std::make_shared<RandomDrafter>(
          1, model.vocabulary, [logits = model.logits](std::span<const int32_t> tokens) {
            std::vector<float> row(300);
            if (logits) logits(tokens, row);
            const auto best = std::max_element(row.begin(), row.end());
            return *best > 0.0f ? static_cast<int32_t>(best - row.begin()) : -1;
          });
    }
    auto engine = Engine::create(std::make_unique<FakeModel>(model), tokenizer_, options);
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    engine_ = std::move(engine).value();
  }

  static Request greedy() {
    Request request;
    request.prompt = {65};
    request.sampling.temperature = 0.0f;
    return request;
  }

  Completion run(Request request) {
    auto generation = engine_->submit(std::move(request));
    EXPECT_TRUE(generation.ok()) << (generation.ok() ? "" : generation.error().message);
    return generation.ok() ? (*generation)->wait() : Completion{};
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<Engine> engine_;
};

TEST_P(EngineText, EndsAtTheEndToken) {
  start("Hello, é日本😀!");
  const Completion completion = run(greedy());
  EXPECT_EQ(completion.text, "Hello, é日本😀!");
  EXPECT_EQ(completion.finish.reason, FinishReason::kStop);
  EXPECT_EQ(completion.finish.stop_token, kEnd);
  EXPECT_EQ(completion.tokens.back(), kEnd);
  EXPECT_EQ(completion.finish.stats.generated_tokens, static_cast<int64_t>(completion.tokens.size()));
}

TEST_P(EngineText, EveryPieceIsWholeCharacters) {
  start("é日本😀ü");
  auto generation = *engine_->submit(greedy());
  std::vector<std::string> pieces;
  while (auto event = generation->next_event()) {
    if (!event->text.empty()) pieces.push_back(event->text);
  }
  EXPECT_EQ(pieces, (std::vector<std::string>{"é", "日", "本", "😀", "ü"}));
}

TEST_P(EngineText, StopStringsLeaveNoTrace) {
  start("one two ST STO STOP three");
  Request request = greedy();
  request.stop = {"STOP", "never"};
  auto generation = *engine_->submit(request);
  std::string text;
  std::optional<FinishInfo> finish;
  while (auto event = generation->next_event()) {
    text += event->text;
    EXPECT_EQ(text, std::string("one two ST STO ").substr(0, text.size()));
    finish = event->finish;
  }
  EXPECT_EQ(text, "one two ST STO ");
  ASSERT_TRUE(finish.has_value());
  EXPECT_EQ(finish->reason, FinishReason::kStop);
  EXPECT_EQ(finish->stop_string, "STOP");
  EXPECT_FALSE(finish->stop_token.has_value());
}

TEST_P(EngineText, HeldBackTextComesAtTheEnd) {
  start("abc ST");
  Request request = greedy();
  request.stop = {"STOP"};
  EXPECT_EQ(run(request).text, "abc ST");
  request.max_tokens = 5;
  const Completion cut = run(request);
  EXPECT_EQ(cut.text, "abc S");
  EXPECT_EQ(cut.finish.reason, FinishReason::kLength);
}

TEST_P(EngineText, ACutCharacterIsReplacedAsInWholeTextDecoding) {
  start("ab日");
  Request request = greedy();
  request.max_tokens = 4;
  const Completion completion = run(request);
  EXPECT_EQ(completion.text, tokenizer_->decode(completion.tokens));
  EXPECT_EQ(completion.text, "ab\xEF\xBF\xBD");
}

TEST_P(EngineText, IgnoreEosGoesOn) {
  start("xy");
  Request request = greedy();
  request.ignore_eos = true;
  request.max_tokens = 8;
  const Completion completion = run(request);
  EXPECT_EQ(completion.text, "xyxyxy");
  EXPECT_EQ(completion.finish.reason, FinishReason::kLength);
}

TEST_P(EngineText, StopTokensAreNotPartOfTheText) {
  start("ab;cd");
  Request request = greedy();
  request.stop_tokens = {';'};
  const Completion completion = run(request);
  EXPECT_EQ(completion.text, "ab");
  EXPECT_EQ(completion.finish.stop_token, ';');
}

TEST_P(EngineText, AGrammarIsFollowedAndEndsTheAnswer) {
  start("");  // noise
  auto grammar = Grammar::from_regex(tokenizer_, "[0-9]{3}-(yes|no)");
  ASSERT_TRUE(grammar.ok()) << grammar.error().message;
  std::vector<std::shared_ptr<Generation>> generations;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    Request request;
    request.prompt = {65};
    request.sampling.seed = seed;
    request.grammar = *grammar;
    generations.push_back(*engine_->submit(request));
  }
  for (auto& generation : generations) {
    const Completion completion = generation->wait();
    EXPECT_EQ(completion.finish.reason, FinishReason::kStop);
    ASSERT_GE(completion.text.size(), 6u);
    for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(completion.text[i] >= '0' && completion.text[i] <= '9');
    const std::string tail = completion.text.substr(3);
    EXPECT_TRUE(tail == "-yes" || tail == "-no") << tail;
  }
}

TEST_P(EngineText, StopStringsAreLookedForInTheAnswerOnly) {
  start("<t>one. two.</t>\n\nthree. four");
  Request request = greedy();
  request.stop = {"."};
  request.thinking = Thinking{{"<t>", "</t>"}};
  Completion completion = run(request);
  EXPECT_EQ(completion.reasoning, "one. two.");
  EXPECT_EQ(completion.text, "three");
  EXPECT_EQ(completion.finish.stop_string, ".");
  request.max_tokens = 7;
  completion = run(request);
  EXPECT_EQ(completion.reasoning, "one.");
  EXPECT_EQ(completion.text, "");
  EXPECT_EQ(completion.finish.reason, FinishReason::kLength);
  request.thinking.reset();
  EXPECT_EQ(run(request).text, "<t>one");
  request.thinking = Thinking{{"<t>", ""}};
  EXPECT_FALSE(engine_->submit(request).ok());
}

TEST_P(EngineText, SpecialTokensOfChannelsReachTheSplitter) {
  start("<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Blue.");
  Request request = greedy();
  EXPECT_EQ(run(request).text, "analysisHm.assistantfinalBlue.");
  request.thinking = Thinking{*find_reasoning_markers("<|channel|>analysis<|message|>")};
  const Completion completion = run(request);
  EXPECT_EQ(completion.reasoning, "Hm.");
  EXPECT_EQ(completion.text, "Blue.");
}

TEST_P(EngineText, MarkersOfToolCallsReachTheText) {
  const std::string call = "<|channel|>commentary to=functions.f<|message|>{}<|end|>";
  start("<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant" + call);
  const auto format = find_tool_call_format("<|channel|>commentary to=");
  ASSERT_TRUE(format);
  Request request = greedy();
  request.visible_special = visible_special_tokens(*format, *tokenizer_);
  EXPECT_EQ(run(request).text, "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant" + call);
  request.thinking = Thinking{*find_reasoning_markers("<|channel|>analysis<|message|>")};
  EXPECT_EQ(run(request).text, "{}");
  request.thinking->markers.keep_recipients = true;
  const Completion completion = run(request);
  EXPECT_EQ(completion.reasoning, "Hm.");
  EXPECT_EQ(completion.text, "<|start|>assistant" + call);
}

TEST_P(EngineText, AGrammarBeginsAfterTheThinking) {
  start("abc</t>123x");
  auto grammar = Grammar::from_regex(tokenizer_, "[0-9]{3}");
  ASSERT_TRUE(grammar.ok()) << grammar.error().message;
  Request request = greedy();
  request.grammar = *grammar;
  request.thinking = Thinking{{"<t>", "</t>"}, true};
  const Completion completion = run(request);
  EXPECT_EQ(completion.reasoning, "abc");
  EXPECT_EQ(completion.text, "123");
  EXPECT_EQ(completion.finish.reason, FinishReason::kStop);
}

TEST_P(EngineText, AGrammarOfAnotherTokenizerIsRefused) {
  start("x");
  auto grammar = Grammar::from_regex(byte_tokenizer(), "a");
  ASSERT_TRUE(grammar.ok());
  Request request = greedy();
  request.grammar = *grammar;
  EXPECT_NE(engine_->submit(request).error().message.find("grammar"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Drafts, EngineText, ::testing::Bool(),
                         [](const auto& row) { return row.param ? "With" : "Without"; });

TEST(EngineVocabulary, ADraftingModelHasTheSame) {
  const auto tokenizer = byte_tokenizer();
  EXPECT_TRUE(check_same_vocabulary(*tokenizer, *byte_tokenizer()).ok());
  const Status other = check_same_vocabulary(*tokenizer, *byte_tokenizer("<|over|>"));
  ASSERT_FALSE(other.ok());
  for (const char* part : {"256", "<|over|>", "<|im_end|>"}) {
    EXPECT_NE(other.error().message.find(part), std::string::npos) << other.error().message;
  }
}

TEST(EngineVocabulary, ATokenizerLargerThanTheModelIsRefused) {
  FakeModelOptions model;
  model.vocabulary = 100;
  EXPECT_FALSE(Engine::create(std::make_unique<FakeModel>(model), byte_tokenizer()).ok());
}

}  // namespace
}  // namespace kinglet
