// Answers with tool calls, in every format. For tests only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/tool_calls.h"

namespace kinglet::test {

inline const std::vector<Tool>& tools() {
  static const std::vector<Tool> all{
      {"f", R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"},
                "c": {"type": ["string", "null"]}, "d": {"type": "array"}, "e": {"anyOf": [{"type": "boolean"}]},
                "n": {"enum": ["one", "two"]}}})"},
      {"write", R"({"type": "object", "properties": {"path": {"type": "string"}, "text": {"type": "string"}}})"},
      {"now", ""}};
  return all;
}

struct Example {
  std::string_view format, text;
  std::string_view shown;  // TEXT|NAME#ID{ARGUMENTS}|…
};

inline const std::vector<Example> kExamples = {
    {"hermes", "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1, \"b\": \"x }\"}}\n</tool_call>",
     "Let me see.|f{\"a\": 1, \"b\": \"x }\"}"},
    {"hermes",
     "<tool_call>\n{\"arguments\": {\"a\": [1, {\"b\": null}]}, \"name\": "
     "\"f\"}\n</tool_call>\n<tool_call>\n{\"name\": "
     "\"now\"}\n</tool_call>\nDone.",
     "Done.|f{\"a\": [1, {\"b\": null}]}|now{}"},
    {"hermes",
     "<tool_call>[{\"name\": \"now\", \"arguments\": null}, {\"name\": \"f\", \"arguments\": \"{\\\"a\\\": "
     "1}\"}]</tool_call>",
     "|now{}|f{\"a\": 1}"},
    {"hermes", "<tool_call>{\"name\": \"write\", \"arguments\": {\"text\": \"two\nlines\"}}",
     "|write{\"text\": \"two\\nlines\"}"},
    {"hermes", "The tag <tool_call> begins a call.", "The tag <tool_call> begins a call."},
    {"hermes", "<tool_call><tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>", "<tool_call>|f{}"},
    {"tool_calls",
     "<tool_calls>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n{\"name\": \"now\", \"arguments\": "
     "{}}\n</tool_calls>",
     "|f{\"a\": 1}|now{}"},
    {"tool_calls_array",
     "Hm.\n<tool_calls>[{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"now\", \"arguments\": "
     "{}}]</tool_calls>",
     "Hm.|f{\"a\": 1}|now{}"},
    {"nemotron", "<TOOLCALL>[{\"name\": \"f\", \"arguments\": {\"a\": 1}}]</TOOLCALL>", "|f{\"a\": 1}"},
    {"granite", "<|tool_call|>[{\"name\": \"f\", \"arguments\": {\"a\": 1}}] and more", "and more|f{\"a\": 1}"},
    {"firefunction", " functools[{\"name\": \"f\", \"arguments\": {\"a\": 1}}]", "|f{\"a\": 1}"},
    {"cohere",
     "<|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"f\", \"parameters\": {\"a\": "
     "1}}\n]<|END_ACTION|>",
     "|f{\"a\": 1}"},
    {"mistral_array",
     "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}, \"id\": \"abcdefghi\"}, {\"name\": \"now\", "
     "\"arguments\": {}}]",
     "|f{\"a\": 1}|now{}"},
    {"mistral", "Yes.[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]now[ARGS]{}", "Yes.|f{\"a\": 1}|now{}"},
    {"mistral", "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1}}]", "|f{\"a\": 1}"},
    {"mistral_ids", "[TOOL_CALLS]f[CALL_ID]a1b2c3d4e[ARGS]{\"a\": 1}", "|f#a1b2c3d4e{\"a\": 1}"},
    {"llama_json", "{\"name\": \"f\", \"parameters\": {\"a\": 1}}", "|f{\"a\": 1}"},
    {"llama_json",
     "<|python_tag|>{\"type\": \"function\", \"name\": \"f\", \"parameters\": {}}; {\"name\": \"now\", "
     "\"parameters\": {}}",
     "|f{}|now{}"},
    {"llama_json", "Use {\"name\": \"f\", \"parameters\": {}}", "Use {\"name\": \"f\", \"parameters\": {}}"},
    {"llama_json", "{\"name\": \"Ann\", \"parameters\": {}}", "{\"name\": \"Ann\", \"parameters\": {}}"},
    {"llama_json", "<|python_tag|>brave_search.call(query=\"x\")", "<|python_tag|>brave_search.call(query=\"x\")"},
    {"deepseek_v3",
     "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": "
     "1}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜>"
     "<｜tool▁calls▁end｜>",
     "|f{\"a\": 1}|now{}"},
    {"deepseek_v3.1",
     "So:<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\": "
     "1}<｜tool▁call▁end｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     "So:|f{\"a\": 1}|now{}"},
    {"kimi_k2",
     "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{\"a\": "
     "1}<|tool_call_end|><|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_"
     "calls_"
     "section_end|>",
     "|f#functions.f:0{\"a\": 1}|now#functions.now:1{}"},
    {"solar", "<|tool_calls|><|tool_call:begin|>x1<|tool_call:name|>f<|tool_call:args|>{\"a\": 1}<|tool_call:end|>",
     "|f#x1{\"a\": 1}"},
    {"harmony", "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"a\": 1}<|call|>", "|f{\"a\": 1}"},
    {"harmony", "<|start|>assistant to=functions.now<|channel|>commentary json<|message|>{}", "|now{}"},
    {"harmony", "<|channel|>commentary<|message|>no call", "<|channel|>commentary<|message|>no call"},
    {"qwen3_coder",
     "I write.\n\n<tool_call>\n<function=write>\n<parameter=path>\na.txt\n</parameter>\n<parameter=text>\n\n  "
     "\"two\"\n"
     "lines\\\n\n</parameter>\n</function>\n</tool_call>",
     "I write.|write{\"path\": \"a.txt\", \"text\": \"\\n  \\\"two\\\"\\nlines\\\\\\n\"}"},
    {"qwen3_coder",
     "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n<parameter=b>\n1\n</"
     "parameter>\n<parameter=c>\nnull\n"
     "</parameter>\n<parameter=d>\n[1, \"x\"]\n</parameter>\n<parameter=e>\nTrue\n</parameter>\n<parameter=n>\none\n"
     "</parameter>\n<parameter=z>\n{\"k\": 1}\n</parameter>\n</function>\n<function=now>\n</function>\n</tool_call>",
     "|f{\"a\": 1, \"b\": \"1\", \"c\": null, \"d\": [1, \"x\"], \"e\": true, \"n\": \"one\", \"z\": {\"k\": "
     "1}}|now{}"},
    {"qwen3_coder", "<function=f><parameter=a>many</parameter></function></tool_call>", "|f{\"a\": \"many\"}"},
    {"seed_oss", "<seed:tool_call>\n<function=write>\n<parameter=path>a</parameter>\n</function>\n</seed:tool_call>",
     "|write{\"path\": \"a\"}"},
    {"minimax_m2",
     "\n<minimax:tool_call>\n<invoke name=\"f\">\n<parameter name=\"a\">-3</parameter>\n<parameter "
     "name=\"b\">x<y</parameter>\n</invoke>\n<invoke name=\"now\"></invoke>\n</minimax:tool_call>",
     "|f{\"a\": -3, \"b\": \"x<y\"}|now{}"},
    {"deepseek_v3.2",
     "\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"b\" "
     "string=\"true\">1</｜DSML｜parameter>\n<｜DSML｜parameter name=\"z\" string=\"false\">[1]</｜DSML｜parameter>\n"
     "</｜DSML｜invoke>\n</｜DSML｜function_calls>",
     "|f{\"b\": \"1\", \"z\": [1]}"},
    {"deepseek_v4", "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"now\">\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>",
     "|now{}"},
    {"glm",
     "\n<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n<arg_key>b</arg_key>\n<arg_value>x\n</"
     "arg_value>\n"
     "</tool_call>\n<tool_call>now\n</tool_call>",
     "|f{\"a\": 1, \"b\": \"x\\n\"}|now{}"},
    {"glm", "<tool_call>f<arg_key>a</arg_key><arg_value>1</arg_value></tool_call><tool_call>now</tool_call>",
     "|f{\"a\": 1}|now{}"},
    {"glm", "A <tool_call> is\n<tool_call>now</tool_call>", "A <tool_call> is|now{}"},
    {"hunyuan_v3",
     "<tool_calls:opensource>\n<tool_call:opensource>f<tool_sep:opensource>\n<arg_key:opensource>a</"
     "arg_key:opensource>"
     "\n<arg_value:opensource>1</arg_value:opensource>\n</tool_call:opensource>\n</tool_calls:opensource>",
     "|f{\"a\": 1}"},
    {"pythonic", "[f(a=1, b=\"it's \\u00e9\\x41\", d=[1, (2.5, None)], e=True), now()]",
     "|f{\"a\": 1, \"b\": \"it's \\u00e9\\u0041\", \"d\": [1, [2.5, null]], \"e\": true}|now{}"},
    {"pythonic", "<|python_start|>[f(b='say \"hi\"\\n', d={'k': -1e3,})]<|python_end|>",
     "|f{\"b\": \"say \\\"hi\\\"\\n\", \"d\": {\"k\": -1e3}}"},
    {"pythonic", "[1, 2] is a list", "[1, 2] is a list"},
    {"lfm2", "<|tool_call_start|>[f(a=1)]<|tool_call_end|>Checking.", "Checking.|f{\"a\": 1}"},
    {"gemma4", "<|tool_call>call:f{a:1,b:<|\"|>x\"<|y<|\"|>,d:[<|\"|>p<|\"|>,{k:None}],e:true}<tool_call|>",
     "|f{\"a\": 1, \"b\": \"x\\\"<|y\", \"d\": [\"p\", {\"k\": null}], \"e\": true}"},
    {"gemma4", "<|tool_call>call:now{}<tool_call|><|tool_call>call:f{a:2}<tool_call|>", "|now{}|f{\"a\": 2}"},
    {"functiongemma", "<start_function_call>call:f{b:<escape>x, y<escape>}<end_function_call>", "|f{\"b\": \"x, y\"}"},
};

inline const std::vector<Example>& examples() {
  return kExamples;
}

}  // namespace kinglet::test
