#include "server/openai.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/hash.h"
#include "server/api_keys.h"

namespace kinglet::server {
namespace {

using testing::HasSubstr;

std::string chat_error(const std::string& field) {
  const auto call = openai_chat_call(R"({"messages":[{"role":"user","content":"a"}],)" + field + "}");
  return call.ok() ? "accepted" : call.error().message;
}

TEST(OpenAiCalls, ChatFieldsArriveWhereTheyBelong) {
  const auto call = openai_chat_call(R"({"model":"m","stream":true,"stream_options":{"include_usage":true},"n":2,
    "temperature":0.5,"top_p":0.9,"seed":-1,"stop":"END","logprobs":true,"top_logprobs":3,"max_tokens":5,
    "max_completion_tokens":7,"logit_bias":{"42":-100,"7":1.5},"reasoning_effort":"none","unknown":[1],
    "response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"z":1,"a":2}}},
    "messages":[{"role":"developer","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]})");
  ASSERT_TRUE(call.ok()) << call.error().message;
  const CallOptions& o = call->options;
  EXPECT_EQ(call->messages_json, R"([{"role":"system","content":"ab"}])");
  EXPECT_EQ(o.model, "m");
  EXPECT_TRUE(o.stream && o.include_usage);
  EXPECT_EQ(o.n, 2);
  EXPECT_EQ(o.sampling.temperature, 0.5f);
  EXPECT_EQ(o.sampling.seed, UINT64_MAX);
  EXPECT_EQ(o.stop, std::vector<std::string>{"END"});
  EXPECT_EQ(o.logprobs, 3);
  EXPECT_EQ(o.max_tokens, 7);
  EXPECT_EQ(o.sampling.logit_bias.at(42), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(o.sampling.logit_bias.at(7), 1.5f);
  EXPECT_EQ(o.json_schema, R"({"z":1,"a":2})") << "keys keep their order";
  EXPECT_EQ(call->think, false);
}

TEST(OpenAiCalls, ArgumentsOfToolCallsAreOpened) {
  const auto call = openai_chat_call(
      R"({"messages":[{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{\"a\":1}"}}]}]})");
  ASSERT_TRUE(call.ok());
  EXPECT_THAT(call->messages_json, HasSubstr(R"("arguments":{"a":1})"));
}

TEST(OpenAiCalls, WrongFieldsAreNamed) {
  EXPECT_EQ(chat_error(R"("temperature":"hot")"), "temperature: found \"hot\", expected a number");
  EXPECT_EQ(chat_error(R"("n":0)"), "n: found 0, expected a whole number from 1 to 128");
  EXPECT_EQ(chat_error(R"("n":1.5)"), "n: found 1.5, expected a whole number from 1 to 128");
  EXPECT_THAT(chat_error(R"("stop":[1])"), HasSubstr("stop: "));
  EXPECT_THAT(chat_error(R"("seed":18446744073709551615)"), HasSubstr("seed: "));
  EXPECT_THAT(chat_error(R"("logit_bias":{"x":1})"), HasSubstr("logit_bias: "));
  EXPECT_THAT(chat_error(R"("response_format":{"type":"xml"})"), HasSubstr("response_format: "));
  EXPECT_THAT(chat_error(R"("response_format":{"type":"json_schema"})"), HasSubstr("response_format: "));
  EXPECT_THAT(chat_error(R"("messages":[])"), HasSubstr("messages: "));
  EXPECT_THAT(chat_error(R"("messages":[{"role":"user","content":[{"type":"image_url"}]}])"),
              HasSubstr("messages[0]: "));
  EXPECT_EQ(chat_error(R"("temperature":null)"), "accepted");
}

TEST(OpenAiCalls, BodiesThatAreNoObjects) {
  for (const char* body : {"", "[]", "{", "\"a\"", "{\"a\":\xff}", "{} {}"}) {
    EXPECT_FALSE(openai_chat_call(body).ok()) << body;
    EXPECT_FALSE(openai_text_call(body).ok()) << body;
  }
  const std::string deep = R"({"messages":)" + std::string(100'000, '[') + "}";
  EXPECT_THAT(openai_chat_call(deep).error().message, HasSubstr("levels deep"));
}

TEST(OpenAiCalls, PromptsOfAllShapes) {
  const auto count = [](const std::string& prompt) {
    const auto call = openai_text_call(R"({"prompt":)" + prompt + "}");
    return call.ok() ? static_cast<int>(call->prompts.size()) : -1;
  };
  EXPECT_EQ(count(R"("a")"), 1);
  EXPECT_EQ(count(R"(["a","b"])"), 2);
  EXPECT_EQ(count("[1,2,3]"), 1);
  EXPECT_EQ(count("[[1,2],[3]]"), 2);
  EXPECT_EQ(count("[]"), -1);
  EXPECT_EQ(count("[1,-2]"), -1);
  EXPECT_EQ(count("[[1],[4294967296]]"), -1);
  EXPECT_EQ(count("null"), -1);
  EXPECT_EQ(count("{}"), -1);
}

TEST(OpenAiErrors, Envelope) {
  const HttpResponse bad = openai_error(400, {ErrorCode::kInvalid, "temperature: found 9, expected less"});
  EXPECT_EQ(bad.body, R"({"error":{"message":"temperature: found 9, expected less","type":"invalid_request_error",)"
                      R"("param":"temperature","code":null}})");
  const HttpResponse full = openai_error(429, {ErrorCode::kResource, "full"});
  EXPECT_EQ(full.headers, (Headers{{"retry-after", "1"}}));
}

TEST(OpenAiAnswers, StreamOfTwoChats) {
  const auto format =
      openai_chat_format({.id = "i", .model = "m", .created = 1, .tokenizer = nullptr, .n = 2, .include_usage = true});
  Event event;
  event.reasoning = "r";
  event.text = "t";
  const std::string first = format->event(1, event);
  EXPECT_THAT(first, HasSubstr(R"("index":1,"delta":{"role":"assistant","content":""})"));
  EXPECT_THAT(first, HasSubstr(R"("delta":{"reasoning_content":"r","content":"t"})"));
  Event last;
  last.finish.emplace();
  last.finish->reason = FinishReason::kLength;
  last.finish->stats.prompt_tokens = 10;
  last.finish->stats.generated_tokens = 3;
  EXPECT_THAT(format->event(1, last), HasSubstr(R"("finish_reason":"length")"));
  format->event(0, last);
  EXPECT_THAT(format->last(), HasSubstr(R"("usage":{"prompt_tokens":10,"completion_tokens":6,"total_tokens":16)"))
      << "one prompt, two answers";
  EXPECT_TRUE(format->last().ends_with("data: [DONE]\n\n"));
}

TEST(ApiKeys, OnlyHashesAndOnlyWhole) {
  const auto keys = ApiKeys::parse("# people\nann " + sha256_hex(std::string_view("sk-1")) + "\n\n", "keys");
  ASSERT_TRUE(keys.ok());
  EXPECT_EQ(keys->find("sk-1"), "ann");
  EXPECT_EQ(keys->find("sk-"), std::nullopt);
  EXPECT_EQ(keys->find(""), std::nullopt);
  const auto plain = ApiKeys::parse("ann sk-secret\n", "keys");
  ASSERT_FALSE(plain.ok());
  EXPECT_THAT(plain.error().message, HasSubstr("keys, line 1"));
  EXPECT_EQ(plain.error().message.find("sk-secret"), std::string::npos);
  EXPECT_FALSE(ApiKeys::parse("\n# none\n", "keys").ok());
}

}  // namespace
}  // namespace kinglet::server
