#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/checkpoint.h"

namespace kinglet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kHello = R"([{"role":"user","content":"Hello"}])";

Result<std::string> render(const std::string& source, RenderRequest request = {.messages_json = kHello}) {
  KL_TRY(std::shared_ptr<const ChatTemplate> compiled, ChatTemplate::from_source(source, {{"bos_token", "<s>"}}));
  return compiled->render(request);
}

std::string text(const std::string& source, RenderRequest request = {.messages_json = kHello}) {
  auto result = render(source, std::move(request));
  return result.ok() ? *result : "error: " + result.error().message;
}

TEST(ChatTemplate, VariablesAndArguments) {
  RenderRequest request{.messages_json = kHello, .args_json = R"({"enable_thinking":false,"bos_token":"!"})"};
  EXPECT_EQ(text("{{ bos_token }}{{ messages[0].content }}{{ add_generation_prompt }}{{ tools }}"), "<s>HelloTrueNone");
  EXPECT_EQ(text("{{ bos_token }}{{ enable_thinking }}", request), "!False");
  EXPECT_EQ(text("{{ nothing|length }}{{ messages|length }}{{ nothing|count }}"), "010");
  request.add_generation_prompt = false;
  EXPECT_EQ(text("{{ add_generation_prompt }}", request), "False");
}

TEST(ChatTemplate, ClockAndExceptions) {
  RenderRequest request{.messages_json = kHello, .now = 951782400};  // 29 February 2000, 00:00
  EXPECT_EQ(text("{{ strftime_now('%Y-%m-%d %H:%M:%S %A %B %j %y %-d %b %p %I %%') }}", request),
            "2000-02-29 00:00:00 Tuesday February 060 00 29 Feb AM 12 %");
  auto raised = render("{{ raise_exception('Only ' ~ 1 ~ ' system message!') }}");
  ASSERT_FALSE(raised.ok());
  EXPECT_EQ(raised.error().message, "Only 1 system message!");
  EXPECT_EQ(raised.error().code, ErrorCode::kInvalid);
}

TEST(ChatTemplate, GenerationTagsKeepTheirWhitespaceMarks) {
  EXPECT_EQ(text("a \n{%- generation -%}\n b {% endgeneration %}c"), "ab c");
  EXPECT_EQ(text("{% raw %}{% generation %}{% endraw %}"), "{% generation %}");
}

TEST(ChatTemplate, MessagesAreNormalised) {
  RenderRequest request{.messages_json = R"([{"role":"assistant","content":null,"reasoning":"hm"}])"};
  EXPECT_EQ(text("{{ messages[0] | tojson }}", request),
            R"({"thinking": "hm", "role": "assistant", "reasoning": "hm", "reasoning_content": "hm"})");
}

TEST(ChatTemplate, NamedTemplates) {
  Checkpoint folder;
  folder.format = CheckpointFormat::kHuggingFace;
  folder.path = "folder";
  EXPECT_EQ(ChatTemplate::from_checkpoint(folder).error().code, ErrorCode::kNotFound);
  folder.side_files.tokenizer_config_json =
      R"({"eos_token":{"content":"</s>"},"chat_template":[{"name":"default","template":"plain{{ eos_token }}"},
          {"name":"tool_use","template":"tools {{ tools|length }}"}]})";
  auto loaded = ChatTemplate::from_checkpoint(folder);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_THAT((*loaded)->names(), ElementsAre("default", "tool_use"));
  EXPECT_EQ(*(*loaded)->render({.messages_json = kHello}), "plain</s>");
  EXPECT_EQ(*(*loaded)->render({.messages_json = kHello, .tools_json = "[{}]"}), "tools 1");
  EXPECT_EQ(*(*loaded)->render({.messages_json = kHello, .tools_json = "[{}]", .template_name = "default"}),
            "plain</s>");
  EXPECT_EQ((*loaded)->render({.messages_json = kHello, .template_name = "rag"}).error().code, ErrorCode::kNotFound);
  folder.side_files.chat_template = "file";
  EXPECT_EQ(*(*ChatTemplate::from_checkpoint(folder))->render({.messages_json = kHello}), "file");
}

