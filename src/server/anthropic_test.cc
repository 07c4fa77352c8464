#include "server/anthropic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <utility>

namespace kinglet::server {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

constexpr const char* kUser = R"("messages":[{"role":"user","content":"a"}])";

Result<ChatCall> read(const std::string& fields, AnthropicUse use = AnthropicUse::kAnswer) {
  return anthropic_call(R"({"max_tokens":9,)" + fields + "}", use);
}

std::string messages_of(const std::string& messages, const std::string& more = "") {
  const auto call = read(more + R"("messages":)" + messages);
  return call.ok() ? call->messages_json : call.error().message;
}

std::string problem(const std::string& fields) {
  const auto call = read(std::string(kUser) + "," + fields);
  return call.ok() ? "accepted" : call.error().message;
}

TEST(AnthropicCalls, FieldsArriveWhereTheyBelong) {
  const auto call = read(std::string(kUser) +
                         R"(,"model":"m","stream":true,"temperature":0.5,"top_p":0.9,"top_k":7,"stop_sequences":["END"],
    "metadata":{"user_id":"u"},"unknown":[1],"thinking":{"type":"enabled","budget_tokens":2048},
    "output_config":{"effort":"max","format":{"type":"json_schema","schema":{"z":1}}},
    "tools":[{"name":"f","description":"d","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"}}],
    "tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true})");
  ASSERT_TRUE(call.ok()) << call.error().message;
  const CallOptions& o = call->options;
  EXPECT_EQ(o.model, "m");
  EXPECT_TRUE(o.stream);
  EXPECT_EQ(o.max_tokens, 9);
  EXPECT_EQ(o.sampling.temperature, 0.5f);
  EXPECT_EQ(o.sampling.top_k, 7);
  EXPECT_EQ(o.stop, std::vector<std::string>{"END"});
  EXPECT_EQ(o.json_schema, R"({"z":1})");
  EXPECT_EQ(call->think, true);
  EXPECT_EQ(call->template_args_json, R"({"reasoning_effort":"high"})");
  EXPECT_EQ(call->tools_json,
            R"([{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}])");
  const ToolUse& use = call->tool_use;
  EXPECT_EQ(use.tools.size(), 1u);
  EXPECT_TRUE(use.required && use.only == "f" && !use.parallel && !use.strict);
}

TEST(AnthropicCalls, ConversationOfAnAgent) {
  EXPECT_EQ(messages_of(R"([{"role":"user","content":"Read a."},
    {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"redacted_thinking","data":"x"},
      {"type":"text","text":"I read."},{"type":"tool_use","id":"t1","name":"read","input":{"b":1,"a":2}}]},
    {"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"no"},{"type":"text",
      "text":"file"}],"is_error":true},{"type":"text","text":"Again","cache_control":{"type":"ephemeral"}},{"type":"text","text":"please."}]}])"),
            R"([{"role":"user","content":"Read a."},{"role":"assistant","content":"I read.","reasoning_content":"hm",)"
            R"("tool_calls":[{"id":"t1","type":"function","function":{"name":"read","arguments":{"b":1,"a":2}}}]},)"
            R"({"role":"tool","tool_call_id":"t1","name":"read","content":"Error: no\nfile"},)"
            R"({"role":"user","content":"Again\nplease."}])");
}

TEST(AnthropicCalls, SystemWithoutTheLineThatChanges) {
  const std::string said = R"([{"role":"user","content":"a"},{"role":"user","content":"b"}])";
  const std::string expected =
      R"([{"role":"system","content":"Be kind.\nBe brief."},{"role":"user","content":"a\nb"}])";
  EXPECT_EQ(messages_of(said, R"("system":[{"type":"text","text":"x-anthropic-billing-header: cch=1;"},
    {"type":"text","text":"Be kind.","cache_control":{"type":"ephemeral"}},{"type":"text","text":"Be brief."}],)"),
            expected);
  EXPECT_EQ(messages_of(said, R"("system":"x-anthropic-billing-header: cch=2;\n\nBe kind.\nBe brief.",)"), expected);
  EXPECT_EQ(messages_of(said, R"("system":"x-anthropic-billing-header: cch=2;\n",)"),
            R"([{"role":"user","content":"a\nb"}])");
  EXPECT_THAT(messages_of(said, R"("system":"No x-anthropic-billing-header: here",)"), HasSubstr("No x-anthropic"));
}

