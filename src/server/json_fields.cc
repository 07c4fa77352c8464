#include "server/json_fields.h"

#include "base/quote.h"

namespace kinglet::server {
namespace {

// The depth that a parser would reach, without one: nlohmann's frees deep trees by recursion.
size_t depth_of(std::string_view text) {
  size_t depth = 0, most = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      most = std::max(most, ++depth);
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return most;
}

}  // namespace

Result<Json> parse_object(std::string_view body) {
  if (depth_of(body) > kMostDepth) {
    return Error{ErrorCode::kInvalid,
                 "the body is nested more than " + std::to_string(kMostDepth) + " levels deep, which is the limit"};
  }
  try {
    Json json = Json::parse(body);
    if (json.is_object()) return json;
    return Error{ErrorCode::kInvalid, std::string("the body: found ") + json.type_name() + ", expected a JSON object"};
  } catch (const Json::exception& error) {
    const std::string_view text = error.what();
    const size_t end = text.find("] ");
    return Error{ErrorCode::kInvalid,
                 "the body is no JSON: " + std::string(end == std::string_view::npos ? text : text.substr(end + 2))};
  }
}

std::string to_text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

const Json* Fields::find(const char* name) const {
  const auto at = object_.find(name);
  return at == object_.end() || at->is_null() ? nullptr : &*at;
}

void Fields::fail(const std::string& name, const std::string& found_and_expected) {
  if (error_) return;
  failed_field_ = prefix_ + name;
  error_ = Error{ErrorCode::kInvalid, failed_field_ + ": " + found_and_expected};
}

void Fields::take_error(const Fields& inner) {
  if (error_ || !inner.error_) return;
  failed_field_ = inner.failed_field_;
  error_ = inner.error_;
}

const Json* Fields::typed(const char* name, bool fits, const Json* value, const char* expected) {
  if (!value || fits) return value;
  std::string found = value->type_name();
  if (value->is_number() || value->is_boolean()) found = value->dump();
  if (value->is_string()) found = quote(value->get_ref<const std::string&>(), 64);
  fail(name, "found " + found + ", expected " + expected);
  return nullptr;
}

std::optional<bool> Fields::boolean(const char* name) {
  const Json* value = find(name);
  value = typed(name, value && value->is_boolean(), value, "true or false");
  return value ? std::optional(value->get<bool>()) : std::nullopt;
}

std::optional<int64_t> Fields::integer(const char* name, int64_t least, int64_t most) {
  const Json* value = find(name);
  const std::string expected = "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
  bool fits = false;
  int64_t number = 0;
  if (value && value->is_number_unsigned()) {
    const auto wide = value->get<uint64_t>();
    fits = wide <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    number = fits ? static_cast<int64_t>(wide) : 0;
  } else if (value && value->is_number_integer()) {
    fits = true;
    number = value->get<int64_t>();
  }
  fits = fits && number >= least && number <= most;
  return typed(name, fits, value, expected.c_str()) ? std::optional(number) : std::nullopt;
}

std::optional<float> Fields::number(const char* name) {
  const Json* value = find(name);
  value = typed(name, value && value->is_number(), value, "a number");
  if (!value) return std::nullopt;
  const double wide = value->get<double>();
  if (!(wide >= -1e30 && wide <= 1e30)) {
    fail(name, "found " + value->dump() + ", which is out of every range");
    return std::nullopt;
  }
  return static_cast<float>(wide);
}

std::optional<std::string> Fields::text(const char* name) {
  const Json* value = find(name);
  value = typed(name, value && value->is_string(), value, "a string");
  return value ? std::optional(value->get<std::string>()) : std::nullopt;
}

std::vector<std::string> Fields::texts(const char* name) {
  const Json* value = find(name);
  if (!value) return {};
  if (value->is_string()) return {value->get<std::string>()};
  std::vector<std::string> list;
  bool fits = value->is_array();
  if (fits) {
    for (const Json& item : *value) {
      fits = fits && item.is_string();
      if (fits) list.push_back(item.get<std::string>());
    }
  }
  return typed(name, fits, value, "a string or an array of strings") ? list : std::vector<std::string>();
}

const Json* Fields::object(const char* name) {
  const Json* value = find(name);
  return typed(name, value && value->is_object(), value, "an object");
}

const Json* Fields::array(const char* name) {
  const Json* value = find(name);
  return typed(name, value && value->is_array(), value, "an array");
}

}  // namespace kinglet::server
