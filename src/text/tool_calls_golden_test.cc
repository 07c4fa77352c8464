// The formats of tool calls against the models' own templates: what a template writes for a call is what the parser
// finds. Templates that are not on this machine (tests/golden/text/fetch_templates.py) are skipped.
#include <gtest/gtest.h>

#include <map>

#include "text/chat_template.h"
#include "text/golden_test_support.h"
#include "text/tool_calls.h"

namespace kinglet {
namespace {

struct Model {
  const char *name, *format;
};

const Model kModels[] = {
    {"Qwen-Qwen2.5-7B-Instruct", "hermes"},
    {"Qwen-Qwen3-0.6B", "hermes"},
    {"Qwen-QwQ-32B", "hermes"},
    {"ibm-granite-granite-4.0", "hermes"},
    {"Qwen3-Coder", "qwen3_coder"},
    {"Qwen3.5-4B", "qwen3_coder"},
    {"NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "qwen3_coder"},
    {"ByteDance-Seed-OSS", "seed_oss"},
    {"meta-llama-Llama-3.1-8B-Instruct", "llama_json"},
    {"meta-llama-Llama-3.2-3B-Instruct", "llama_json"},
    {"meta-llama-Llama-3.3-70B-Instruct", "llama_json"},
    {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "deepseek_v3"},
    {"deepseek-ai-DeepSeek-V3.1", "deepseek_v3.1"},
    {"deepseek-ai-DeepSeek-V3.2", "deepseek_v3.2"},
    {"deepseek-ai-DeepSeek-V4", "deepseek_v4"},
    {"Kimi-K2-Instruct", "kimi_k2"},
    {"moonshotai-Kimi-K2", "kimi_k2"},
    {"GLM-4.6", "glm"},
    {"GLM-4.7-Flash", "glm"},
    {"MiniMax-M1", "tool_calls"},
    {"MiniMax-M2", "minimax_m2"},
    {"MiniMax-M3", ""},
    {"tencent-Hy3", "hunyuan_v3"},
    {"mistralai-Mistral-Nemo-Instruct-2407", "mistral_array"},
    {"Mistral-Small-3.2-24B-Instruct-2506", "mistral_ids"},
    {"mistralai-Ministral-3-14B-Reasoning-2512", "mistral"},
    {"unsloth-mistral-Devstral-Small-2507", "mistral"},
    {"openai-gpt-oss-120b", "harmony"},
    {"google-gemma-4-31B-it", "gemma4"},
    {"google-gemma-2-2b-it", ""},
    {"microsoft-Phi-3.5-mini-instruct", ""},
    {"CohereForAI-c4ai-command-r7b-12-2024-tool_use", "cohere"},
    {"NVIDIA-Nemotron-Nano-v2", "nemotron"},
    {"fireworks-ai-llama-3-firefunction-v2", "firefunction"},
    {"unsloth-Apriel-1.5", "tool_calls_array"},
    {"upstage-Solar-Open-100B", "solar"},
    {"LFM2-8B-A1B", "lfm2"},
};

constexpr const char* kTools =
    R"([{"type": "function", "function": {"name": "find_place", "description": "Finds it.", "parameters": {"type":
        "object", "properties": {"city": {"type": "string", "description": "Where."}, "count": {"type": "integer",
        "description": "How many."}}, "required": ["city"]}}}])";

// What the template makes of a call, with the arguments as an object or, for templates that want that, as a text.
Result<std::string> render(const ChatTemplate& compiled, bool as_text, const nlohmann::ordered_json& content) {
  nlohmann::ordered_json arguments = {{"city", "Zürich \"ZH\"\n"}, {"count", 3}};
  nlohmann::ordered_json call = {{"id", "abcdefghi"}, {"type", "function"}, {"function", {{"name", "find_place"}}}};
  call["function"]["arguments"] = as_text ? nlohmann::ordered_json(arguments.dump()) : arguments;
  nlohmann::ordered_json messages = {
      {{"role", "user"}, {"content", "THE QUESTION"}},
      {{"role", "assistant"}, {"content", content}, {"tool_calls", {call}}},
      {{"role", "tool"}, {"tool_call_id", "abcdefghi"}, {"name", "find_place"}, {"content", "THE RESULT"}}};
  return compiled.render(
      {.messages_json = messages.dump(), .tools_json = kTools, .add_generation_prompt = true, .now = 1});
}

class ToolCallGolden : public testing::TestWithParam<Model> {};

TEST_P(ToolCallGolden, FindsWhatTheTemplateWrites) {
  const std::string source = golden::read_file(golden::third_party_template(GetParam().name));
  if (source.empty()) GTEST_SKIP() << "SKIPPED: the template " << GetParam().name << " is not on this machine";
  const auto format = find_tool_call_format(source);
  ASSERT_EQ(format ? format->name : "", GetParam().format);
  // LFM2's template writes no calls; two others can't be rendered: Kimi-K2's older one changes a list.
  const std::string name = GetParam().name;
  if (!format || name == "LFM2-8B-A1B" || name == "Kimi-K2-Instruct" ||
      name == "fireworks-ai-llama-3-firefunction-v2") {
    return;
  }
  auto compiled = ChatTemplate::from_source(source, {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
  ASSERT_TRUE(compiled.ok()) << compiled.error().message;
  Result<std::string> rendered = Error{};
  for (int variant = 0; variant < 4; ++variant) {  // templates differ in what they want of a call
    rendered = render(**compiled, variant % 2 == 1, variant / 2 == 1 ? nlohmann::ordered_json() : "");
    if (rendered.ok() && rendered->find("rich") != std::string::npos) break;
  }
  ASSERT_TRUE(rendered.ok()) << rendered.error().message;
  std::string answer = rendered->substr(rendered->find("THE QUESTION"));
  answer = answer.substr(0, answer.find("THE RESULT"));
  if (format->at_start) answer = answer.substr(answer.find("\n{"));
  std::vector<Tool> tools{{"find_place", nlohmann::json::parse(kTools)[0]["function"]["parameters"].dump()}};
  ToolCallParser parser(*format, tools);
  ToolCallCollector collector;
  collector.add(parser.push(answer));
  collector.add(parser.finish());
  const ParsedAnswer parsed = collector.take();
  ASSERT_EQ(parsed.calls.size(), 1u) << answer;
  EXPECT_EQ(parsed.calls[0].name, "find_place") << answer;
  const auto arguments = nlohmann::json::parse(parsed.calls[0].arguments, nullptr, false);
  EXPECT_EQ(arguments["count"], 3) << parsed.calls[0].arguments;
  EXPECT_EQ(arguments["city"], "Zürich \"ZH\"\n") << parsed.calls[0].arguments;
}

INSTANTIATE_TEST_SUITE_P(All, ToolCallGolden, testing::ValuesIn(kModels), [](const auto& param) {
  std::string name = param.param.name;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
});

}  // namespace
}  // namespace kinglet
