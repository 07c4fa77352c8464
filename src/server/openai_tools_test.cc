#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "server/openai.h"
#include "server/tool_use.h"
#include "text/grammar.h"
#include "text/test_vocabularies.h"

namespace kinglet::server {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;
using testing::MatchesRegex;

constexpr const char* kTools =
    R"("tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":)"
    R"("integer"}},"required":["a"],"additionalProperties":false}}},{"type":"function","function":{"name":"g"}}])";

Result<ChatCall> chat(const std::string& fields) {
  return openai_chat_call(R"({"messages":[{"role":"user","content":"a"}],)" + fields + "}");
}

std::string chat_error(const std::string& fields) {
  const auto call = chat(fields);
  return call.ok() ? "accepted" : call.error().message;
}

ToolCallFormat format_named(std::string_view name) {
  for (const ToolCallFormat& format : tool_call_formats()) {
    if (format.name == name) return format;
  }
  ADD_FAILURE() << "no format " << name;
  return {};
}

std::unique_ptr<AnswerFormat> answers(std::string_view format) {
  OpenAiAnswer answer;
  answer.tools = {{"f", ""}, {"g", ""}};
  answer.tool_calls = format_named(format);
  return openai_chat_format(answer);
}

FinishInfo stopped() {
  FinishInfo finish;
  finish.reason = FinishReason::kStop;
  return finish;
}

// Takes the ids out of a message's calls and checks their shape.
void take_ids(Json* message, const std::string& shape) {
  if (!message->contains("tool_calls")) return;
  for (Json& call : (*message)["tool_calls"]) {
    EXPECT_THAT(call["id"].get<std::string>(), MatchesRegex(shape));
    call.erase("id");
  }
}

// What a client puts together from the chunks of an answer whose text comes in `pieces`, as the message of a whole one.
Json merged(std::string_view format, const std::vector<std::string>& pieces, const std::string& id_shape) {
  const auto answer = answers(format);
  std::string stream;
  for (const std::string& piece : pieces) {
    Event event;
    event.text = piece;
    stream += answer->event(0, event);
  }
  Event end;
  end.finish = stopped();
  stream += answer->event(0, end);
  Json calls = Json::array(), finish;
  std::string content;
  for (size_t at = stream.find("data: "); at != std::string::npos; at = stream.find("data: ", at + 1)) {
    const Json choice = Json::parse(stream.substr(at + 6, stream.find("\n\n", at) - at - 6))["choices"][0];
    const Json& delta = choice["delta"];
    if (delta.contains("content")) content += delta["content"].get<std::string>();
    if (!choice["finish_reason"].is_null()) finish = choice["finish_reason"];
    if (!delta.contains("tool_calls")) continue;
    for (Json call : delta["tool_calls"]) {
      const auto index = call["index"].get<size_t>();
      call.erase("index");
      if (index == calls.size()) {
        calls.push_back(call);
      } else {
        Json& arguments = calls.at(index)["function"]["arguments"];
        arguments = arguments.get<std::string>() + call["function"]["arguments"].get<std::string>();
      }
    }
  }
  Json message = {{"content", content}, {"finish_reason", finish}};
  if (!calls.empty()) message["tool_calls"] = calls;
  take_ids(&message, id_shape);
  return message;
}

Json whole(std::string_view format, const std::string& text, const std::string& id_shape) {
  Completion completion;
  completion.text = text;
  completion.finish = stopped();
  const Json choice = Json::parse(answers(format)->whole({completion}))["choices"][0];
  Json message = {{"content", choice["message"]["content"]}, {"finish_reason", choice["finish_reason"]}};
  if (message["content"].is_null()) message["content"] = "";
  if (choice["message"].contains("tool_calls")) message["tool_calls"] = choice["message"]["tool_calls"];
  take_ids(&message, id_shape);
  return message;
}

Json two_calls(const std::string& content) {
  const auto call = [](const char* name, const char* arguments) {
    return Json{{"type", "function"}, {"function", {{"name", name}, {"arguments", arguments}}}};
  };
  return {{"content", content},
          {"finish_reason", "tool_calls"},
          {"tool_calls", Json::array({call("f", R"({"a": 1})"), call("g", "{}")})}};
}

void expect_any_split(std::string_view format, const std::string& text, const std::string& ids, const Json& expected) {
  EXPECT_EQ(whole(format, text, ids), expected);
  std::vector<std::string> bytes;
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    ASSERT_EQ(merged(format, {text.substr(0, cut), text.substr(cut)}, ids), expected) << text.substr(0, cut);
    if (cut < text.size()) bytes.emplace_back(1, text[cut]);
  }
  EXPECT_EQ(merged(format, bytes, ids), expected);
}