TEST(ChatTemplate, FromGgufMetadata) {
  Checkpoint checkpoint;
  checkpoint.metadata.set("tokenizer.ggml.tokens", std::vector<std::string>{"<a>", "<b>"});
  checkpoint.metadata.set("tokenizer.ggml.bos_token_id", uint64_t{1});
  checkpoint.metadata.set("tokenizer.ggml.eos_token_id", uint64_t{7});
  checkpoint.metadata.set("tokenizer.chat_template", std::string("{{ bos_token }}{{ eos_token }}"));
  checkpoint.metadata.set("tokenizer.chat_template.rag", std::string("rag"));
  auto loaded = ChatTemplate::from_checkpoint(checkpoint);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_EQ(*(*loaded)->render({.messages_json = kHello}), "<b>");
  EXPECT_THAT((*loaded)->names(), ElementsAre("default", "rag"));
}

TEST(ChatTemplate, BadInputIsAnError) {
  EXPECT_FALSE(ChatTemplate::from_source("{% if %}").ok());
  EXPECT_FALSE(ChatTemplate::from_source("{% for x in y %}").ok());
  for (const char* messages : {"", "{", "{}", "[]", "[1]", "null"}) {
    EXPECT_FALSE(render("x", {.messages_json = messages}).ok()) << messages;
  }
  EXPECT_FALSE(render("x", {.messages_json = kHello, .tools_json = "{}"}).ok());
  EXPECT_FALSE(render("x", {.messages_json = kHello, .args_json = "[]"}).ok());
  EXPECT_FALSE(render("{{ messages.nope.nope }}").ok());
  EXPECT_FALSE(render("{{ undefined_function() }}").ok());
  EXPECT_FALSE(render("{{ 1 // 0 }}").ok());
  std::string deep(100'000, '[');
  EXPECT_FALSE(render("x", {.messages_json = deep}).ok());
}

// Each of these would take for ever or fill the memory if nothing stopped it.
class Bounds : public testing::TestWithParam<const char*> {};

TEST_P(Bounds, AreErrorsInTime) {
  auto result = render(GetParam());
  ASSERT_FALSE(result.ok()) << result->size();
  EXPECT_TRUE(result.error().code == ErrorCode::kResource || result.error().code == ErrorCode::kInvalid);
}

INSTANTIATE_TEST_SUITE_P(
    Bombs, Bounds,
    testing::Values(
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% set n = namespace(s='0123456789') %}{% for a in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
        "{% set n = namespace(s='0123456789') %}{% for a in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
        "{% set n = namespace(s='0123456789') %}{% for a in range(99) %}"
        "{% set t %}{{ n.s }}{{ n.s }}{% endset %}{% set n.s = t %}{% endfor %}",
        "{% set n = namespace(s='0123456789') %}{% for a in range(99) %}"
        "{% set n.s = n.s.replace('0', n.s) %}{% endfor %}",
        "{% set n = namespace(s='0123456789') %}{% for a in range(99) %}"
        "{% set n.s = n.s.join([n.s, n.s]) %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(9999) %}0123456789012345678901234567890123456789"
        "{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{{ 'x' * 999999999999 }}", "{{ 'x'.ljust(999999999999) }}",
        "{% set l = namespace(v=[1]) %}{% for a in range(99) %}{% set l.v = l.v + l.v %}{% endfor %}"
        "{{ l.v | tojson }}"));

TEST(ChatTemplate, DeeplyNestedSourceIsAnError) {
  std::string brackets = "{{ " + std::string(100'000, '(') + "1" + std::string(100'000, ')') + " }}";
  EXPECT_FALSE(ChatTemplate::from_source(brackets).ok());
  std::string blocks;
  for (int i = 0; i < 20'000; ++i) blocks += "{% if 1 %}";
  EXPECT_FALSE(ChatTemplate::from_source(blocks).ok());
}

}  // namespace
}  // namespace kinglet
