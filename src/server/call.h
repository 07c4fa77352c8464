// What every dialect makes of a request's body, and what it gives back: plain data between JSON and the engine.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "engine/request.h"
#include "engine/sampling_wishes.h"
#include "text/tool_calls.h"

namespace kinglet::server {

struct CallOptions {
  std::string model;  // empty: the one there is
  SamplingWishes sampling;
  int64_t max_tokens = -1;
  int logprobs = -1;  // as SamplingParams::logprobs
  int64_t n = 1;      // answers to each prompt
  std::vector<std::string> stop;
  bool ignore_eos = false;
  std::optional<std::string> json_schema;
  bool stream = false;
  std::string cache_salt;      // only calls with the same one share cached prefixes
  bool include_usage = false;  // a last chunk with it
};

// Which tools a model may or must call. Without tools, nothing else counts.
struct ToolUse {
  std::vector<Tool> tools = {};
  bool required = false;  // some tool, or the one named `only`
  std::string only = {};
  bool parallel = true;  // more than one call; enforced where calls are constrained
  bool strict = false;   // whatever is called gets arguments of its schema
};

struct ChatCall {
  CallOptions options;
  std::string messages_json;  // an array, as chat templates want it
  std::string tools_json;     // an array for the template, or empty
  ToolUse tool_use;           // the same, for the parser and the grammar
  std::string template_args_json;
  std::optional<bool> think;
};

struct TextCall {
  CallOptions options;
  std::vector<std::variant<std::string, std::vector<int32_t>>> prompts;
  bool echo = false;
};

// Turns the events of a call's answers into the bytes of a dialect. One thread at a time.
class AnswerFormat {
 public:
  virtual ~AnswerFormat() = default;
  virtual std::string content_type(bool stream) const = 0;
  // Streamed: what goes first, what an event of answer `index` becomes, what goes last.
  virtual std::string first() = 0;
  virtual std::string event(size_t index, const Event& event) = 0;
  virtual std::string last() = 0;
  // Streamed: what an error becomes that comes up after the start.
  virtual std::string failure(const Error& error) = 0;
  // Not streamed: the whole, from one completion each.
  virtual std::string whole(const std::vector<Completion>& completions) = 0;
};

}  // namespace kinglet::server
