#include "formats/config_json.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/quote.h"
#include "formats/json_bounded.h"

namespace kinglet {
namespace {

using Json = nlohmann::json;

bool fits_int64(const Json& value) {
  return !value.is_number_unsigned() ||
         value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
}

// An array whose elements share one scalar kind; nothing for mixed arrays and arrays of containers.
std::optional<MetadataValue> uniform_array(const Json& array) {
  const auto all = [&](auto&& holds) { return std::all_of(array.begin(), array.end(), holds); };
  if (all([](const Json& e) { return e.is_number_integer() && fits_int64(e); })) {
    return array.get<std::vector<int64_t>>();
  }
  if (all([](const Json& e) { return e.is_number(); })) return array.get<std::vector<double>>();
  if (all([](const Json& e) { return e.is_boolean(); })) return array.get<std::vector<bool>>();
  if (all([](const Json& e) { return e.is_string(); })) return array.get<std::vector<std::string>>();
  return std::nullopt;
}

std::optional<MetadataValue> scalar(const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_unsigned()) return value.get<uint64_t>();
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_number_float()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  return std::nullopt;
}

// Recursion is bounded by parse_json's limit on nesting.
Status flatten(const std::string& path, const Json& value, Metadata& out) {
  if (value.is_null()) return {};
  if (value.is_object()) {
    for (const auto& [key, member] : value.items()) {
      KL_RETURN_IF_ERROR(flatten(path.empty() ? key : path + "." + key, member, out));
    }
    return {};
  }
  std::optional<MetadataValue> held = value.is_array() ? uniform_array(value) : scalar(value);
  if (!held) {
    for (size_t i = 0; i < value.size(); ++i) {
      KL_RETURN_IF_ERROR(flatten(path + "." + std::to_string(i), value[i], out));
    }
    return {};
  }
  if (out.has(path)) {
    return Error{ErrorCode::kInvalid, out.source() + ": " + quote(path) +
                                          ": expected one value, found two (nested, and as a key with dots)"};
  }
  out.set(path, std::move(*held));
  return {};
}

}  // namespace

Result<Metadata> flatten_config(std::string_view text, const std::string& source) {
  KL_TRY(const Json json, parse_json(text, source));
  if (!json.is_object()) return Error{ErrorCode::kInvalid, source + ": expected a JSON object, found another value"};
  Metadata metadata(source);
  KL_RETURN_IF_ERROR(flatten("", json, metadata));
  return metadata;
}

}  // namespace kinglet
