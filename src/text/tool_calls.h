// Tool calls: the way in which a model family writes that a tool is to be called, found while the text streams,
// whatever the pieces it comes in. Works on text, never on tokens, behind the ReasoningSplitter where a model thinks.
// What the calls mean and what their results look like is the chat template's and the caller's business.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace kinglet {

// How a family writes calls: a row of the table in tool_call_formats.cc. Every format is a row of calls between
// `section_open` and `section_close`, each between a `call_open` and a `call_close`; what a family doesn't have is
// empty. White space around markers has no meaning. The views point to constants.
struct ToolCallFormat {
  enum class Body {
    kJson,   // {"name": "f", "arguments": {…}}, also rows and arrays of them
    kNamed,  // a head that has the name, then {…}
    kTags,   // a tag for each argument
    kLoose,  // f(a=1, b="x") of Python, and Gemma's f{a:1,b:<|"|>x<|"|>}
  };
  // What stands before the arguments of kNamed.
  enum class Head {
    kName,       // NAME
    kAfterMark,  // KIND<mark>NAME
    kIdMark,     // ID<mark>NAME
    kMarkId,     // NAME, perhaps <mark>ID
    kIndexed,    // functions.NAME:INDEX, which is the id as well
    kRecipient,  // Harmony's header: … to=functions.NAME …
  };
  // What ids of calls have to look like, because the template writes them into the next prompt.
  enum class Ids {
    kAny,
    kNineCharacters,  // [a-zA-Z0-9]{9}; Mistral's templates refuse others
    kFromText,        // ToolCallPiece::id has it
  };

  std::string_view name;  // "hermes": for logs and documents
  Body body = Body::kJson;
  Ids ids = Ids::kAny;
  // A row of calls may begin at the very start of the answer without a marker. Only calls of known tools count there.
  bool at_start = false;
  bool parallel = true;  // the template takes more than one call a turn
  std::vector<std::string_view> section_open = {}, call_open = {}, call_close = {};
  std::string_view section_close = {};

  // kJson
  std::string_view name_key = "name", arguments_key = "arguments";
  // kNamed: the head ends with `arguments_open`.
  Head head = Head::kName;
  std::string_view mark = {}, arguments_open = {};
  // kTags: NAME name_end (key_open KEY key_end value_open VALUE value_close)* tags_end. An empty name_end: the name
  // ends at white space or a tag. With `says_kind`, ` string="true"` or "false" and `">` stand behind key_end.
  std::string_view name_end = {}, key_open = {}, key_end = {}, value_open = {}, value_close = {}, tags_end = {};
  bool trims_newline = false;  // one line break after value_open and one before value_close are not the value's
  bool says_kind = false;
  // kLoose: what encloses strings; empty: Python's syntax.
  std::string_view string_mark = {};

  // As the family's template writes it, for grammars: begin, calls with `between` in the middle, end. A call is
  // call_begin NAME after_name [id] after_id ARGUMENTS call_end.
  struct Written {
    std::string_view begin = {}, call_begin = {}, after_name = {}, id_regex = {}, after_id = {}, call_end = {},
                     between = {}, end = {};
  };
  Written written = {};

  // Whether a special token of this spelling is a part of calls.
  bool mention(std::string_view special_token) const;
};

// The format that a model's template speaks of, absent when it speaks of none.
std::optional<ToolCallFormat> find_tool_call_format(std::string_view template_source);
// The special tokens of a vocabulary that are a part of calls: their text must reach the parser
// (Request::visible_special).
std::vector<int32_t> visible_special_tokens(const ToolCallFormat& format, const Tokenizer& tokenizer);
// All of them, for tests.
const std::vector<ToolCallFormat>& tool_call_formats();

// What the model may call.
struct Tool {
  std::string name;
  std::string parameters;  // a JSON schema's text; empty or no schema: nothing is known of the arguments
};

struct ToolCallPiece {
  enum class Kind {
    kText,       // `text` is for the user
    kBegin,      // call number `call` begins; `text` is the tool's name, `id` set if the format has ids
    kArguments,  // `text` continues the arguments, which are one JSON object in the end
    kEnd,        // the call is complete
    kBroken,     // the call turned out to be none: forget it. All its text follows as kText
  };
  Kind kind = Kind::kText;
  int64_t call = -1;  // counted from 0, broken ones included
  std::string text = {}, id = {};
  bool operator==(const ToolCallPiece&) const = default;
};

class CallReader;
class ToolTypes;

class ToolCallParser {
 public:
  ToolCallParser(ToolCallFormat format, const std::vector<Tool>& tools);
  ~ToolCallParser();
  ToolCallParser(ToolCallParser&&) noexcept;
  ToolCallParser& operator=(ToolCallParser&&) noexcept;

  // What became certain with `text`, neighbours of one kind put together. Any split of the text gives the same, but for
  // where pieces are cut. White space next to calls is dropped; what is no call comes back whole. Pieces are UTF-8
  // where `text` is.
  std::vector<ToolCallPiece> push(std::string_view text);
  // What was held back. A call that has not ended is broken, a marker cut behind a complete call is dropped.
  std::vector<ToolCallPiece> finish();

  int64_t calls() const { return begun_; }  // begun so far, broken ones included

 private:
  enum class State { kText, kBetween, kCall };
  class Sink;
  void take(char c);
  void drain();
  void take_text(char c);
  bool begins_unmarked(char c) const;
  bool match_opening(std::string_view rest, bool* wait);
  void take_between(char c);
  bool skip_separators();
  bool begin_bare_call(char c);
  bool match_between(bool* wait);
  void begin_section(bool known_only);
  void begin_call(std::string_view marker, ToolCallFormat::Body body);
  void take_call(char c);
  void take_call_byte(char c);
  void end_section();
  void give_back();
  void put_text(std::string_view text);
  void put(ToolCallPiece piece);

  std::shared_ptr<const ToolCallFormat> format_;
  std::shared_ptr<const ToolTypes> types_;
  std::vector<std::string_view> openings_;
  State state_ = State::kText;
  std::string raw_;      // not handed on yet: undecided text, or what may turn out to be no call
  std::string between_;  // the end of raw_ that is not understood yet, in kBetween
  std::string replay_;   // of what was no call, to be read again as text
  size_t replayed_ = 0;
  bool at_start_ = true;      // nothing but white space so far
  bool known_only_ = false;   // the row of calls has no marker
  bool some_call_ = false;    // in this section
  bool bracket_ = false;      // of an array of calls, open
  bool opened_ = false;       // raw_ begins a section or a call
  bool after_calls_ = false;  // nothing but white space since a section
  bool begun_here_ = false;   // kBegin is out for the call that is read
  int64_t begun_ = 0;
  std::unique_ptr<CallReader> reader_;
  std::vector<ToolCallPiece> out_;
};

struct ToolCall {
  std::string id, name, arguments;
  bool operator==(const ToolCall&) const = default;
};

// A whole answer: broken calls are a part of the text.
struct ParsedAnswer {
  std::string text;
  std::vector<ToolCall> calls;
};

// Puts pieces together.
class ToolCallCollector {
 public:
  void add(const std::vector<ToolCallPiece>& pieces);
  ParsedAnswer take() { return std::move(answer_); }

 private:
  ParsedAnswer answer_;
};

}  // namespace kinglet
