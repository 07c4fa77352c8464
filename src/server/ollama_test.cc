#include "server/ollama.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/json_fields.h"

namespace kinglet::server {
namespace {

using testing::HasSubstr;

// What a field is refused with, or "accepted".
std::string chat_error(const std::string& field) {
  const auto call = ollama_chat_call(R"({"messages":[{"role":"user","content":"a"}],)" + field + "}");
  return call.ok() ? "accepted" : call.error().message;
}
std::string generate_error(const std::string& field) {
  const auto call = ollama_generate_call(R"({"prompt":"a",)" + field + "}");
  return call.ok() ? "accepted" : call.error().message;
}

TEST(OllamaCalls, FieldsArriveWhereTheyBelong) {
  const auto call = ollama_chat_call(R"({"model":"m:latest","stream":false,"think":"high","keep_alive":"5m",
    "options":{"temperature":0.5,"top_k":-1,"top_p":0.9,"min_p":0.1,"typical_p":0.8,"repeat_penalty":1.5,"repeat_last_n":32,
    "presence_penalty":0.25,"frequency_penalty":0.75,"seed":7,"stop":["END"],"num_predict":5,"num_ctx":100,"num_gpu":1},
    "format":{"z":1,"a":2},"messages":[{"role":"user","content":"a","images":[]}]})");
  ASSERT_TRUE(call.ok()) << call.error().message;
  const CallOptions& o = call->options();
  EXPECT_EQ(o.model, "m:latest");
  EXPECT_FALSE(o.stream);
  EXPECT_EQ(o.sampling.temperature, 0.5f);
  EXPECT_EQ(o.sampling.top_k, 0) << "all";
  EXPECT_EQ(o.sampling.top_p, 0.9f);
  EXPECT_EQ(o.sampling.min_p, 0.1f);
  EXPECT_EQ(o.sampling.typical_p, 0.8f);
  EXPECT_EQ(o.sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(o.sampling.penalty_last_n, 32);
  EXPECT_EQ(o.sampling.presence_penalty, 0.25f);
  EXPECT_EQ(o.sampling.frequency_penalty, 0.75f);
  EXPECT_EQ(o.sampling.seed, 7u);
  EXPECT_EQ(o.stop, std::vector<std::string>{"END"});
  EXPECT_EQ(o.max_tokens, 5);
  EXPECT_EQ(o.json_schema, R"({"z":1,"a":2})") << "keys keep their order";
  EXPECT_EQ(call->context, 100);
  EXPECT_FALSE(call->only_loads);
  const auto& chat = std::get<ChatCall>(call->call);
  EXPECT_EQ(chat.think, true);
  EXPECT_EQ(chat.template_args_json, R"({"reasoning_effort":"high"})");
  EXPECT_EQ(chat.messages_json, R"([{"role":"user","content":"a"}])");
}

TEST(OllamaCalls, WhatIsNotSaid) {
  const auto call = ollama_chat_call(
      R"({"messages":[{"role":"user","content":"a"}],"format":"","options":{"num_predict":-2,"seed":-1}})");
  ASSERT_TRUE(call.ok());
  EXPECT_TRUE(call->options().stream) << "unlike OpenAI's";
  EXPECT_EQ(call->options().max_tokens, -1);
  EXPECT_EQ(call->options().sampling.seed, std::nullopt);
  EXPECT_EQ(call->options().json_schema, std::nullopt);
  EXPECT_EQ(std::get<ChatCall>(call->call).think, std::nullopt);
  EXPECT_TRUE(ollama_chat_call(R"({"model":"m"})")->only_loads);
  EXPECT_TRUE(ollama_generate_call(R"({"model":"m","keep_alive":0})")->only_loads);
}

TEST(OllamaCalls, PromptsBecomeMessagesUnlessRaw) {
  const auto plain = ollama_generate_call(R"({"prompt":"p","system":"s","think":false,"format":"json"})");
  ASSERT_TRUE(plain.ok());
  const auto& chat = std::get<ChatCall>(plain->call);
  EXPECT_EQ(chat.messages_json, R"([{"role":"system","content":"s"},{"role":"user","content":"p"}])");
  EXPECT_EQ(chat.think, false);
  EXPECT_EQ(chat.options.json_schema, R"({"type":"object"})");
  const auto raw = ollama_generate_call(R"({"prompt":"p","raw":true,"options":{"stop":"x"}})");
  ASSERT_TRUE(raw.ok());
  const auto& text = std::get<TextCall>(raw->call);
  ASSERT_EQ(text.prompts.size(), 1u);
  EXPECT_EQ(std::get<std::string>(text.prompts[0]), "p");
  EXPECT_EQ(text.options.stop, std::vector<std::string>{"x"});
}

TEST(OllamaCalls, ToolsAndTheirResultsGetIds) {
  const auto call = ollama_chat_call(R"({"tools":[{"type":"function","function":{"name":"f"}}],"messages":[
    {"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}},{"id":"own","function":{"name":"g"}}]},
    {"role":"tool","tool_name":"f","content":"1"},{"role":"tool","content":"2"},{"role":"tool","content":"3"}]})");
  ASSERT_TRUE(call.ok()) << call.error().message;
  const auto& chat = std::get<ChatCall>(call->call);
  EXPECT_EQ(chat.tools_json, R"([{"type":"function","function":{"name":"f"}}])");
  const auto messages = Json::parse(chat.messages_json);
  EXPECT_EQ(messages[0]["content"], "");
  EXPECT_EQ(messages[0]["tool_calls"][0]["function"]["arguments"]["a"], 1);
  EXPECT_EQ(messages[0]["tool_calls"][0]["id"], "000000000");
  EXPECT_EQ(messages[1]["tool_call_id"], "000000000");
  EXPECT_EQ(messages[1]["name"], "f");
  EXPECT_EQ(messages[2]["tool_call_id"], "own");
  EXPECT_FALSE(messages[3].contains("tool_call_id")) << "there is no call left";
}

TEST(OllamaCalls, WrongFieldsAreNamed) {
  EXPECT_EQ(chat_error(R"("options":{"temperature":"hot"})"), "options.temperature: found \"hot\", expected a number");
  EXPECT_THAT(chat_error(R"("options":{"num_predict":1.5})"), HasSubstr("options.num_predict: "));
  EXPECT_THAT(chat_error(R"("options":[])"), HasSubstr("options: "));
  EXPECT_THAT(chat_error(R"("stream":1)"), HasSubstr("stream: "));
  EXPECT_THAT(chat_error(R"("format":"xml")"), HasSubstr("format: "));
  EXPECT_THAT(chat_error(R"("think":"deeply")"), HasSubstr("think: "));
  EXPECT_THAT(chat_error(R"("logprobs":true)"), HasSubstr("logprobs: "));
  EXPECT_EQ(chat_error(R"("logprobs":false,"options":{},"think":null,"unknown":[1])"), "accepted");
  for (const char* field : {R"("images":["AA=="])", R"("suffix":"b")", R"("template":"{{x}}")", R"("context":[1])",
                            R"("prompt":1)", R"("raw":"yes")", R"("system":{})"}) {
    const std::string name = std::string(field).substr(1, std::string(field).find('"', 1) - 1);
    EXPECT_THAT(generate_error(field), testing::StartsWith(name + ": ")) << field;
  }
  EXPECT_EQ(generate_error(R"("images":[],"suffix":"","template":"","context":[])"), "accepted");
  const auto messages = [](const std::string& json) {
    return ollama_chat_call(R"({"messages":)" + json + "}").error().message;
  };
  EXPECT_THAT(messages(R"(["a"])"), HasSubstr("messages[0]: "));
  EXPECT_THAT(messages(R"([{"content":"a"}])"), HasSubstr("messages[0].role: "));
  EXPECT_THAT(messages(R"([{"role":"user","content":[]}])"), HasSubstr("messages[0].content: "));
  EXPECT_THAT(messages(R"([{"role":"user","images":["AA=="]}])"), HasSubstr("messages[0].images: "));
  EXPECT_THAT(messages("3"), HasSubstr("messages: "));
}

TEST(OllamaCalls, BodiesThatAreNoObjects) {
  for (const char* body : {"", "[]", "{", "\"a\"", "{\"a\":\xff}", "{} {}"}) {
    EXPECT_FALSE(ollama_chat_call(body).ok()) << body;
    EXPECT_FALSE(ollama_generate_call(body).ok()) << body;
    EXPECT_FALSE(ollama_model_field(body).ok()) << body;
  }
}

TEST(OllamaCalls, NamesAndTags) {
  EXPECT_EQ(ollama_plain_name("m:latest"), "m");
  EXPECT_EQ(ollama_plain_name("m:7b"), "m:7b");
  EXPECT_EQ(ollama_tagged_name("m"), "m:latest");
  EXPECT_EQ(ollama_tagged_name("m:7b"), "m:7b");
  EXPECT_EQ(ollama_tagged_name("host:80/m"), "host:80/m:latest");
  EXPECT_EQ(*ollama_model_field(R"({"name":"old"})"), "old");
  EXPECT_EQ(*ollama_model_field(R"({"model":"new","name":"old"})"), "new");
  EXPECT_THAT(ollama_model_field("{}").error().message, HasSubstr("model: "));
}

Event last_event() {
  Event event;
  event.text = "c";
  FinishInfo& finish = event.finish.emplace();
  finish.reason = FinishReason::kLength;
  finish.stats.prompt_tokens = 10;
  finish.stats.generated_tokens = 3;
  finish.stats.started_seconds = 0.5;
  finish.stats.first_token_seconds = 1.5;
  finish.stats.finished_seconds = 3.5;
  return event;
}

// Without the time, which differs.
Json plain(std::string_view line) {
  Json json = Json::parse(line);
  EXPECT_EQ(json.erase("created_at"), 1u);
  return json;
}

TEST(OllamaAnswers, LinesPutTogetherAreTheWhole) {
  for (const OllamaAnswer kind : {OllamaAnswer::kChat, OllamaAnswer::kGenerate}) {
    const auto format = ollama_format(kind, "m");
    const auto message = [kind](const Json& line) { return kind == OllamaAnswer::kChat ? line["message"] : line; };
    const char* text_field = kind == OllamaAnswer::kChat ? "content" : "response";
    EXPECT_EQ(format->content_type(true), "application/x-ndjson");
    std::vector<Event> events(3);
    events[0].reasoning = "r";
    events[1].reasoning = "s";
    events[1].text = "a\nb";
    events.push_back(last_event());
    std::string bytes = format->first(), text, reasoning;
    Completion completion;
    for (const Event& event : events) {
      bytes += format->event(0, event);
      completion.text += event.text;
      completion.reasoning += event.reasoning;
    }
    completion.finish = *events.back().finish;
    bytes += format->last();
    std::vector<Json> lines;
    for (size_t at = 0, end; (end = bytes.find('\n', at)) != std::string::npos; at = end + 1) {
      lines.push_back(plain(std::string_view(bytes).substr(at, end - at)));
      text += message(lines.back())[text_field].get<std::string>();
      reasoning += message(lines.back()).value("thinking", "");
      EXPECT_EQ(lines.back()["done"], end + 1 == bytes.size());
    }
    EXPECT_EQ(lines.size(), 4u) << "an event without text has no line";
    Json whole = plain(format->whole({completion}));
    EXPECT_EQ(message(whole)[text_field], text);
    EXPECT_EQ(message(whole)["thinking"], reasoning);
    EXPECT_EQ(text + reasoning, "a\nbcrs");
    Json last = lines.back();
    for (Json* json : {&last, &whole}) json->erase(kind == OllamaAnswer::kChat ? "message" : "response");
    whole.erase("thinking");
    EXPECT_EQ(last, whole) << "the last line says of the answer what the whole says";
  }
}

TEST(OllamaAnswers, LastLine) {
  const auto format = ollama_format(OllamaAnswer::kChat, "m");
  Event event = last_event();
  event.text.clear();
  EXPECT_EQ(to_text(plain(format->event(0, event))),
            R"({"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"length",)"
            R"("total_duration":3500000000,"load_duration":500000000,"prompt_eval_count":10,)"
            R"("prompt_eval_duration":1000000000,"eval_count":3,"eval_duration":2000000000})");
  event.finish->reason = FinishReason::kStop;
  event.finish->stats = {};
  const Json early = plain(format->event(0, event));
  EXPECT_EQ(early["done_reason"], "stop");
  EXPECT_EQ(early["eval_duration"], 0) << "never a negative time";
  EXPECT_EQ(format->failure({ErrorCode::kIo, "it \"broke\""}), "{\"error\":\"it \\\"broke\\\"\"}\n");
  EXPECT_EQ(plain(ollama_loaded(OllamaAnswer::kGenerate, "m")),
            Json::parse(R"({"model":"m","response":"","done":true,"done_reason":"load"})"));
}

TEST(OllamaAnswers, ErrorsAndTimes) {
  const HttpResponse full = ollama_error(429, {ErrorCode::kResource, "full"});
  EXPECT_EQ(full.body, R"({"error":"full"})");
  EXPECT_EQ(full.headers, (Headers{{"retry-after", "1"}}));
  EXPECT_EQ(ollama_time(1'000'000'000), "2001-09-09T01:46:40Z");
}

}  // namespace
}  // namespace kinglet::server
