// The syntax of the configuration file.
#include <fmt/format.h>

#include <algorithm>

#include "base/quote.h"
#include "cli/config_file.h"

namespace kinglet::cli {
namespace {

constexpr std::string_view kBlanks = " \t\r";

std::string trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1));
}

class Parser {
 public:
  Parser(std::string_view text, const std::string& source) : text_(text), source_(source) {
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;  // some editors begin UTF-8 files so
  }

  Result<std::vector<ConfigEntry>> parse() {
    std::vector<std::string> section;
    for (; at_ < text_.size(); next_line()) {
      skip_blanks();
      if (peek() == '[') {
        KL_TRY(section, read_section());
      } else if (!at_end_of_line() && peek() != ';') {
        KL_RETURN_IF_ERROR(read_entry(section));
      }
      if (peek() == ';') continue;  // a comment as INI files have it
      KL_RETURN_IF_ERROR(expect_end_of_line());
    }
    return std::move(entries_);
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\n'; }
  bool at_end_of_line() const { return peek() == '\n' || peek() == '#'; }
  void skip_blanks() {
    while (at_ < text_.size() && kBlanks.find(text_[at_]) != std::string_view::npos) at_++;
  }
  void next_line() {
    at_ = std::min(text_.find('\n', at_), text_.size() - 1) + 1;
    line_++;
  }
  std::string take_until(std::string_view ends) {
    const size_t begin = at_;
    at_ = std::min(text_.find_first_of(ends, at_), text_.size());
    return trimmed(text_.substr(begin, at_ - begin));
  }
  Error wrong(int line, const std::string& what) const {
    return {ErrorCode::kInvalid, fmt::format("{}, line {}: {}", source_, line, what)};
  }
  Status expect_end_of_line() {
    skip_blanks();
    if (at_end_of_line()) return {};
    return wrong(line_, "found " + quote(take_until("\n")) + " behind the value, expected the end of the line");
  }

  Result<std::vector<std::string>> read_section() {
    at_++;
    const std::string name = take_until("]\n");
    if (peek() != ']') return wrong(line_, "found " + quote("[" + name) + ", expected a section such as [run]");
    at_++;
    std::vector<std::string> section;
    KL_RETURN_IF_ERROR(split_name(name, section));
    if (section.size() == 1 && section[0] == "default") section.clear();
    return section;
  }

  Status read_entry(const std::vector<std::string>& section) {
    ConfigEntry entry{section, {}, line_};
    KL_RETURN_IF_ERROR(split_name(take_until("=#\n"), entry.path));
    if (peek() == '=') {
      at_++;
      skip_blanks();
      KL_RETURN_IF_ERROR(peek() == '[' ? read_list(entry) : read_value("#\n", entry));
    } else {
      entry.values = {"true"};
    }
    for (const ConfigEntry& older : entries_)
      if (older.path == entry.path)
        return wrong(entry.line,
                     quote(entry.path.back()) + " was given on line " + std::to_string(older.line) + " already");
    entries_.push_back(std::move(entry));
    return {};
  }

  // "preset.save" to its parts, each possibly in quotes.
  Status split_name(std::string_view name, std::vector<std::string>& parts) const {
    for (size_t begin = 0; begin <= name.size();) {
      const size_t dot = std::min(name.find('.', begin), name.size());
      std::string part = trimmed(name.substr(begin, dot - begin));
      if (part.size() >= 2 && part.front() == part.back() && (part.front() == '"' || part.front() == '\''))
        part = part.substr(1, part.size() - 2);
      if (part.empty()) return wrong(line_, "found " + quote(name) + ", expected a name");
      parts.push_back(std::move(part));
      begin = dot + 1;
    }
    return {};
  }

  Status read_list(ConfigEntry& entry) {
    at_++;
    for (;;) {
      skip_blanks();
      if (at_ >= text_.size()) return wrong(entry.line, "the list of " + quote(entry.path.back()) + " has no end: ]");
      if (peek() == ']') break;
      if (at_end_of_line()) {
        next_line();
        continue;
      }
      KL_RETURN_IF_ERROR(read_value(",]#\n", entry));
      skip_blanks();
      if (peek() == ',')
        at_++;
      else if (peek() != ']' && !at_end_of_line())
        return wrong(line_, "found " + quote(take_until("\n")) + " in a list, expected , or ]");
    }
    at_++;
    return {};
  }

  Status read_value(std::string_view ends, ConfigEntry& entry) {
    std::string value;
    if (peek() == '"') {
      KL_TRY(value, read_quoted());
    } else if (peek() == '\'') {
      at_++;
      const size_t end = text_.find_first_of("'\n", at_);
      if (end == std::string_view::npos || text_[end] == '\n') return wrong(line_, "a text has no end: '");
      value = text_.substr(at_, end - at_);
      at_ = end + 1;
    } else {
      value = take_until(ends);
      if (value.empty()) return wrong(line_, quote(entry.path.back()) + " has no value");
    }
    entry.values.push_back(std::move(value));
    return {};
  }

  Result<std::string> read_quoted() {
    constexpr std::string_view kNames = "\"\\ntr", kMeanings = "\"\\\n\t\r";
    std::string value;
    for (at_++; peek() != '"'; at_++) {
      if (peek() == '\n') return wrong(line_, "a text has no end: \"");
      if (peek() != '\\') {
        value += peek();
        continue;
      }
      at_++;
      const size_t name = kNames.find(peek());
      if (name == std::string_view::npos)
        return wrong(line_, "found " + quote(std::string("\\") + peek()) +
                                R"( in a text, expected \", \\, \n, \t or \r; in '...' they are plain text)");
      value += kMeanings[name];
    }
    at_++;
    return value;
  }

  std::string_view text_;
  const std::string& source_;
  size_t at_ = 0;
  int line_ = 1;
  std::vector<ConfigEntry> entries_;
};

}  // namespace

Result<std::vector<ConfigEntry>> parse_config(std::string_view text, const std::string& source) {
  return Parser(text, source).parse();
}

}  // namespace kinglet::cli
