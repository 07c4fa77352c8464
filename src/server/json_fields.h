// Reads JSON out of requests, bounded in depth, and remembers the first field that was wrong. For the .cc files of
// server/ only, because it shows nlohmann's types.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kinglet::server {

using Json = nlohmann::ordered_json;  // the order of keys matters to templates and schemas

inline constexpr size_t kMostDepth = 128;

// kInvalid for what is no JSON object, or one that is nested too deeply.
Result<Json> parse_object(std::string_view body);
// On one line; bytes that are no UTF-8 become U+FFFD.
std::string to_text(const Json& json);

// Fields of one object. null counts as absent.
class Fields {
 public:
  explicit Fields(const Json& object, std::string prefix = {}) : object_(object), prefix_(std::move(prefix)) {}

  const Json* find(const char* name) const;
  std::optional<bool> boolean(const char* name);
  std::optional<int64_t> integer(const char* name, int64_t least, int64_t most);
  std::optional<float> number(const char* name);
  std::optional<std::string> text(const char* name);
  std::vector<std::string> texts(const char* name);  // a string, or an array of strings
  const Json* object(const char* name);
  const Json* array(const char* name);
  void fail(const std::string& name, const std::string& found_and_expected);
  void take_error(const Fields& inner);  // of an object among the fields

  const std::optional<Error>& error() const { return error_; }
  const std::string& failed_field() const { return failed_field_; }
  Status status() const { return error_ ? Status(*error_) : Status(); }

 private:
  const Json* typed(const char* name, bool fits, const Json* value, const char* expected);

  const Json& object_;
  std::string prefix_, failed_field_;
  std::optional<Error> error_;
};

}  // namespace kinglet::server
