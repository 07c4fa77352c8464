#include "text/json_scanner.h"

namespace kinglet {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

void append_escaped(char c, std::string* out) {
  static constexpr char kDigits[] = "0123456789abcdef";
  switch (c) {
    case '"':
      *out += "\\\"";
      return;
    case '\\':
      *out += "\\\\";
      return;
    case '\n':
      *out += "\\n";
      return;
    case '\r':
      *out += "\\r";
      return;
    case '\t':
      *out += "\\t";
      return;
    default:
      break;
  }
  const auto byte = static_cast<unsigned char>(c);
  if (byte >= 0x20) {
    out->push_back(c);
    return;
  }
  *out += "\\u00";
  out->push_back(kDigits[byte >> 4]);
  out->push_back(kDigits[byte & 15]);
}

}  // namespace

void append_json_escaped(std::string_view text, std::string* out) {
  for (char c : text) append_escaped(c, out);
}

bool is_json_number(std::string_view text) {
  JsonScanner scanner;
  std::string ignored;
  if (text.empty() || !scanner.put('[', &ignored)) return false;
  for (char c : text) {
    if (!scanner.put(c, &ignored) || !scanner.inside_number()) return false;
  }
  return scanner.put(']', &ignored) && scanner.done();
}

bool JsonScanner::put(char c, std::string* out) {
  if (state_ == State::kDone || state_ == State::kBad) {
    state_ = State::kBad;
    return false;
  }
  const size_t before = out->size();
  state_ = step(c, out);
  if (state_ == State::kBad) {
    out->resize(before);
    return false;
  }
  if (out->size() == before) out->push_back(c);
  return true;
}

// One byte; what is appended replaces the byte.
JsonScanner::State JsonScanner::step(char c, std::string* out) {
  if (in_string()) return step_string(c, out);
  if (inside_number()) {
    const State next = step_number(c);
    if (next != State::kBad || !number_may_end()) return next;
    state_ = State::kAfter;  // this byte comes behind the number
  }
  if (state_ == State::kLiteral) {
    if (c != literal_left_.front()) return State::kBad;
    literal_left_.remove_prefix(1);
    return literal_left_.empty() ? value_over() : State::kLiteral;
  }
  if (is_space(c)) return state_;
  switch (state_) {
    case State::kFirstItem:
      if (c == ']') return close(c);
      return begin_value(c);
    case State::kValue:
      return begin_value(c);
    case State::kFirstKey:
      if (c == '}') return close(c);
      [[fallthrough]];
    case State::kKey:
      key_ = true;
      return c == '"' ? State::kString : State::kBad;
    case State::kColon:
      return c == ':' ? State::kValue : State::kBad;
    case State::kAfter:
      if (c == ',') return open_.back() == '{' ? State::kKey : State::kValue;
      return close(c);
    default:
      return State::kBad;
  }
}

JsonScanner::State JsonScanner::step_string(char c, std::string* out) {
  if (state_ == State::kHex) {
    if (!is_hex(c)) return State::kBad;
    return --hex_left_ == 0 ? State::kString : State::kHex;
  }
  if (state_ == State::kEscape) {
    if (c == 'u') {
      hex_left_ = 4;
      return State::kHex;
    }
    return std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos ? State::kString : State::kBad;
  }
  if (c == '\\') return State::kEscape;
  if (c == '"') return key_ ? State::kColon : value_over();
  if (static_cast<unsigned char>(c) < 0x20) append_escaped(c, out);
  return State::kString;
}

JsonScanner::State JsonScanner::begin_number(char c) const {
  if (open_.empty()) return State::kBad;
  if (c == '-') return State::kMinus;
  if (c == '0') return State::kZero;
  return is_digit(c) ? State::kInteger : State::kBad;
}

bool JsonScanner::number_may_end() const {
  return state_ == State::kZero || state_ == State::kInteger || state_ == State::kFraction ||
         state_ == State::kExpDigits;
}

JsonScanner::State JsonScanner::step_number(char c) {
  const bool exponent = c == 'e' || c == 'E';
  switch (state_) {
    case State::kMinus:
      return c == '0' ? State::kZero : is_digit(c) ? State::kInteger : State::kBad;
    case State::kZero:
    case State::kInteger:
      if (c == '.') return State::kPoint;
      if (exponent) return State::kExp;
      return is_digit(c) && state_ == State::kInteger ? State::kInteger : State::kBad;
    case State::kPoint:
      return is_digit(c) ? State::kFraction : State::kBad;
    case State::kFraction:
      if (exponent) return State::kExp;
      return is_digit(c) ? State::kFraction : State::kBad;
    case State::kExp:
      if (c == '+' || c == '-') return State::kExpSign;
      [[fallthrough]];
    case State::kExpSign:
    case State::kExpDigits:
      return is_digit(c) ? State::kExpDigits : State::kBad;
    default:
      return State::kBad;
  }
}

JsonScanner::State JsonScanner::begin_value(char c) {
  auto literal = [&](std::string_view rest) {
    literal_left_ = rest;
    return open_.empty() ? State::kBad : State::kLiteral;
  };
  switch (c) {
    case '{':
    case '[':
      return open(c);
    case '"':
      key_ = false;
      return State::kString;
    case 't':
      return literal("rue");
    case 'f':
      return literal("alse");
    case 'n':
      return literal("ull");
    default:
      return begin_number(c);
  }
}

JsonScanner::State JsonScanner::open(char bracket) {
  if (open_.size() >= kMostDepth) return State::kBad;
  open_.push_back(bracket);
  return bracket == '{' ? State::kFirstKey : State::kFirstItem;
}

JsonScanner::State JsonScanner::close(char bracket) {
  const char opened = bracket == '}' ? '{' : '[';
  if ((bracket != '}' && bracket != ']') || open_.empty() || open_.back() != opened) return State::kBad;
  open_.pop_back();
  return value_over();
}

JsonScanner::State JsonScanner::value_over() const {
  return open_.empty() ? State::kDone : State::kAfter;
}

}  // namespace kinglet
