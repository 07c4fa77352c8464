// OpenAI's dialect, without sockets and engine: bodies to calls, events to bodies and chunks, errors to envelopes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "server/call.h"
#include "server/http.h"
#include "text/tokenizer.h"
#include "text/tool_calls.h"

namespace kinglet::server {

// kInvalid, naming the field: "temperature: found "hot", expected a number". Unknown fields are ignored.
Result<ChatCall> openai_chat_call(std::string_view body);
Result<TextCall> openai_text_call(std::string_view body);

// What every answer of a call says.
struct OpenAiAnswer {
  std::string id;     // "chatcmpl-…"
  std::string model;  // as the request named it
  int64_t created = 0;
  std::shared_ptr<const Tokenizer> tokenizer;
  int64_t n = 1;  // answers to each prompt
  bool include_usage = false;
  std::vector<Tool> tools = {};  // with a format: calls of them come apart from the text
  std::optional<ToolCallFormat> tool_calls = {};
};
std::unique_ptr<AnswerFormat> openai_chat_format(const OpenAiAnswer& answer);
// `echoes`: the text before each answer, or none.
std::unique_ptr<AnswerFormat> openai_text_format(const OpenAiAnswer& answer, std::vector<std::string> echoes);

HttpResponse openai_error(int status, const Error& error);

}  // namespace kinglet::server
