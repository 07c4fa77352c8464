// The table of tool-call formats, and how a chat template shows which one its model was trained on.
#include <algorithm>
#include <array>

#include "text/tool_calls.h"

namespace kinglet {
namespace {

using Body = ToolCallFormat::Body;
using Head = ToolCallFormat::Head;
using Ids = ToolCallFormat::Ids;

std::vector<ToolCallFormat> json_formats() {
  std::vector<ToolCallFormat> formats;
  auto add = [&](ToolCallFormat format) { formats.push_back(std::move(format)); };
  add({.name = "hermes",
       .section_open = {"<tool_call>"},
       .section_close = "</tool_call>",
       .written = {.call_begin = "<tool_call>\n", .call_end = "\n</tool_call>", .between = "\n"}});
  add({.name = "tool_calls",  // MiniMax-M1
       .section_open = {"<tool_calls>"},
       .section_close = "</tool_calls>",
       .written = {.begin = "<tool_calls>\n", .between = "\n", .end = "\n</tool_calls>"}});
  add({.name = "tool_calls_array",  // Hunyuan-A13B, Apriel
       .section_open = {"<tool_calls>"},
       .section_close = "</tool_calls>",
       .written = {.begin = "<tool_calls>[", .between = ", ", .end = "]</tool_calls>"}});
  add({.name = "nemotron",
       .section_open = {"<TOOLCALL>"},
       .section_close = "</TOOLCALL>",
       .written = {.begin = "<TOOLCALL>[", .between = ", ", .end = "]</TOOLCALL>"}});
  add({.name = "granite",
       .section_open = {"<|tool_call|>"},
       .written = {.begin = "<|tool_call|>[", .between = ", ", .end = "]"}});
  add({.name = "firefunction",
       .section_open = {"functools"},
       .written = {.begin = "functools[", .between = ", ", .end = "]"}});
  add({.name = "cohere",
       .section_open = {"<|START_ACTION|>"},
       .section_close = "<|END_ACTION|>",
       .name_key = "tool_name",
       .arguments_key = "parameters",
       .written = {.begin = "<|START_ACTION|>[", .between = ", ", .end = "]<|END_ACTION|>"}});
  add({.name = "mistral_array",
       .ids = Ids::kNineCharacters,
       .section_open = {"[TOOL_CALLS]"},
       .written = {.begin = "[TOOL_CALLS][", .between = ", ", .end = "]"}});
  add({.name = "llama_json",
       .at_start = true,
       .parallel = false,
       .section_open = {"<|python_tag|>"},
       .arguments_key = "parameters",
       .written = {.between = "; "}});
  return formats;
}

std::vector<ToolCallFormat> named_formats() {
  std::vector<ToolCallFormat> formats;
  auto add = [&](ToolCallFormat format) {
    format.body = Body::kNamed;
    formats.push_back(std::move(format));
  };
  const std::string_view call_begin = "<｜tool▁call▁begin｜>", call_end = "<｜tool▁call▁end｜>";
  add({.name = "deepseek_v3",  // and R1
       .section_open = {"<｜tool▁calls▁begin｜>"},
       .call_open = {call_begin},
       .call_close = {"```", call_end},
       .section_close = "<｜tool▁calls▁end｜>",
       .head = Head::kAfterMark,
       .mark = "<｜tool▁sep｜>",
       .arguments_open = "```json",
       .written = {.begin = "<｜tool▁calls▁begin｜>",
                   .call_begin = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
                   .after_name = "\n```json\n",
                   .call_end = "\n```<｜tool▁call▁end｜>",
                   .between = "\n",
                   .end = "<｜tool▁calls▁end｜>"}});
  add({.name = "deepseek_v3.1",
       .section_open = {"<｜tool▁calls▁begin｜>"},
       .call_open = {call_begin},
       .call_close = {call_end},
       .section_close = "<｜tool▁calls▁end｜>",
       .arguments_open = "<｜tool▁sep｜>",
       .written = {.begin = "<｜tool▁calls▁begin｜>",
                   .call_begin = call_begin,
                   .after_name = "<｜tool▁sep｜>",
                   .call_end = call_end,
                   .end = "<｜tool▁calls▁end｜>"}});
  add({.name = "kimi_k2",
       .ids = Ids::kFromText,
       .section_open = {"<|tool_calls_section_begin|>"},
       .call_open = {"<|tool_call_begin|>"},
       .call_close = {"<|tool_call_end|>"},
       .section_close = "<|tool_calls_section_end|>",
       .head = Head::kIndexed,
       .arguments_open = "<|tool_call_argument_begin|>",
       .written = {.begin = "<|tool_calls_section_begin|>",
                   .call_begin = "<|tool_call_begin|>functions.",
                   .after_name = ":",
                   .id_regex = "[0-9]{1,4}",
                   .after_id = "<|tool_call_argument_begin|>",
                   .call_end = "<|tool_call_end|>",
                   .end = "<|tool_calls_section_end|>"}});
  add({.name = "solar",
       .ids = Ids::kFromText,
       .section_open = {"<|tool_calls|>"},
       .call_open = {"<|tool_call:begin|>"},
       .call_close = {"<|tool_call:end|>"},
       .head = Head::kIdMark,
       .mark = "<|tool_call:name|>",
       .arguments_open = "<|tool_call:args|>",
       .written = {.begin = "<|tool_calls|>",
                   .call_begin = "<|tool_call:begin|>call<|tool_call:name|>",
                   .after_name = "<|tool_call:args|>",
                   .call_end = "<|tool_call:end|>"}});
  return formats;
}

std::vector<ToolCallFormat> mistral_and_harmony() {
  std::vector<ToolCallFormat> formats;
  auto add = [&](ToolCallFormat format) {
    format.body = Body::kNamed;
    formats.push_back(std::move(format));
  };
  add({.name = "mistral",
       .ids = Ids::kNineCharacters,
       .section_open = {"[TOOL_CALLS]"},
       .head = Head::kMarkId,
       .mark = "[CALL_ID]",
       .arguments_open = "[ARGS]",
       .written = {.call_begin = "[TOOL_CALLS]", .after_name = "[ARGS]"}});
  add({.name = "mistral_ids",
       .ids = Ids::kNineCharacters,
       .section_open = {"[TOOL_CALLS]"},
       .head = Head::kMarkId,
       .mark = "[CALL_ID]",
       .arguments_open = "[ARGS]",
       .written = {.call_begin = "[TOOL_CALLS]",
                   .after_name = "[CALL_ID]",
                   .id_regex = "[a-zA-Z0-9]{9}",
                   .after_id = "[ARGS]"}});
  add({.name = "harmony",
       .parallel = false,
       .call_open = {"<|start|>assistant", "<|channel|>", "to=functions."},
       .call_close = {"<|call|>", "<|end|>"},
       .head = Head::kRecipient,
       .mark = "to=",
       .arguments_open = "<|message|>",
       .written = {.call_begin = "<|channel|>commentary to=functions.",
                   .after_name = " <|constrain|>json<|message|>"}});
  return formats;
}

ToolCallFormat xml_functions(std::string_view name, std::string_view open, std::string_view close, bool lines) {
  return {.name = name,
          .section_open = {open},
          .call_open = {"<function="},
          .section_close = close,
          .name_end = ">",
          .key_open = "<parameter=",
          .key_end = ">",
          .value_close = "</parameter>",
          .tags_end = "</function>",
          .trims_newline = lines};
}

ToolCallFormat dsml(std::string_view name, std::string_view open, std::string_view close, std::string_view begin,
                    std::string_view end) {
  return {
      .name = name,
      .section_open = {open},
      .call_open = {"<｜DSML｜invoke name=\""},
      .section_close = close,
      .name_end = "\">",
      .key_open = "<｜DSML｜parameter name=\"",
      .key_end = "\"",
      .value_close = "</｜DSML｜parameter>",
      .tags_end = "</｜DSML｜invoke>",
      .says_kind = true,
      .written = {
          .begin = begin, .call_begin = "<｜DSML｜invoke name=\"", .after_name = "\">\n", .between = "\n", .end = end}};
}

std::vector<ToolCallFormat> tag_formats() {
  std::vector<ToolCallFormat> formats;
  auto add = [&](ToolCallFormat format, ToolCallFormat::Written written = {}) {
    format.body = Body::kTags;
    if (!written.call_begin.empty()) format.written = written;
    formats.push_back(std::move(format));
  };
  add(xml_functions("qwen3_coder", "<tool_call>", "</tool_call>", true),
      {.call_begin = "<tool_call>\n<function=", .after_name = ">\n", .call_end = "\n</tool_call>", .between = "\n"});
  add(xml_functions("seed_oss", "<seed:tool_call>", "</seed:tool_call>", false),
      {.call_begin = "<seed:tool_call>\n<function=",
       .after_name = ">\n",
       .call_end = "\n</seed:tool_call>",
       .between = "\n"});
  add({.name = "minimax_m2",
       .section_open = {"<minimax:tool_call>"},
       .call_open = {"<invoke name=\""},
       .section_close = "</minimax:tool_call>",
       .name_end = "\">",
       .key_open = "<parameter name=\"",
       .key_end = "\">",
       .value_close = "</parameter>",
       .tags_end = "</invoke>",
       .written = {.begin = "<minimax:tool_call>\n",
                   .call_begin = "<invoke name=\"",
                   .after_name = "\">\n",
                   .between = "\n",
                   .end = "\n</minimax:tool_call>"}});
  add(dsml("deepseek_v3.2", "<｜DSML｜function_calls>", "</｜DSML｜function_calls>", "<｜DSML｜function_calls>\n",
           "\n</｜DSML｜function_calls>"));
  add(dsml("deepseek_v4", "<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>", "<｜DSML｜tool_calls>\n",
           "\n</｜DSML｜tool_calls>"));
  add({.name = "glm",
       .call_open = {"<tool_call>"},
       .key_open = "<arg_key>",
       .key_end = "</arg_key>",
       .value_open = "<arg_value>",
       .value_close = "</arg_value>",
       .tags_end = "</tool_call>",
       .written = {.call_begin = "<tool_call>", .after_name = "\n", .between = "\n"}});
  add({.name = "hunyuan_v3",
       .section_open = {"<tool_calls:opensource>"},
       .call_open = {"<tool_call:opensource>"},
       .section_close = "</tool_calls:opensource>",
       .name_end = "<tool_sep:opensource>",
       .key_open = "<arg_key:opensource>",
       .key_end = "</arg_key:opensource>",
       .value_open = "<arg_value:opensource>",
       .value_close = "</arg_value:opensource>",
       .tags_end = "</tool_call:opensource>",
       .written = {.begin = "<tool_calls:opensource>\n",
                   .call_begin = "<tool_call:opensource>",
                   .after_name = "<tool_sep:opensource>\n",
                   .between = "\n",
                   .end = "\n</tool_calls:opensource>"}});
  return formats;
}

std::vector<ToolCallFormat> loose_formats() {
  std::vector<ToolCallFormat> formats;
  auto add = [&](ToolCallFormat format) {
    format.body = Body::kLoose;
    formats.push_back(std::move(format));
  };
  add({.name = "pythonic",
       .at_start = true,
       .section_open = {"<|python_start|>", "<|python_tag|>"},
       .section_close = "<|python_end|>",
       .written = {.begin = "[", .between = ", ", .end = "]"}});
  add({.name = "lfm2",
       .section_open = {"<|tool_call_start|>"},
       .section_close = "<|tool_call_end|>",
       .written = {.begin = "<|tool_call_start|>[", .between = ", ", .end = "]<|tool_call_end|>"}});
  add({.name = "gemma4",
       .call_open = {"<|tool_call>call:"},
       .call_close = {"<tool_call|>"},
       .string_mark = "<|\"|>",
       .written = {.call_begin = "<|tool_call>call:", .call_end = "<tool_call|>"}});
  add({.name = "functiongemma",
       .call_open = {"<start_function_call>call:"},
       .call_close = {"<end_function_call>"},
       .string_mark = "<escape>",
       .written = {.call_begin = "<start_function_call>call:", .call_end = "<end_function_call>"}});
  return formats;
}

// A template that contains both signs is of this format.
struct Sign {
  std::string_view sign, and_sign, format;
};

// In the order of looking: the more telling first. Templates put some markers together, so that not every marker stands
// there whole.
constexpr std::array kSigns{
    Sign{"<|channel|>commentary", "to=", "harmony"},
    Sign{"<|tool_call>call:", "", "gemma4"},
    Sign{"<start_function_call>", "", "functiongemma"},
    Sign{"｜DSML｜", "tool_calls>", "deepseek_v4"},
    Sign{"｜DSML｜", "function_calls>", "deepseek_v3.2"},
    Sign{"<｜tool▁calls▁begin｜>", "```json", "deepseek_v3"},
    Sign{"<｜tool▁calls▁begin｜>", "", "deepseek_v3.1"},
    Sign{"<|tool_calls_section_begin|>", "", "kimi_k2"},
    Sign{"<|tool_call:begin|>", "<|tool_call:args|>", "solar"},
    Sign{"<seed:tool_call>", "<function=", "seed_oss"},
    Sign{"<tool_call>", "<function=", "qwen3_coder"},
    Sign{"<tool_sep{}>", "<arg_key{}>", "hunyuan_v3"},
    Sign{"<tool_call>", "<arg_key>", "glm"},
    Sign{"<minimax:tool_call>", "<invoke name=", "minimax_m2"},
    Sign{"[TOOL_CALLS]", "[CALL_ID]", "mistral_ids"},
    Sign{"[TOOL_CALLS]", "[ARGS]", "mistral"},
    Sign{"[TOOL_CALLS]", "", "mistral_array"},
    Sign{"<|START_ACTION|>", "tool_name", "cohere"},
    Sign{"<TOOLCALL>", "", "nemotron"},
    Sign{"]minimax[", "", ""},  // MiniMax-M3's tags are named after the arguments: not read
    Sign{"<tool_calls>[", "", "tool_calls_array"},
    Sign{"<tool_calls>", "", "tool_calls"},
    Sign{"<tool_call>", "\"arguments\\\"", "hermes"},  // inside a quoted string of the template
    Sign{"<tool_call>", "\"arguments\"", "hermes"},
    Sign{"<tool_call>", "", "hermes"},
    Sign{"<|tool_call|>", "", "granite"},
    Sign{"<|tool_list_start|>", "", "lfm2"},
    Sign{"<|tool_call_start|>", "", "lfm2"},
    Sign{"functools[", "", "firefunction"},
    Sign{"[func_name1(", "", "pythonic"},
    Sign{"<|python_start|>", "", "pythonic"},
    Sign{"\"parameters\": dictionary of argument name", "", "llama_json"},
    Sign{"<|python_tag|>", "", "llama_json"},
};

}  // namespace

const std::vector<ToolCallFormat>& tool_call_formats() {
  static const std::vector<ToolCallFormat> formats = [] {
    std::vector<ToolCallFormat> all = json_formats();
    for (auto part : {named_formats(), mistral_and_harmony(), tag_formats(), loose_formats()})
      all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return formats;
}

std::optional<ToolCallFormat> find_tool_call_format(std::string_view template_source) {
  auto speaks_of = [&](std::string_view sign) { return template_source.find(sign) != std::string_view::npos; };
  for (const Sign& sign : kSigns) {
    if (!speaks_of(sign.sign) || !speaks_of(sign.and_sign)) continue;
    const auto& all = tool_call_formats();
    auto found = std::ranges::find(all, sign.format, &ToolCallFormat::name);
    return found == all.end() ? std::nullopt : std::optional(*found);
  }
  return std::nullopt;
}

std::vector<int32_t> visible_special_tokens(const ToolCallFormat& format, const Tokenizer& tokenizer) {
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.is_special(id) && format.mention(tokenizer.token_text(id))) ids.push_back(id);
  }
  return ids;
}

bool ToolCallFormat::mention(std::string_view special_token) const {
  if (special_token.empty()) return false;
  auto within = [&](std::string_view marker) { return marker.find(special_token) != std::string_view::npos; };
  for (const auto* markers : {&section_open, &call_open, &call_close}) {
    if (std::ranges::any_of(*markers, within)) return true;
  }
  return within(section_close) || within(mark) || within(arguments_open) || within(name_end) || within(key_open) ||
         within(key_end) || within(value_open) || within(value_close) || within(tags_end) || within(string_mark) ||
         within(written.after_name) || within(written.after_id);
}

}  // namespace kinglet
