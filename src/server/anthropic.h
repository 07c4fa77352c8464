// Anthropic's dialect, the Messages API, without sockets and engine: bodies to calls, events to bodies and streams,
// errors to envelopes.
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
#include "text/tool_calls.h"

namespace kinglet::server {

enum class AnthropicUse { kAnswer, kCount };  // POST /v1/messages, POST /v1/messages/count_tokens

// kInvalid, naming the field: "messages[0].content[1]: found an image, …". Unknown fields are ignored. A prompt that is
// only counted needs no max_tokens.
Result<ChatCall> anthropic_call(std::string_view body, AnthropicUse use);

struct AnthropicAnswer {
  std::string id;          // "msg_…"
  std::string request_id;  // for errors that come up while streaming
  std::string model;       // as the request named it
  int64_t prompt_tokens = 0;
  std::vector<Tool> tools;  // with a format: calls of them come as blocks of their own
  std::optional<ToolCallFormat> tool_calls;
};
// A call is handed out when it is complete, because a block can't be taken back; until then there are pings.
std::unique_ptr<AnswerFormat> anthropic_format(AnthropicAnswer answer);

// {"input_tokens": n}
std::string anthropic_count(int64_t tokens);

HttpResponse anthropic_error(int status, const Error& error, const std::string& request_id);

}  // namespace kinglet::server
