// Calls in a syntax of values that is nearly JSON: Python's f(a=1, b='x', c=[True, None]), and Gemma's
// f{a:1,b:<|"|>x<|"|>}. Turned into JSON as it comes.
#include <utility>

#include "text/json_scanner.h"
#include "text/tool_call_readers.h"

namespace kinglet {
namespace {

constexpr size_t kMostWordBytes = 512;  // a number, True, a bare key

bool is_name_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.' || static_cast<unsigned char>(c) >= 0x80;
}

class LooseReader : public CallReader {
 public:
  explicit LooseReader(const ReaderContext& context)
      : context_(context), mark_(context.format->string_mark), python_(mark_.empty()) {}

  CallStep put(char c, CallSink& sink) override {
    if (state_ == State::kName) return put_name(c, sink);
    json_.clear();
    const bool good = step(c);
    if (!json_.empty()) sink.arguments(json_);
    if (!good) return CallStep::kBad;
    return open_.empty() ? CallStep::kDone : CallStep::kMore;
  }

 private:
  enum class State {
    kName,
    kEntry,  // a key or an item, or the end
    kBareKey,
    kKeyEnd,  // '=' or ':'
    kValue,
    kMark,  // of a string, perhaps
    kString,
    kEscape,
    kCode,  // the digits of \x, \u and octal escapes
    kWord,
    kAfter,
  };
  struct Level {
    char end;           // ')', '}' or ']'
    char key_end;       // '\0': a list
    bool bare_keys;     // else they are strings
    bool some = false;  // it has an entry
  };

  CallStep put_name(char c, CallSink& sink) {
    if (is_name_byte(c)) {
      word_ += c;
      return word_.size() <= kMostNameBytes ? CallStep::kMore : CallStep::kBad;
    }
    if (c != (python_ ? '(' : '{') || !is_tool_name(word_)) return CallStep::kBad;
    if (context_.known_only && !context_.types->knows(word_)) return CallStep::kBad;
    sink.begin(std::move(word_), "");
    sink.arguments("{");
    word_.clear();
    open_.push_back(python_ ? Level{')', '=', true} : Level{'}', ':', true});
    state_ = State::kEntry;
    return CallStep::kMore;
  }

  bool step(char c) {
    switch (state_) {
      case State::kMark:
        return put_mark(c);
      case State::kString:
        return put_string(c);
      case State::kEscape:
        return put_escape(c);
      case State::kCode:
        return put_code(c);
      case State::kWord:
        if (is_name_byte(c) || c == '+') return put_word(c);
        if (!end_word()) return false;
        break;
      case State::kBareKey:
        if (is_name_byte(c)) return put_word(c);
        end_bare_key();
        break;
      default:
        break;
    }
    if (is_space(c)) return true;
    if (state_ == State::kKeyEnd) {
      if (c != open_.back().key_end) return false;
      json_ += ": ";
      state_ = State::kValue;
      return true;
    }
    if (state_ == State::kAfter) {
      if (c != ',') return close(c);
      state_ = State::kEntry;
      return true;
    }
    if (state_ == State::kEntry) {
      if (c == open_.back().end) return close(c);
      if (std::exchange(open_.back().some, true)) json_ += ", ";
      if (open_.back().key_end != '\0') return begin_key(c);
    }
    return begin_value(c);
  }

  bool put_word(char c) {
    word_ += c;
    return word_.size() <= kMostWordBytes;
  }

  bool begin_key(char c) {
    key_ = true;
    if (begins_string(c)) return begin_string(c);
    if (!open_.back().bare_keys || !is_name_byte(c)) return false;
    state_ = State::kBareKey;
    return put_word(c);
  }

  void end_bare_key() {
    json_ += '"';
    append_json_escaped(word_, &json_);
    json_ += '"';
    word_.clear();
    state_ = State::kKeyEnd;
  }

  bool begin_value(char c) {
    key_ = false;
    if (begins_string(c)) return begin_string(c);
    if (c == '{') return open({'}', ':', !python_}, '{');
    if (c == '[') return open({']', '\0', false}, '[');
    if (c == '(' && python_) return open({')', '\0', false}, '[');  // a tuple
    if (!is_name_byte(c)) return false;
    state_ = State::kWord;
    return put_word(c);
  }