TEST(AnthropicCalls, WrongFieldsAreNamed) {
  EXPECT_THAT(anthropic_call(std::string("{") + kUser + "}", AnthropicUse::kAnswer).error().message,
              HasSubstr("max_tokens: it is missing"));
  EXPECT_TRUE(anthropic_call(std::string("{") + kUser + "}", AnthropicUse::kCount).ok());
  EXPECT_EQ(problem(R"("temperature":"hot")"), "temperature: found \"hot\", expected a number");
  EXPECT_THAT(problem(R"("system":[{"type":"text"}])"), HasSubstr("system[0].text: it is missing"));
  EXPECT_THAT(problem(R"("system":3)"), HasSubstr("system: expected a string or"));
  EXPECT_THAT(problem(R"("thinking":{"type":"on"})"), HasSubstr("thinking.type: found \"on\""));
  EXPECT_THAT(problem(R"("thinking":true)"), HasSubstr("thinking: found true"));
  EXPECT_THAT(problem(R"("tools":[{"name":"f"}])"), HasSubstr("tools[0].input_schema: it is missing"));
  EXPECT_THAT(problem(R"("tools":[{"type":"web_search_20250305","name":"w"}])"), HasSubstr("\"web_search_20250305\""));
  EXPECT_THAT(problem(R"("tool_choice":{"type":"any"})"), HasSubstr("tool_choice: "));
  EXPECT_THAT(problem(R"("tool_choice":{"type":"tool","name":"g"},"tools":[{"name":"f","input_schema":{}}])"),
              HasSubstr("tool_choice.name: found \"g\""));
  EXPECT_THAT(problem(R"("output_config":{"format":{"type":"xml"}})"), HasSubstr("output_config.format.type: "));
  EXPECT_EQ(problem(R"("thinking":null,"tool_choice":null)"), "accepted");
}

TEST(AnthropicCalls, WrongMessagesAreNamed) {
  EXPECT_THAT(messages_of("[]"), HasSubstr("messages: expected at least one"));
  EXPECT_THAT(messages_of(R"([{"role":"user"}])"), HasSubstr("messages[0].content: it is missing"));
  EXPECT_THAT(messages_of(R"([{"role":"robot","content":"a"}])"), HasSubstr("messages[0].role: found \"robot\""));
  EXPECT_THAT(messages_of(R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"image","source":{}}]}])"),
              HasSubstr("messages[0].content[1]: found an image"));
  EXPECT_THAT(
      messages_of(
          R"([{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"image"}]}]}])"),
      HasSubstr("messages[0].content[0].content[0]: found an image"));
  EXPECT_THAT(messages_of(R"([{"role":"user","content":[{"type":"document","source":{"type":"base64"}}]}])"),
              HasSubstr("messages[0].content[0]: found a document"));
  EXPECT_EQ(messages_of(
                R"([{"role":"user","content":[{"type":"document","title":"T","source":{"type":"text","data":"d"}}]}])"),
            R"([{"role":"user","content":"T\nd"}])");
  EXPECT_THAT(messages_of(R"([{"role":"user","content":[3]}])"),
              HasSubstr("messages[0].content[0]: expected an object"));
  EXPECT_THAT(messages_of(R"([{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"tool_use","id":"i",
    "name":"f","input":"x"}]}])"),
              HasSubstr("messages[1].content[0].input: found \"x\", expected an object"));
  EXPECT_THAT(messages_of(R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"}])"),
              HasSubstr("messages: the last one is the assistant's"));
}

AnthropicAnswer answer_with_tools() {
  AnthropicAnswer answer{
      .id = "msg_1", .request_id = "r", .model = "m", .prompt_tokens = 20, .tools = {}, .tool_calls = {}};
  answer.tools = {{"f", R"({"type":"object"})"}};
  for (const ToolCallFormat& format : tool_call_formats()) {
    if (format.name == "hermes") answer.tool_calls = format;
  }
  return answer;
}

