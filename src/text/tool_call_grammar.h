// Grammars for tool calls: a Lark source (text/grammar.h) whose sentences are calls of the given tools, in the way a
// format writes them, with arguments that follow the tools' schemas. For tool_choice "required", a named tool, and
// strict tools.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"
#include "text/tool_calls.h"

namespace kinglet {

struct ToolGrammarOptions {
  bool parallel = true;       // more than one call, where the format has it
  bool text_instead = false;  // an answer without any call is a sentence, too, and text may come before calls
};

// `tokenizer`: markers that are special tokens of it become those tokens. kInvalid when `tools` is empty, or when a
// name or schema can't be used; the message names the tool. What a schema says of strings beyond enum and const is not
// enforced where the format writes them bare (kTags, and Gemma's kLoose), and there and in Python's syntax arguments
// come in the schema's order.
Result<std::string> tool_call_grammar(const ToolCallFormat& format, const std::vector<Tool>& tools,
                                      const Tokenizer& tokenizer, const ToolGrammarOptions& options = {});

}  // namespace kinglet
