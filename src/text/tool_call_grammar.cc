#include "text/tool_call_grammar.h"

#include <algorithm>

#include "formats/json_bounded.h"
#include "text/json_scanner.h"
#include "text/tool_call_readers.h"

namespace kinglet {
namespace {

using Json = nlohmann::ordered_json;  // models write arguments in the schema's order
using Body = ToolCallFormat::Body;

constexpr int kMostDepth = 16;  // of schemas that are taken apart here; below, any value is right

std::string json_text(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  append_json_escaped(text, &out);
  return out + "\"";
}

std::string regex_escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (std::string_view("\\^$.|?*+()[]{}/").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

class GrammarWriter {
 public:
  GrammarWriter(const ToolCallFormat& format, const Tokenizer& tokenizer) : format_(format), tokenizer_(tokenizer) {}

  Result<std::string> write(const std::vector<Tool>& tools, const ToolGrammarOptions& options) {
    const ToolCallFormat::Written& w = format_.written;
    const ToolTypes types(tools);
    types_ = &types;
    std::string calls;
    for (const Tool& tool : tools) {
      KL_TRY(std::string call, this->call(tool));
      calls += (calls.empty() ? "" : " | ") + rule("call", call);
    }
    const std::string call = rule("any_call", calls);
    const bool more = options.parallel && format_.parallel;
    const std::string_view marker = this->marker();
    // The marker stands apart, so that it can end a text before the calls.
    const std::string again = literal(w.between) + " " + (w.begin.empty() ? literal(marker) : "") + " " + call;
    const std::string begin = w.begin.empty() ? "" : literal(w.begin.substr(marker.size()));
    const std::string row = begin + " " + call + (more ? " (" + again + ")*" : "") + " " + literal(w.end);
    return "start: " + (options.text_instead ? text_or(row) : thought() + " " + literal(marker) + " " + row) + "\n" +
           rules_;
  }

 private:
  // What opens the first call; empty where nothing does.
  std::string_view marker() const {
    const std::string_view begin = format_.written.begin.empty() ? format_.written.call_begin : format_.written.begin;
    for (const auto* markers : {&format_.section_open, &format_.call_open}) {
      for (std::string_view one : *markers) {
        if (begin.starts_with(one)) return one;
      }
    }
    return "";
  }

  std::string_view call_begin() const {
    std::string_view begin = format_.written.call_begin;
    if (format_.written.begin.empty()) begin.remove_prefix(marker().size());
    return begin;
  }

  // Harmony's model thinks in a message of its own before the call.
  std::string thought() const {
    if (format_.head != ToolCallFormat::Head::kRecipient) return "";
    return "(" + literal("<|channel|>analysis<|message|>") + " /(.|\\n)*/ " + literal("<|end|><|start|>assistant") +
           ")?";
  }

  // Text, perhaps followed by calls.
  std::string text_or(const std::string& row) {
    const std::string_view marker = this->marker();
    const std::string any = "/(.|\\n)*/";
    size_t length = 0;
    if (marker.empty()) return row + " | /([^\\[{](.|\\n)*)?/";
    if (format_.head == ToolCallFormat::Head::kRecipient) {
      const std::string other = literal("<|channel|>final<|message|>") + " " + any;
      return thought() + " (" + literal(marker) + " " + row + " | " + other + " | " + any + ")";
    }
    if (find_special(marker, &length) == 0) return any + " (" + literal(marker) + " " + row + ")?";
    rules_ += "FREE: " + any + " & ~/(.|\\n)*" + regex_escaped(marker) + "(.|\\n)*/\n";
    return "FREE | " + rule("opening[suffix=" + json_string(marker) + "]", any) + " " + row;
  }

  Result<std::string> call(const Tool& tool) {
    auto bad = [&](const std::string& what) { return Error{ErrorCode::kInvalid, "tool " + tool.name + ": " + what}; };
    if (!is_tool_name(tool.name)) return bad("its name can't be written in this model's format");
    Json schema = Json::object();
    if (!tool.parameters.empty()) {
      auto checked = parse_json(tool.parameters, "parameters");
      if (!checked.ok()) return bad(checked.error().message);
      schema = Json::parse(tool.parameters, nullptr, /*allow_exceptions=*/false);
      if (!schema.is_object()) return bad("parameters: expected a JSON schema that is an object");
    }
    if (!schema.contains("type") && !schema.contains("$ref")) schema["type"] = "object";
    return call(tool.name, schema);
  }

  std::string call(const std::string& name, const Json& schema) {
    const ToolCallFormat::Written& w = format_.written;
    const std::string id = w.id_regex.empty() ? "" : " /" + std::string(w.id_regex) + "/";
    switch (format_.body) {
      case Body::kJson: {
        const std::string head = "{" + json_string(format_.name_key) + ": " + json_string(name) + ", " +
                                 json_string(format_.arguments_key) + ": ";
        return literal(std::string(call_begin()) + head) + " %json " + json_text(schema) + " " +
               literal("}" + std::string(w.call_end));
      }
      case Body::kNamed:
        return literal(std::string(call_begin()) + name + std::string(w.after_name)) + id + " " + literal(w.after_id) +
               " %json " + json_text(schema) + " " + literal(w.call_end);
      case Body::kTags:
        return literal(std::string(call_begin()) + name + std::string(w.after_name)) + " " + tags(name, schema) + " " +
               literal(std::string(format_.tags_end) + std::string(w.call_end));
      case Body::kLoose:
        break;
    }
    const bool python = format_.string_mark.empty();
    return literal(std::string(call_begin()) + name + (python ? "(" : "{")) + " " +
           entries(schema, schema, python ? "=" : ":", 0) + " " +
           literal((python ? ")" : "}") + std::string(w.call_end));
  }

  static bool is_required(const Json& schema, const std::string& key) {
    auto required = schema.find("required");
    if (required == schema.end() || !required->is_array()) return false;
    return std::ranges::any_of(*required, [&](const Json& one) { return one.is_string() && one == key; });
  }

  static const Json& properties(const Json& schema) {
    static const Json none = Json::object();
    auto found = schema.find("properties");
    return found != schema.end() && found->is_object() ? *found : none;
  }

  // A property's schema on its own: what it may refer to comes along.
  static Json alone(const Json& property, const Json& root) {
    Json schema = property;
    if (!schema.is_object()) return schema;
    for (const char* key : {"$defs", "definitions"}) {
      if (auto found = root.find(key); found != root.end()) schema[key] = *found;
    }
    return schema;
  }

  std::string tags(const std::string& tool, const Json& schema) {
    std::string out;
    for (const auto& [key, property] : properties(schema).items()) {
      const std::string one = tag(types_->kind(tool, key), key, property, schema);
      out += (out.empty() ? "" : " ") + (is_required(schema, key) ? one : "(" + one + ")?");
    }
    return out;
  }

  std::string tag(ArgumentKind kind, const std::string& key, const Json& property, const Json& root) {
    const bool text = kind == ArgumentKind::kString || kind == ArgumentKind::kNullableString;
    std::string begin = std::string(format_.key_open) + key + std::string(format_.key_end);
    if (format_.says_kind) begin += text ? " string=\"true\">" : " string=\"false\">";
    if (!format_.value_open.empty()) begin += "\n" + std::string(format_.value_open);
    const std::string_view line = format_.trims_newline ? "\n" : "";
    const std::string close = std::string(line) + std::string(format_.value_close);
    begin += line;
    std::string value;
    if (const auto choices = strings(property); text && !choices.empty()) {
      value = alternatives(choices) + " " + literal(close);
    } else if (text) {
      value = bare_until(close);
    } else {
      value = "%json " + json_text(alone(property, root)) + " " + literal(close);
    }
    return rule("argument", literal(begin) + " " + value + " " + literal("\n"));
  }

  // The strings that enum or const leave.
  static std::vector<std::string> strings(const Json& schema) {
    std::vector<std::string> all;
    if (!schema.is_object()) return all;
    auto note = [&](const Json& value) {
      if (value.is_string()) all.push_back(value.get<std::string>());
    };
    if (auto values = schema.find("enum"); values != schema.end() && values->is_array()) {
      for (const Json& value : *values) note(value);
    }
    if (auto value = schema.find("const"); value != schema.end()) note(*value);
    return all;
  }

  static std::string alternatives(const std::vector<std::string>& texts) {
    std::string out;
    for (const std::string& text : texts) out += (out.empty() ? "" : " | ") + json_string(text);
    return "(" + out + ")";
  }

  // Any text up to `close`, and `close`. Special tokens are no part of a text, so that they end it; other markers end
  // it where they first stand.
  std::string bare_until(std::string_view close) {
    size_t length = 0;
    const size_t at = find_special(close, &length);
    if (at == std::string_view::npos) {
      return rule("text[suffix=" + json_string(close) + "]", "/(.|\\n)*/");
    }
    return "/(.|\\n)*" + regex_escaped(close.substr(0, at)) + "/ " + literal(close.substr(at));
  }

  // Properties as KEY<key_end>VALUE, separated by commas.
  std::string entries(const Json& schema, const Json& root, const std::string& key_end, int depth) {
    struct Entry {
      std::string text;
      bool required;
    };
    std::vector<Entry> all;
    for (const auto& [key, property] : properties(schema).items()) {
      all.push_back({literal(key + key_end) + " " + value(property, root, depth), is_required(schema, key)});
    }
    const std::string comma = format_.string_mark.empty() ? "\", \"" : "\",\"";
    // From the last to the first: what may follow when something stands before, and when nothing does.
    std::string after = "\"\"", first = "\"\"";
    for (auto entry = all.rbegin(); entry != all.rend(); ++entry) {
      const std::string one = rule("entry", entry->text);
      const std::string begun = one + " " + after;
      first = rule("first", entry->required ? begun : begun + " | " + first);
      after = rule("after", entry->required ? comma + " " + begun : "(" + comma + " " + one + ")? " + after);
    }
    return first;
  }

  std::string value(const Json& schema, const Json& root, int depth) {
    const Json* type = schema.is_object() && schema.contains("type") ? &schema["type"] : nullptr;
    auto is = [&](std::string_view name) { return type != nullptr && type->is_string() && *type == name; };
    if (is("boolean")) return format_.string_mark.empty() ? "(\"True\" | \"False\")" : "(\"true\" | \"false\")";
    if (format_.string_mark.empty() || is("integer") || is("number") || is("null")) {
      return "%json " + json_text(alone(schema, root));
    }
    const auto choices = strings(schema);
    if (!choices.empty()) {
      std::string all;
      for (const std::string& choice : choices) {
        all += (all.empty() ? "" : " | ") + literal(format_.string_mark) + " " + json_string(choice) + " " +
               literal(format_.string_mark);
      }
      return "(" + all + ")";
    }
    if (is("string")) return loose_string();
    if (depth < kMostDepth && is("array") && schema.contains("items")) {
      const std::string item = rule("item", value(schema["items"], root, depth + 1));
      return "\"[\" (" + item + " (\",\" " + item + ")*)? \"]\"";
    }
    if (depth < kMostDepth && is("object") && !properties(schema).empty()) {
      return "\"{\" " + entries(schema, root, ":", depth + 1) + " \"}\"";
    }
    return any_loose();
  }

  std::string loose_string() { return literal(format_.string_mark) + " " + bare_until(format_.string_mark); }

  std::string any_loose() {
    if (!any_loose_) {
      any_loose_ = true;
      rules_ += "any_value: " + loose_string() +
                " | %json {\"type\": [\"number\", \"boolean\", \"null\"]}"
                " | \"[\" (any_value (\",\" any_value)*)? \"]\" | \"{\" (any_entry (\",\" any_entry)*)? \"}\"\n"
                "any_entry: /[A-Za-z_][A-Za-z0-9_]*/ \":\" any_value\n";
    }
    return "any_value";
  }

  // Where the first special token stands in a text.
  size_t find_special(std::string_view text, size_t* length) const {
    for (size_t at = 0; at < text.size(); ++at) {
      for (size_t n = text.size() - at; n > 1; --n) {
        const auto id = tokenizer_.id_of(text.substr(at, n));
        if (!id || !tokenizer_.is_special(*id)) continue;
        *length = n;
        return at;
      }
    }
    return std::string_view::npos;
  }

  // A text as it is, its special tokens as tokens.
  std::string literal(std::string_view text) const {
    std::string out;
    while (!text.empty()) {
      size_t length = 0;
      const size_t at = find_special(text, &length);
      const std::string_view plain = text.substr(0, at);
      if (!plain.empty()) out += (out.empty() ? "" : " ") + json_string(plain);
      if (at == std::string_view::npos) break;
      out += (out.empty() ? "<[" : " <[") + std::to_string(*tokenizer_.id_of(text.substr(at, length))) + "]>";
      text.remove_prefix(at + length);
    }
    return out;
  }

  // A new rule; gives its name.
  std::string rule(std::string_view name, const std::string& body) {
    const size_t options = std::min(name.find('['), name.size());
    const std::string unique = std::string(name.substr(0, options)) + "_" + std::to_string(count_++);
    rules_ += unique + std::string(name.substr(options)) + ": " + body + "\n";
    return unique;
  }

  const ToolCallFormat& format_;
  const Tokenizer& tokenizer_;
  const ToolTypes* types_ = nullptr;
  std::string rules_;
  int count_ = 0;
  bool any_loose_ = false;
};

}  // namespace

Result<std::string> tool_call_grammar(const ToolCallFormat& format, const std::vector<Tool>& tools,
                                      const Tokenizer& tokenizer, const ToolGrammarOptions& options) {
  if (tools.empty()) return Error{ErrorCode::kInvalid, "a tool call is required, but there are no tools"};
  return GrammarWriter(format, tokenizer).write(tools, options);
}

}  // namespace kinglet