FinishInfo finish_of(FinishReason reason) {
  FinishInfo finish;
  finish.reason = reason;
  finish.stats.prompt_tokens = 20;
  finish.stats.cached_tokens = 15;
  finish.stats.generated_tokens = 4;
  return finish;
}

// The stream of an answer that comes in pieces of `size` bytes.
std::vector<Json> stream(const std::string& reasoning, const std::string& text, size_t size, const FinishInfo& finish) {
  const auto format = anthropic_format(answer_with_tools());
  std::string bytes = format->first();
  for (size_t i = 0; i < reasoning.size(); i += size) {
    Event event;
    event.reasoning = reasoning.substr(i, size);
    bytes += format->event(0, event);
  }
  for (size_t i = 0; i < text.size(); i += size) {
    Event event;
    event.text = text.substr(i, size);
    bytes += format->event(0, event);
  }
  Event last;
  last.finish = finish;
  bytes += format->event(0, last);
  bytes += format->last();
  std::vector<Json> events;
  for (size_t at = 0; at < bytes.size();) {
    const size_t end = bytes.find("\n\n", at), data = bytes.find("\ndata: ", at);
    const std::string name = bytes.substr(at + 7, data - at - 7);
    events.push_back(Json::parse(bytes.substr(data + 7, end - data - 7)));
    EXPECT_EQ(events.back()["type"], name);
    at = end + 2;
  }
  return events;
}

// What a client makes of a stream; checks the order of its events.
Json merged(const std::vector<Json>& events) {
  EXPECT_EQ(events.front()["type"], "message_start");
  Json message = events.front()["message"];
  std::string arguments;
  bool open = false;
  for (size_t i = 1; i + 2 < events.size(); ++i) {
    const Json& event = events[i];
    if (event["type"] == "ping") continue;
    EXPECT_EQ(event["index"], message["content"].size() - (open ? 1 : 0));
    EXPECT_EQ(open, event["type"] != "content_block_start") << event;
    if (event["type"] == "content_block_start") {
      message["content"].push_back(event["content_block"]);
      arguments.clear();
      open = true;
    } else if (event["type"] == "content_block_stop") {
      if (!arguments.empty()) message["content"].back()["input"] = Json::parse(arguments);
      open = false;
    } else {
      Json& block = message["content"].back();
      for (const auto& [key, value] : event["delta"].items()) {
        if (key == "partial_json") {
          arguments += value.get<std::string>();
        } else if (key != "type") {
          block[key] = block[key].get<std::string>() + value.get<std::string>();
        }
      }
    }
  }
  EXPECT_FALSE(open);
  const Json& delta = events[events.size() - 2];
  EXPECT_EQ(delta["type"], "message_delta");
  EXPECT_EQ(events.back()["type"], "message_stop");
  message["stop_reason"] = delta["delta"]["stop_reason"];
  message["stop_sequence"] = delta["delta"]["stop_sequence"];
  message["usage"] = delta["usage"];
  return message;
}

Json whole(const std::string& reasoning, const std::string& text, const FinishInfo& finish) {
  Completion completion;
  completion.reasoning = reasoning;
  completion.text = text;
  completion.finish = finish;
  return Json::parse(anthropic_format(answer_with_tools())->whole({completion}));
}

// Ids of calls are random.
Json without_ids(Json message) {
  for (Json& block : message["content"]) {
    if (!block.contains("id")) continue;
    EXPECT_FALSE(block["id"].get<std::string>().empty());
    block["id"] = "";
  }
  return message;
}

TEST(AnthropicAnswers, AnySplitMergesToTheWhole) {
  const std::pair<const char*, const char*> answers[] = {
      {"", "Good day."},
      {"I think.", "Good day."},
      {"I call.",
       "I look.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"b\": [1, 2], \"a\": \"x\"}}\n</tool_call>\n"
       "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>"},
      {"", "<tool_call>{\"name\": \"f\", \"arguments\": {\"cut\": "},
      {"only", ""},
      {"", ""},
  };
  for (const auto& [reasoning, text] : answers) {
    for (const FinishReason reason : {FinishReason::kStop, FinishReason::kLength}) {
      const FinishInfo finish = finish_of(reason);
      const Json expected = without_ids(whole(reasoning, text, finish));
      for (const size_t size : {1, 2, 3, 5, 8, 13, 34, 200}) {
        ASSERT_EQ(without_ids(merged(stream(reasoning, text, size, finish))), expected) << text << " by " << size;
      }
    }
  }
}

