// Calls whose arguments are JSON already: {"name": "f", "arguments": {…}}, and a head followed by {…}.
#include <algorithm>
#include <array>

#include "text/json_scanner.h"
#include "text/tool_call_readers.h"

namespace kinglet {
namespace {

// An object with name and arguments, in any order. Arguments stream as soon as the name is known; until then, and where
// they are JSON inside a string, they wait.
class JsonCallReader : public CallReader {
 public:
  explicit JsonCallReader(const ReaderContext& context) : context_(context) {}

  CallStep put(char c, CallSink& sink) override {
    const bool key_before = scanner_.inside_key(), value_before = scanner_.inside_value();
    const bool number_before = scanner_.inside_number() && scanner_.depth() == 1;
    std::string text;
    if (!scanner_.put(c, &text)) return CallStep::kBad;
    if (scanner_.inside_key() || key_before) {
      key_ += text;
      if (!scanner_.inside_key() && !note_key()) return CallStep::kBad;
    }
    const bool value_now = scanner_.inside_value();
    const bool number_over = number_before && !scanner_.inside_number();  // by a byte that is not its own
    if (value_now || (value_before && !number_over)) {
      if (!take_value(text, c, sink)) return CallStep::kBad;
    }
    if (value_before && !value_now && !end_value()) return CallStep::kBad;
    if (!scanner_.done()) return CallStep::kMore;
    return finish(sink) ? CallStep::kDone : CallStep::kBad;
  }

 private:
  enum class Field { kOther, kName, kArguments };

  bool note_key() {
    static constexpr std::array kHarmless{"\"type\"", "\"id\"", "\"index\"", "\"tool_call_id\""};
    const std::string_view key = std::string_view(key_).substr(1, key_.size() - 2);
    auto is = [&](std::string_view one, std::string_view other) { return key == one || key == other; };
    field_ = Field::kOther;
    if (is(context_.format->name_key, "name")) {
      if (begun_) return false;
      field_ = Field::kName;
    } else if (is(context_.format->arguments_key, "arguments") || key == "parameters") {
      if (arguments_seen_) return false;
      field_ = Field::kArguments;
      arguments_seen_ = true;
    } else if (context_.known_only && std::ranges::find(kHarmless, key_) == kHarmless.end()) {
      return false;  // some other JSON: an answer, not a call
    }
    key_.clear();
    value_.clear();
    first_ = '\0';
    return true;
  }

  bool take_value(const std::string& text, char c, CallSink& sink) {
    if (first_ == '\0') {
      first_ = c;
      const bool object = field_ == Field::kArguments && c == '{';
      if (field_ == Field::kName && c != '"') return false;
      if (field_ == Field::kArguments && !object && c != '"' && c != 'n') return false;
      if (object && !name_.empty()) begin(sink);
    }
    if (field_ == Field::kOther) return true;
    if (field_ == Field::kArguments && begun_) {
      sink.arguments(text);
    } else {
      value_ += text;
    }
    return field_ != Field::kName || value_.size() <= 2 * kMostNameBytes;
  }

  bool end_value() {
    if (field_ == Field::kName) {
      name_ = decode_json_string(value_);
      if (!is_tool_name(name_)) return false;
      if (context_.known_only && !context_.types->knows(name_)) return false;
    } else if (field_ == Field::kArguments && !begun_) {
      arguments_ = std::move(value_);
      if (first_ == '"') {
        auto inner = as_json(decode_json_string(arguments_));
        if (!inner || !inner->starts_with('{')) return false;
        arguments_ = *std::move(inner);
      } else if (first_ == 'n') {
        arguments_ = "{}";
      }
    }
    value_.clear();
    return true;
  }

  bool finish(CallSink& sink) {
    if (begun_) return true;
    if (name_.empty()) return false;
    begin(sink);
    sink.arguments(arguments_.empty() ? "{}" : arguments_);
    return true;
  }

  void begin(CallSink& sink) {
    sink.begin(name_, "");
    begun_ = true;
  }

  ReaderContext context_;
  JsonScanner scanner_;
  Field field_ = Field::kOther;
  bool begun_ = false, arguments_seen_ = false;
  char first_ = '\0';  // of the value
  std::string key_, value_, name_, arguments_;
};

constexpr size_t kMostHeadBytes = 512;

class NamedReader : public CallReader {
 public:
  explicit NamedReader(const ReaderContext& context) : context_(context) {
    if (context.format->head == ToolCallFormat::Head::kRecipient) head_ = context.marker;  // it may be a part of it
  }

  CallStep put(char c, CallSink& sink) override {
    if (in_head_) return put_head(c);
    if (!begun_) {
      if (is_space(c)) return CallStep::kMore;
      if (c != '{') return CallStep::kBad;
      sink.begin(name_, id_);
      begun_ = true;
    }
    std::string text;
    if (!scanner_.put(c, &text)) return CallStep::kBad;
    sink.arguments(text);
    return scanner_.done() ? CallStep::kDone : CallStep::kMore;
  }

 private:
  CallStep put_head(char c) {
    head_ += c;
    if (!head_.ends_with(context_.format->arguments_open)) {
      return head_.size() > kMostHeadBytes ? CallStep::kBad : CallStep::kMore;
    }
    in_head_ = false;
    std::string_view head(head_);
    head.remove_suffix(context_.format->arguments_open.size());
    read_head(head);
    return is_tool_name(name_) ? CallStep::kMore : CallStep::kBad;
  }

  void read_head(std::string_view head) {
    const std::string_view mark = context_.format->mark;
    const size_t at = mark.empty() ? std::string_view::npos : head.find(mark);
    auto before = [&] { return at == std::string_view::npos ? std::string_view() : trimmed(head.substr(0, at)); };
    auto behind = [&] {
      return at == std::string_view::npos ? std::string_view() : trimmed(head.substr(at + mark.size()));
    };
    using Head = ToolCallFormat::Head;
    switch (context_.format->head) {
      case Head::kName:
        name_ = trimmed(head);
        break;
      case Head::kAfterMark:
        name_ = behind();
        break;
      case Head::kIdMark:
        name_ = behind();
        id_ = before();
        break;
      case Head::kMarkId:
        name_ = at == std::string_view::npos ? trimmed(head) : before();
        id_ = behind();
        break;
      case Head::kIndexed:
        read_indexed(trimmed(head));
        break;
      case Head::kRecipient:
        read_recipient(behind());
        break;
    }
    if (id_.size() > kMostNameBytes) name_.clear();
  }

  // functions.NAME:INDEX
  void read_indexed(std::string_view head) {
    id_ = head;
    constexpr std::string_view kNamespace = "functions.";
    if (head.starts_with(kNamespace)) head.remove_prefix(kNamespace.size());
    const size_t colon = head.rfind(':');
    name_ = head.substr(0, colon);
  }

  // functions.NAME; other recipients (python, browser.search) are not the caller's tools.
  void read_recipient(std::string_view recipient) {
    constexpr std::string_view kNamespace = "functions.";
    if (!recipient.starts_with(kNamespace)) return;
    recipient.remove_prefix(kNamespace.size());
    name_ = recipient.substr(0, recipient.find_first_of(" \t\r\n<"));
  }

  ReaderContext context_;
  std::string head_, name_, id_;
  bool in_head_ = true, begun_ = false;
  JsonScanner scanner_;
};

}  // namespace

std::unique_ptr<CallReader> make_json_reader(const ReaderContext& context) {
  return std::make_unique<JsonCallReader>(context);
}

std::unique_ptr<CallReader> make_named_reader(const ReaderContext& context) {
  return std::make_unique<NamedReader>(context);
}

}  // namespace kinglet
