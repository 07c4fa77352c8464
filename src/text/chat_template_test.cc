#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <chrono>

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
  const auto begin = std::chrono::steady_clock::now();
  auto result = render(GetParam());
  // Some two seconds on a free machine; sanitizers and neighbours get more.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(40));
  ASSERT_FALSE(result.ok()) << result->size();
  // The engine's own limits are kInvalid.
  EXPECT_TRUE(result.error().code == ErrorCode::kResource ||
              result.error().message.find("recursion") != std::string::npos ||
              result.error().message.find("too large") != std::string::npos)
      << result.error().message;
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

// A list of 100,000 numbers, or one that holds itself twice 60 times over, and something that walks it again and again.
#define LONG "{% set n = namespace(l=range(99999)|list, t='') %}{% for a in range(99999) %}"
#define SHARED "{% set n = namespace(l=[1], t='') %}{% for a in range(60) %}{% set n.l = [n.l, n.l] %}{% endfor %}"
INSTANTIATE_TEST_SUITE_P(
    Loops, Bounds,
    testing::Values(
        LONG "{% if -1 in n.l %}{% endif %}{% endfor %}", LONG "{% if -1 is in n.l %}{% endif %}{% endfor %}",
        LONG "{% if -1 not in n.l %}{% endif %}{% endfor %}", LONG "{% if n.l == n.l[:] %}{% endif %}{% endfor %}",
        LONG "{% set n.t = n.l|sort %}{% endfor %}", LONG "{% set n.t = n.l|map('string')|list %}{% endfor %}",
        LONG "{% set n.t = n.l|select('in', n.l)|list %}{% endfor %}", LONG "{% set n.t = n.l|join(',') %}{% endfor %}",
        LONG "{% set n.t = n.l|unique|list %}{% endfor %}", LONG "{% set n.t = n.l[1:] %}{% endfor %}",
        LONG "{% set n.t = n.l + n.l %}{% endfor %}", LONG "{% set n.t = n.l|reverse|list %}{% endfor %}",
        LONG "{% set n.t = n.l|max %}{% endfor %}", LONG "{% set n.t = n.l.index(99998) %}{% endfor %}",
        LONG "{% set n.t = a|string * 9999999 %}{% endfor %}", LONG "{% set n.t = n.l|replace('1', '2') %}{% endfor %}",
        LONG "{% if loop.changed(n.l) %}{% endif %}{% endfor %}", SHARED "{{ n.l == [1] }}", SHARED "{{ n.l }}",
        SHARED "{{ n.l|tojson }}", SHARED "{{ n.l|sort }}", SHARED "{{ {n.l: 1} }}",
        "{% set n = namespace(l=[1]) %}{% for a in range(99999) %}{% set n.l = [n.l] %}{% endfor %}",
        "{{ 'x'|indent(999999999999) }}", "{{ '%999999999999d' % 1 }}", "{{ '%999999999d'|format(1) }}",
        "{{ '{:999999999}'.format(1) }}", "{{ [1]|slice(999999999999)|list }}",
        "{{ [1]|batch(999999999999, 'x')|list }}", "{{ ['x']|map('indent', 999999999999)|list }}"));
#undef LONG
#undef SHARED

// What long conversations do stays far below the bounds.
TEST(ChatTemplate, TenThousandMessages) {
  std::string messages = "[";
  for (int i = 0; i < 10'000; ++i) {
    messages += std::string(i == 0 ? "" : ",") + R"({"role":"user","content":")" + std::string(400, 'x') + "\"}";
  }
  const auto result = render(
      "{% set n = namespace(l=[]) %}{% for m in messages %}{% if m.role in ['user', 'tool'] and "
      "'<think>' not in m.content %}{{ m.content[:3] if loop.index == messages|length }}"
      "{% endif %}{% endfor %}",
      {.messages_json = messages + "]"});
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(*result, "xxx");
}

TEST(ChatTemplate, DeeplyNestedSourceIsAnError) {
  std::string brackets = "{{ " + std::string(100'000, '(') + "1" + std::string(100'000, ')') + " }}";
  EXPECT_FALSE(ChatTemplate::from_source(brackets).ok());
  std::string blocks;
  for (int i = 0; i < 20'000; ++i) blocks += "{% if 1 %}";
  EXPECT_FALSE(ChatTemplate::from_source(blocks).ok());
}

}  // namespace
}  // namespace kinglet