  bool open(Level level, char json) {
    if (open_.size() >= JsonScanner::kMostDepth) return false;
    open_.push_back(level);
    json_ += json;
    state_ = State::kEntry;
    return true;
  }

  bool close(char c) {
    if (c != open_.back().end) return false;
    json_ += open_.back().key_end == '\0' ? ']' : '}';
    open_.pop_back();
    state_ = State::kAfter;
    return true;
  }

  bool end_word() {
    const std::string word = std::exchange(word_, {});
    state_ = State::kAfter;
    if (word == "True" || word == "true") {
      json_ += "true";
    } else if (word == "False" || word == "false") {
      json_ += "false";
    } else if (word == "None" || word == "null") {
      json_ += "null";
    } else if (is_json_number(word)) {
      json_ += word;
    } else {
      return false;
    }
    return true;
  }

  bool begins_string(char c) const { return c == '"' || (python_ ? c == '\'' : c == mark_.front()); }

  bool begin_string(char c) {
    quote_ = c;
    text_.clear();
    if (c != '"' && !python_) {
      text_ = c;
      state_ = State::kMark;
      return true;
    }
    json_ += '"';
    state_ = State::kString;
    return true;
  }

  bool put_mark(char c) {
    text_ += c;
    if (text_ != mark_) return mark_.starts_with(text_);
    text_.clear();
    json_ += '"';
    state_ = State::kString;
    return true;
  }

  // Between quotes a backslash escapes, between Gemma's marks nothing does.
  bool put_string(char c) {
    if (quote_ == '"' || python_) {
      if (c == quote_) return end_string();
      if (c == '\\') {
        state_ = State::kEscape;
      } else {
        append_json_escaped({&c, 1}, &json_);
      }
      return true;
    }
    text_ += c;
    if (text_.ends_with(mark_)) {
      append_json_escaped(std::string_view(text_).substr(0, text_.size() - mark_.size()), &json_);
      return end_string();
    }
    const size_t certain = text_.size() - partial_marker(text_, mark_);
    append_json_escaped(std::string_view(text_).substr(0, certain), &json_);
    text_.erase(0, certain);
    return true;
  }

  bool end_string() {
    json_ += '"';
    state_ = key_ ? State::kKeyEnd : State::kAfter;
    return true;
  }

  bool put_escape(char c) {
    state_ = State::kString;
    if (std::string_view("nrtbf\"\\/").find(c) != std::string_view::npos) {  // the same in JSON
      json_ += '\\';
      json_ += c;
      return true;
    }
    if (c == '\n') return true;  // a line that goes on
    if (c == '\'') {
      json_ += c;
      return true;
    }
    if (c == 'a' || c == 'v' || c == '0') {
      json_ += c == 'a' ? "\\u0007" : c == 'v' ? "\\u000b" : "\\u0000";
      return true;
    }
    if (c == 'x' || c == 'u' || c == 'U') {
      code_left_ = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      code_ = 0;
      state_ = State::kCode;
      return true;
    }
    append_json_escaped("\\", &json_);  // as in Python, the backslash stays
    append_json_escaped({&c, 1}, &json_);
    return true;
  }

  bool put_code(char c) {
    const int digit = hex_digit(c);
    if (digit < 0) return false;
    code_ = code_ * 16 + static_cast<uint32_t>(digit);
    if (--code_left_ > 0) return true;
    state_ = State::kString;
    if (code_ > 0x10ffff) return false;
    if (code_ > 0xffff) {
      append_unit(0xd800 + ((code_ - 0x10000) >> 10));
      append_unit(0xdc00 + ((code_ - 0x10000) & 0x3ff));
    } else {
      append_unit(code_);
    }
    return true;
  }

  static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  }

  void append_unit(uint32_t unit) {
    static constexpr char kDigits[] = "0123456789abcdef";
    json_ += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) json_ += kDigits[(unit >> shift) & 15];
  }

  ReaderContext context_;
  std::string_view mark_;
  bool python_;
  State state_ = State::kName;
  std::vector<Level> open_;
  std::string json_;  // of this byte
  std::string word_, text_;
  char quote_ = '\0';
  bool key_ = false;
  int code_left_ = 0;
  uint32_t code_ = 0;
};

}  // namespace

std::unique_ptr<CallReader> make_loose_reader(const ReaderContext& context) {
  return std::make_unique<LooseReader>(context);
}

}  // namespace kinglet