TEST(AnthropicAnswers, WholeWithCalls) {
  const Json message =
      whole("I call.", R"(I look. <tool_call>{"name": "f", "arguments": {"b": 1, "a": "x"}}</tool_call>)",
            finish_of(FinishReason::kStop));
  EXPECT_EQ(without_ids(message).dump(),
            R"({"id":"msg_1","type":"message","role":"assistant","model":"m","content":[)"
            R"({"type":"thinking","thinking":"I call.","signature":"kinglet"},{"type":"text","text":"I look."},)"
            R"({"type":"tool_use","id":"","name":"f","input":{"b":1,"a":"x"}}],"stop_reason":"tool_use",)"
            R"("stop_sequence":null,"usage":{"input_tokens":5,"cache_creation_input_tokens":0,)"
            R"("cache_read_input_tokens":15,"output_tokens":4}})");
}

TEST(AnthropicAnswers, EventsOfAStream) {
  std::string types;
  const auto events = stream("I call.", R"(<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>)", 100,
                             finish_of(FinishReason::kStop));
  for (const Json& event : events) {
    types += (event.contains("delta") && event["delta"].contains("type") ? event["delta"] : event)["type"]
                 .get<std::string>() +
             " ";
  }
  EXPECT_EQ(types,
            "message_start content_block_start thinking_delta signature_delta content_block_stop content_block_start "
            "input_json_delta content_block_stop message_delta message_stop ");
  EXPECT_EQ(events.front()["message"]["usage"]["input_tokens"], 20);
  EXPECT_EQ(events.front()["message"]["stop_reason"], nullptr);
}

TEST(AnthropicAnswers, PingsWhileACallIsNotComplete) {
  const auto format = anthropic_format(answer_with_tools());
  Event event;
  event.text = R"(<tool_call>{"name": "f", "arguments": {"a": )";
  EXPECT_EQ(format->event(0, event), "event: ping\ndata: {\"type\":\"ping\"}\n\n");
  event.text = "1}}</tool_call>";
  EXPECT_THAT(format->event(0, event), HasSubstr(R"("partial_json":"{\"a\": 1}")"));
}

TEST(AnthropicAnswers, ReasonsToStop) {
  FinishInfo finish = finish_of(FinishReason::kStop);
  EXPECT_EQ(whole("", "a", finish)["stop_reason"], "end_turn");
  finish.stop_string = "END";
  EXPECT_EQ(whole("", "a", finish)["stop_reason"], "stop_sequence");
  EXPECT_EQ(whole("", "a", finish)["stop_sequence"], "END");
  EXPECT_EQ(whole("", "a", finish_of(FinishReason::kLength))["stop_reason"], "max_tokens");
  EXPECT_EQ(whole("", "a", finish_of(FinishReason::kCancelled))["stop_reason"], "max_tokens");
}

TEST(AnthropicErrors, Envelope) {
  const HttpResponse bad = anthropic_error(400, {ErrorCode::kInvalid, "max_tokens: it is missing"}, "r1");
  EXPECT_EQ(bad.body,
            R"({"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: it is missing"},)"
            R"("request_id":"r1"})");
  EXPECT_EQ(bad.headers, (Headers{{"request-id", "r1"}}));
  EXPECT_THAT(anthropic_error(503, {ErrorCode::kResource, "full"}, "r").body, HasSubstr("overloaded_error"));
  EXPECT_THAT(anthropic_error(503, {ErrorCode::kResource, "full"}, "r").headers,
              testing::Contains(testing::Pair("retry-after", "1")));
  const auto format = anthropic_format(answer_with_tools());
  EXPECT_EQ(format->failure({ErrorCode::kIo, "broken"}),
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"broken\"},"
            "\"request_id\":\"r\"}\n\n");
}

}  // namespace
}  // namespace kinglet::server