TEST(OpenAiTools, AnySplitOfAnAnswerGivesTheSameCalls) {
  expect_any_split("hermes",
                   "Well.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>\n"
                   "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>",
                   "call_[a-zA-Z0-9]+", two_calls("Well."));
  expect_any_split("mistral", "[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]g[ARGS]{}", "[a-zA-Z0-9]{9}", two_calls(""));
  expect_any_split("hermes", "No <tool_call> here.", "",
                   {{"content", "No <tool_call> here."}, {"finish_reason", "stop"}});
}

TEST(OpenAiTools, OnlyCallsMeanNoContent) {
  Completion completion;
  completion.text = "[TOOL_CALLS]g[ARGS]{}";
  completion.finish = stopped();
  const Json message = Json::parse(answers("mistral")->whole({completion}))["choices"][0]["message"];
  EXPECT_TRUE(message["content"].is_null());
  EXPECT_EQ(message["tool_calls"].size(), 1U);
}

// Its beginning was sent already; the text comes after, so that nothing is lost, and no call is finished.
TEST(OpenAiTools, ACallThatBreaksBecomesContent) {
  const std::string text = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1";
  const Json message = merged("hermes", {text}, "call_.*");
  EXPECT_EQ(message["content"], text);
  EXPECT_EQ(message["finish_reason"], "stop");
  EXPECT_EQ(message["tool_calls"].size(), 1U);
  EXPECT_EQ(whole("hermes", text, "")["content"], text);
  EXPECT_FALSE(whole("hermes", text, "").contains("tool_calls"));
}

TEST(OpenAiTools, IdsHaveTheShapeThatTemplatesTake) {
  using Ids = ToolCallFormat::Ids;
  EXPECT_EQ(tool_call_id(Ids::kFromText, "functions.f:0"), "functions.f:0");
  EXPECT_EQ(tool_call_id(Ids::kNineCharacters, "abcDEF123"), "abcDEF123");
  EXPECT_EQ(tool_call_id(Ids::kNineCharacters, "abc-EF123").size(), 9U);
  EXPECT_THAT(tool_call_id(Ids::kFromText, ""), MatchesRegex("call_[a-zA-Z0-9]+"));
  EXPECT_NE(tool_call_id(Ids::kAny, ""), tool_call_id(Ids::kAny, ""));
}

TEST(OpenAiTools, ChoicesArriveWhereTheyBelong) {
  const std::string tools = kTools;
  const auto use = [&](const std::string& more) { return chat(tools + more)->tool_use; };
  EXPECT_EQ(use("").tools.size(), 2U);
  EXPECT_FALSE(use("").required || use("").strict);
  EXPECT_THAT(use("").tools[0].parameters, HasSubstr("additionalProperties"));
  EXPECT_TRUE(use("").tools[1].parameters.empty());
  EXPECT_TRUE(use("").parallel);
  EXPECT_FALSE(use(R"(,"parallel_tool_calls":false)").parallel);
  EXPECT_FALSE(use(R"(,"tool_choice":"auto")").required);
  EXPECT_TRUE(use(R"(,"tool_choice":"required")").required);
  const ToolUse named = use(R"(,"tool_choice":{"type":"function","function":{"name":"g"}})");
  EXPECT_TRUE(named.required);
  EXPECT_EQ(named.only, "g");
  const auto none = chat(tools + R"(,"tool_choice":"none")");
  EXPECT_TRUE(none->tools_json.empty() && none->tool_use.tools.empty());
  EXPECT_TRUE(chat(R"("tools":[{"type":"function","function":{"name":"f","strict":true}}])")->tool_use.strict);
}

TEST(OpenAiTools, WrongToolsAreNamed) {
  const std::string tools = kTools;
  EXPECT_EQ(chat_error(tools + R"(,"tool_choice":{"type":"function","function":{"name":"h"}})"),
            "tool_choice: there is no \"h\" among the tools");
  EXPECT_THAT(chat_error(tools + R"(,"tool_choice":"f")"), HasSubstr("tool_choice: expected \"none\""));
  EXPECT_THAT(chat_error(tools + R"(,"tool_choice":{"function":3})"), HasSubstr("tool_choice: expected"));
  EXPECT_EQ(chat_error(R"("tool_choice":"required")"), "tool_choice: a call is required, but there are no tools");
  EXPECT_THAT(chat_error(R"("tools":{})"), HasSubstr("tools: found object"));
  EXPECT_THAT(chat_error(R"("tools":[3])"), HasSubstr("tools[0]: expected"));
  EXPECT_EQ(chat_error(R"("tools":[{"type":"custom"}])"), "tools[0].type: found \"custom\", expected \"function\"");
  EXPECT_THAT(chat_error(R"("tools":[{"type":"function"}])"), HasSubstr("tools[0].function: it is missing"));
  EXPECT_EQ(chat_error(R"("tools":[{"function":{"name":"f"}},{"function":{"name":"f"}}])"),
            "tools[1].function.name: \"f\" is the name of an earlier tool, too");
  EXPECT_THAT(chat_error(R"("tools":[{"function":{"name":""}}])"), HasSubstr("tools[0].function.name: expected"));
  EXPECT_EQ(chat_error(R"("tools":[{"function":{"name":"f","parameters":[]}}])"),
            "tools[0].function.parameters: found array, expected an object");
}

