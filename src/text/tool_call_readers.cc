#include "text/tool_call_readers.h"

#include <algorithm>

#include "formats/json_bounded.h"
#include "text/json_scanner.h"

namespace kinglet {
namespace {

using nlohmann::json;

// Adds what a schema's "type" allows.
void note_type(const json& type, bool* string, bool* null, bool* other) {
  if (!type.is_string()) return;
  const auto& name = type.get_ref<const std::string&>();
  (name == "string" ? *string : name == "null" ? *null : *other) = true;
}

// Adds what values of `schema` can be. Of the alternatives of alternatives, those four deep are looked at.
void note_schema(const json& schema, int depth, bool* string, bool* null, bool* other) {
  if (!schema.is_object() || depth > 4) return;
  if (auto type = schema.find("type"); type != schema.end()) {
    if (type->is_array()) {
      for (const json& one : *type) note_type(one, string, null, other);
    } else {
      note_type(*type, string, null, other);
    }
    return;
  }
  auto note_value = [&](const json& value) { (value.is_string() ? *string : value.is_null() ? *null : *other) = true; };
  if (auto value = schema.find("const"); value != schema.end()) note_value(*value);
  if (auto values = schema.find("enum"); values != schema.end() && values->is_array()) {
    for (const json& value : *values) note_value(value);
  }
  for (const char* key : {"anyOf", "oneOf"}) {
    auto alternatives = schema.find(key);
    if (alternatives == schema.end() || !alternatives->is_array()) continue;
    for (const json& one : *alternatives) note_schema(one, depth + 1, string, null, other);
  }
}

ArgumentKind kind_of(const json& schema) {
  bool string = false, null = false, other = false;
  note_schema(schema, 0, &string, &null, &other);
  if (string && !other) return null ? ArgumentKind::kNullableString : ArgumentKind::kString;
  return string || !other ? ArgumentKind::kUnknown : ArgumentKind::kJson;
}

}  // namespace

ToolTypes::ToolTypes(const std::vector<Tool>& tools) {
  for (const Tool& tool : tools) {
    auto& kinds = tools_[tool.name];
    if (tool.parameters.empty()) continue;
    auto schema = parse_json(tool.parameters, "the parameters of tool " + tool.name);
    if (!schema.ok() || !schema->is_object()) continue;
    auto properties = schema->find("properties");
    if (properties == schema->end() || !properties->is_object()) continue;
    for (const auto& [name, property] : properties->items()) kinds[name] = kind_of(property);
  }
}

ArgumentKind ToolTypes::kind(const std::string& tool, const std::string& argument) const {
  auto kinds = tools_.find(tool);
  if (kinds == tools_.end()) return ArgumentKind::kUnknown;
  auto kind = kinds->second.find(argument);
  return kind == kinds->second.end() ? ArgumentKind::kUnknown : kind->second;
}

bool is_tool_name(std::string_view name) {
  return !name.empty() && name.size() <= kMostNameBytes && std::ranges::all_of(name, [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && c != 0x7f &&
           std::string_view("<>{}()[]\"'`=,;").find(c) == std::string_view::npos;
  });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string decode_json_string(std::string_view quoted) {
  auto value = parse_json(quoted, "a string");
  return value.ok() && value->is_string() ? value->get<std::string>() : "";
}

std::optional<std::string> as_json(std::string_view text) {
  text = trimmed(text);
  if (text == "true" || text == "false" || text == "null" || is_json_number(text)) return std::string(text);
  JsonScanner scanner;
  std::string out;
  for (char c : text) {
    if (!scanner.put(c, &out)) return std::nullopt;
  }
  return scanner.done() ? std::optional(std::move(out)) : std::nullopt;
}

}  // namespace kinglet
