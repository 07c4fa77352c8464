// CallReader: one call, byte by byte, from behind its opening marker to the end of its arguments. A reader for each
// kind of body (ToolCallFormat::Body); the formats differ in what the table says. Internal to text/.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/partial_marker.h"
#include "text/tool_calls.h"

namespace kinglet {

constexpr size_t kMostNameBytes = 256;

// What an argument written as bare text is meant to be, by the tool's schema.
enum class ArgumentKind {
  kUnknown,         // JSON if it is, else a string
  kString,          // the text itself
  kNullableString,  // null, or the text itself
  kJson,            // not a string; JSON if it is, else a string nevertheless
};

class ToolTypes {
 public:
  explicit ToolTypes(const std::vector<Tool>& tools);
  bool knows(const std::string& tool) const { return tools_.contains(tool); }
  ArgumentKind kind(const std::string& tool, const std::string& argument) const;

 private:
  std::map<std::string, std::map<std::string, ArgumentKind>> tools_;
};

// Where a reader's findings go.
class CallSink {
 public:
  virtual ~CallSink() = default;
  virtual void begin(std::string name, std::string id) = 0;
  virtual void arguments(std::string_view json) = 0;
};

enum class CallStep {
  kMore,
  kDone,  // with this byte
  kBad,   // this is no call
};

class CallReader {
 public:
  virtual ~CallReader() = default;
  virtual CallStep put(char c, CallSink& sink) = 0;
};

// `known_only`: calls of other tools are no calls. `marker`: what opened the call.
struct ReaderContext {
  const ToolCallFormat* format = nullptr;
  const ToolTypes* types = nullptr;
  bool known_only = false;
  std::string_view marker = {};
};
std::unique_ptr<CallReader> make_json_reader(const ReaderContext& context);
std::unique_ptr<CallReader> make_named_reader(const ReaderContext& context);
std::unique_ptr<CallReader> make_tags_reader(const ReaderContext& context);
std::unique_ptr<CallReader> make_loose_reader(const ReaderContext& context);

// Whether a text can be a tool's name: neither empty nor too long, and without white space, brackets and quotes.
bool is_tool_name(std::string_view name);
inline bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
std::string_view trimmed(std::string_view text);

// The text of a JSON string, quotes and all; empty where it is none.
std::string decode_json_string(std::string_view quoted);
// `text` as a JSON value, control characters inside strings escaped; absent where it is none.
std::optional<std::string> as_json(std::string_view text);

}  // namespace kinglet