// Request and grammar of a chat with a model that writes calls as Qwen does, in a vocabulary of bytes.
struct Applied {
  Request request;
  Status status;

  explicit Applied(const std::string& fields, std::string_view format = "hermes") {
    const auto call = chat(fields);
    request.thinking.emplace();
    status = apply_tools(call->tool_use, format.empty() ? std::nullopt : std::optional(format_named(format)),
                         call->options.json_schema, test::load(test::byte_level()), &request);
  }
  bool takes(std::string_view text) const {
    GrammarState state(request.grammar);
    for (char c : text) {
      if (!state.mask().ok() || !state.commit(static_cast<unsigned char>(c)).ok()) return false;
    }
    return state.is_complete();
  }
};

TEST(ToolUse, GrammarsFollowTheChoice) {
  const std::string tools = kTools;
  const std::string f = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>";
  const std::string g = "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>";
  const Applied free(tools);
  EXPECT_EQ(free.request.grammar, nullptr);
  EXPECT_TRUE(free.request.thinking->markers.keep_recipients);
  EXPECT_FALSE(Applied(R"("seed":1)").request.thinking->markers.keep_recipients) << "no tools, no change";

  const Applied required(tools + R"(,"tool_choice":"required")");
  EXPECT_TRUE(required.takes(f) && required.takes(g) && required.takes(f + "\n" + g));
  EXPECT_FALSE(required.takes("Hello") || required.takes(f.substr(0, f.size() - 1)));
  EXPECT_FALSE(required.takes("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"x\"}}\n</tool_call>"));

  const Applied single(tools + R"(,"tool_choice":"required","parallel_tool_calls":false)");
  EXPECT_TRUE(single.takes(f));
  EXPECT_FALSE(single.takes(f + "\n" + g));

  const Applied named(tools + R"(,"tool_choice":{"type":"function","function":{"name":"g"}})");
  EXPECT_TRUE(named.takes(g));
  EXPECT_FALSE(named.takes(f));

  const Applied strict(R"("tools":[{"type":"function","function":{"name":"g","strict":true}}])");
  EXPECT_TRUE(strict.takes("Hello") && strict.takes("Hello " + g));
  EXPECT_FALSE(strict.takes(f));

  const Applied shaped(tools + R"(,"response_format":{"type":"json_object"})");
  EXPECT_TRUE(shaped.takes(g) && shaped.takes("{}"));
  EXPECT_FALSE(shaped.takes("Hello"));
}

TEST(ToolUse, MarkersThatAreSpecialTokensBecomeVisible) {
  Metadata metadata = test::byte_level();
  std::vector<std::string> tokens;
  std::vector<int64_t> types(256, 1);
  for (unsigned byte = 0; byte < 256; ++byte) tokens.push_back(test::byte_spelling(byte));
  for (const char* token : {"he", "Ġhe", "<|end|>", "[TOOL_CALLS]"}) tokens.emplace_back(token);
  types.insert(types.end(), {1, 1, 3, 3});
  metadata.set("tokenizer.ggml.tokens", tokens);
  metadata.set("tokenizer.ggml.token_type", types);
  const auto tokenizer = test::load(std::move(metadata));
  Request request;
  ASSERT_TRUE(apply_tools({.tools = {{"f", ""}}}, format_named("mistral"), std::nullopt, tokenizer, &request).ok());
  EXPECT_EQ(request.visible_special, std::vector<int32_t>{259});
}

TEST(ToolUse, WhatCannotBeRequiredIsRefused) {
  const std::string required = std::string(kTools) + R"(,"tool_choice":"required")";
  EXPECT_THAT(Applied(required, "").status.error().message, HasSubstr("tool_choice: a call is required"));
  EXPECT_TRUE(Applied(kTools, "").status.ok()) << "tools go into the prompt, calls come as text";
  const Applied bad(R"("tool_choice":"required","tools":[{"function":{"name":"f","parameters":{"type":"nonsense"}}}])");
  ASSERT_FALSE(bad.status.ok());
  EXPECT_THAT(bad.status.error().message, HasSubstr("tools: "));
}

}  // namespace
}  // namespace kinglet::server
