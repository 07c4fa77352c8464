#include "server/tool_use.h"

#include <algorithm>
#include <random>

#include "text/grammar.h"
#include "text/tool_call_grammar.h"

namespace kinglet::server {
namespace {

constexpr std::string_view kAlphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

std::string random_text(size_t size) {
  std::random_device random;
  std::string text;
  while (text.size() < size) text += kAlphanumeric[random() % kAlphanumeric.size()];
  return text;
}

// What may be answered, as a Lark grammar.
Result<std::string> answer_grammar(const ToolUse& use, const ToolCallFormat& format,
                                   const std::optional<std::string>& json_schema, const Tokenizer& tokenizer) {
  std::vector<Tool> tools = use.tools;
  if (!use.only.empty()) std::erase_if(tools, [&](const Tool& tool) { return tool.name != use.only; });
  const bool json_instead = !use.required && json_schema;
  KL_TRY(std::string calls,
         tool_call_grammar(format, tools, tokenizer,
                           {.parallel = use.parallel, .text_instead = !use.required && !json_instead}));
  constexpr std::string_view kStart = "start:";
  if (json_instead) calls.replace(0, kStart.size(), "start: calls | %json " + *json_schema + "\ncalls:");
  return calls;
}

}  // namespace

Status apply_tools(const ToolUse& use, const std::optional<ToolCallFormat>& format,
                   const std::optional<std::string>& json_schema, const std::shared_ptr<const Tokenizer>& tokenizer,
                   Request* request) {
  if (use.tools.empty()) return {};
  if (!format) {
    if (!use.required) return {};
    return Error{ErrorCode::kInvalid,
                 "tool_choice: a call is required, but this model's chat template shows no known way to write one; "
                 "leave tool_choice out, or serve a model that was trained to call tools"};
  }
  request->visible_special = visible_special_tokens(*format, *tokenizer);
  if (request->thinking) request->thinking->markers.keep_recipients = true;
  if (!use.required && !use.strict && !json_schema) return {};
  const auto source = answer_grammar(use, *format, json_schema, *tokenizer);
  if (!source.ok()) return source.error().with_context("tools");
  auto grammar = Grammar::from_lark(tokenizer, *source);
  if (!grammar.ok()) return grammar.error().with_context("tools");
  request->grammar = std::move(grammar).value();
  return {};
}

std::string tool_call_id(ToolCallFormat::Ids ids, std::string_view written) {
  switch (ids) {
    case ToolCallFormat::Ids::kNineCharacters: {
      const bool fits = written.size() == 9 && written.find_first_not_of(kAlphanumeric) == std::string_view::npos;
      return fits ? std::string(written) : random_text(9);
    }
    case ToolCallFormat::Ids::kFromText:
      if (!written.empty()) return std::string(written);
      break;
    case ToolCallFormat::Ids::kAny:
      break;
  }
  return "call_" + random_text(24);
}

}  // namespace kinglet::server
