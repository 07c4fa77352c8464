// JsonScanner: says byte by byte whether a text is JSON and where its value ends. Not a parser: nothing is kept but the
// open brackets. Internal to text/.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kinglet {

// `text` as the inside of a JSON string: quotes, backslashes and control characters escaped.
void append_json_escaped(std::string_view text, std::string* out);
bool is_json_number(std::string_view text);

class JsonScanner {
 public:
  static constexpr size_t kMostDepth = 64;

  // Takes one byte and appends the JSON text it stands for: itself, except that control characters inside strings,
  // which models write and JSON forbids, come out escaped. False, for good: not JSON, or nested too deeply. White space
  // before the value counts as a part of it.
  bool put(char c, std::string* out);
  // Whether the value is complete. A number at the top has no end and is refused.
  bool done() const { return state_ == State::kDone; }

  size_t depth() const { return open_.size(); }
  // Whether the last byte was inside a key, or inside a value, of the outermost object: its last byte is not.
  bool inside_key() const { return depth() == 1 && in_string() && key_; }
  bool inside_value() const { return depth() > 1 || (depth() == 1 && ((in_string() && !key_) || in_word())); }
  bool inside_number() const { return state_ >= State::kMinus && state_ <= State::kExpDigits; }

 private:
  enum class State {
    kValue,
    kFirstItem,  // or ]
    kFirstKey,   // or }
    kKey,
    kColon,
    kAfter,  // a value: a comma or a bracket follows
    kString,
    kEscape,
    kHex,
    kLiteral,
    kMinus,
    kZero,
    kInteger,
    kPoint,
    kFraction,
    kExp,
    kExpSign,
    kExpDigits,
    kDone,
    kBad,
  };
  bool in_string() const { return state_ == State::kString || state_ == State::kEscape || state_ == State::kHex; }
  bool in_word() const { return state_ == State::kLiteral || inside_number(); }
  State step(char c, std::string* out);
  State step_string(char c, std::string* out);
  State step_number(char c);
  State begin_value(char c);
  State begin_number(char c) const;
  State open(char bracket);
  State close(char bracket);
  State value_over() const;
  bool number_may_end() const;

  State state_ = State::kValue;
  std::string open_;  // '{' and '['
  bool key_ = false;  // the string is a key
  int hex_left_ = 0;
  std::string_view literal_left_;
};

}  // namespace kinglet
