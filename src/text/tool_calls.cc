#include "text/tool_calls.h"

#include <algorithm>
#include <utility>

#include "text/tool_call_readers.h"

namespace kinglet {
namespace {

using Body = ToolCallFormat::Body;
using Kind = ToolCallPiece::Kind;

constexpr size_t kMostCallBytes = size_t{8} << 20;  // a longer call is none
// What turned out to be no call is searched for calls that begin inside it, if it is no longer: a bound on how often a
// byte is read.
constexpr size_t kMostReplay = 1024;
constexpr size_t kMostSpace = 4096;  // white space is held back so far, in case that a call follows

std::unique_ptr<CallReader> make_reader(const ReaderContext& context, Body body) {
  switch (body) {
    case Body::kJson:
      return make_json_reader(context);
    case Body::kNamed:
      return make_named_reader(context);
    case Body::kTags:
      return make_tags_reader(context);
    case Body::kLoose:
      return make_loose_reader(context);
  }
  return nullptr;
}

bool begins_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

}  // namespace

class ToolCallParser::Sink : public CallSink {
 public:
  explicit Sink(ToolCallParser* parser) : parser_(parser) {}
  void begin(std::string name, std::string id) override {
    parser_->begun_here_ = true;
    parser_->put({Kind::kBegin, parser_->begun_++, std::move(name), std::move(id)});
  }
  void arguments(std::string_view json) override {
    parser_->put({Kind::kArguments, parser_->begun_ - 1, std::string(json)});
  }

 private:
  ToolCallParser* parser_;
};

ToolCallParser::ToolCallParser(ToolCallFormat format, const std::vector<Tool>& tools)
    : format_(std::make_shared<const ToolCallFormat>(std::move(format))),
      types_(std::make_shared<const ToolTypes>(tools)),
      openings_(format_->section_open) {
  openings_.insert(openings_.end(), format_->call_open.begin(), format_->call_open.end());
}

ToolCallParser::~ToolCallParser() = default;
ToolCallParser::ToolCallParser(ToolCallParser&&) noexcept = default;
ToolCallParser& ToolCallParser::operator=(ToolCallParser&&) noexcept = default;

std::vector<ToolCallPiece> ToolCallParser::push(std::string_view text) {
  for (char c : text) {
    take(c);
    drain();
  }
  return std::exchange(out_, {});
}

std::vector<ToolCallPiece> ToolCallParser::finish() {
  while (state_ == State::kCall || (state_ == State::kBetween && opened_)) {
    give_back();
    drain();
  }
  if (state_ == State::kText) put_text(raw_);
  raw_.clear();
  return std::exchange(out_, {});
}

void ToolCallParser::drain() {
  while (replayed_ < replay_.size()) take(replay_[replayed_++]);
  replay_.clear();
  replayed_ = 0;
}

void ToolCallParser::take(char c) {
  switch (state_) {
    case State::kText:
      return take_text(c);
    case State::kBetween:
      return take_between(c);
    case State::kCall:
      return take_call(c);
  }
}

// Text goes on as soon as it can't be an opening marker, white space as soon as something that is none follows.
void ToolCallParser::take_text(char c) {
  raw_ += c;
  while (!raw_.empty()) {
    const size_t space = std::min(raw_.find_first_not_of(" \t\r\n"), raw_.size());
    const std::string_view rest = std::string_view(raw_).substr(space);
    if (rest.empty() && space < kMostSpace) return;
    if (!rest.empty()) {
      if (at_start_ && begins_unmarked(rest.front())) {
        begin_section(/*known_only=*/true);
        raw_.resize(space);
        return take_between(c);
      }
      bool wait = false;
      if (match_opening(rest, &wait) || wait) return;
      at_start_ = false;
    }
    const size_t certain = std::min(space + 1, raw_.size());
    put_text(std::string_view(raw_).substr(0, certain));
    raw_.erase(0, certain);
  }
}

bool ToolCallParser::begins_unmarked(char c) const {
  return format_->at_start && c == (format_->body == Body::kJson ? '{' : '[');
}

bool ToolCallParser::match_opening(std::string_view rest, bool* wait) {
  for (std::string_view opening : openings_) {
    // Harmony's header may begin in the middle, because the prompt ends inside it.
    if (opening.front() == 't' && !at_start_) continue;
    if (!opening.starts_with(rest)) continue;
    if (opening.size() > rest.size()) {
      *wait = true;
      continue;
    }
    begin_section(/*known_only=*/false);
    const auto& calls = format_->call_open;
    if (std::ranges::find(calls, opening) != calls.end()) begin_call(opening, format_->body);
    return true;
  }
  return false;
}

void ToolCallParser::begin_section(bool known_only) {
  state_ = State::kBetween;
  between_.clear();
  known_only_ = known_only;
  opened_ = true;
  some_call_ = bracket_ = false;
}

void ToolCallParser::begin_call(std::string_view marker, ToolCallFormat::Body body) {
  const ReaderContext context{format_.get(), types_.get(), known_only_, marker};
  reader_ = make_reader(context, body);
  state_ = State::kCall;
  opened_ = true;
}

// Before, between and behind the calls of a section.
void ToolCallParser::take_between(char c) {
  raw_ += c;
  between_ += c;
  if (!skip_separators()) return;
  if (between_.empty()) {
    if (raw_.size() > kMostSpace && !opened_) give_back();
    return;
  }
  if (between_.size() == 1 && begin_bare_call(c)) return take_call_byte(c);
  bool wait = false;
  if (!match_between(&wait) && !wait) give_back();
}

// False when a bracket ended the section.
bool ToolCallParser::skip_separators() {
  if (between_.size() != 1) return true;
  const char c = between_.front();
  const bool array = format_->call_open.empty();
  const bool comma = array && some_call_ && (c == ',' || c == ';');
  const bool open = array && c == '[' && !bracket_ && !some_call_;
  const bool close = c == ']' && bracket_ && some_call_;
  if (!is_space(c) && !comma && !open && !close) return true;
  between_.clear();
  if (open) bracket_ = true;
  if (!close) return true;
  bracket_ = false;
  raw_.clear();
  if (!format_->section_close.empty() && !known_only_) return true;
  end_section();
  return false;
}

// A call without a marker of its own begins with this byte.
bool ToolCallParser::begin_bare_call(char c) {
  if (!format_->call_open.empty()) return false;
  Body body = format_->body;
  if (body == Body::kLoose) {
    if (!bracket_ || !begins_name(c)) return false;
  } else if (c == '{') {
    if (body == Body::kNamed && some_call_ && !bracket_) return false;
    body = Body::kJson;
  } else if (body != Body::kNamed || some_call_ || bracket_ || !begins_name(c)) {
    return false;
  }
  begin_call("", body);
  return true;
}

bool ToolCallParser::match_between(bool* wait) {
  auto match = [&](std::string_view marker) {
    if (marker.empty() || !marker.starts_with(between_)) return false;
    *wait = *wait || marker.size() > between_.size();
    return marker.size() == between_.size();
  };
  for (std::string_view opening : format_->call_open) {
    if (match(opening)) {
      begin_call(opening, format_->body);
      return true;
    }
  }
  if (!some_call_) return false;
  for (std::string_view close : format_->call_close) {
    if (match(close)) {
      between_.clear();
      raw_.clear();
      return true;
    }
  }
  if (!match(format_->section_close)) return false;
  end_section();
  return true;
}

void ToolCallParser::end_section() {
  state_ = State::kText;
  raw_.clear();
  after_calls_ = true;
  at_start_ = false;
}

void ToolCallParser::take_call(char c) {
  raw_ += c;
  take_call_byte(c);
}

void ToolCallParser::take_call_byte(char c) {
  Sink sink(this);
  const CallStep step = reader_->put(c, sink);
  if (step == CallStep::kBad || (step == CallStep::kMore && raw_.size() > kMostCallBytes)) return give_back();
  if (step == CallStep::kMore) return;
  put({Kind::kEnd, begun_ - 1});
  begun_here_ = opened_ = false;
  some_call_ = after_calls_ = true;
  at_start_ = false;
  raw_.clear();
  between_.clear();
  reader_.reset();
  state_ = State::kBetween;
}

// What was held is no call, or comes behind one: it is text, in which another call may begin.
void ToolCallParser::give_back() {
  if (std::exchange(begun_here_, false)) put({Kind::kBroken, begun_ - 1});
  std::string raw = std::exchange(raw_, {});
  between_.clear();
  reader_.reset();
  state_ = State::kText;
  at_start_ = false;
  size_t certain = 0;
  if (std::exchange(opened_, false)) {
    certain = raw.size() > kMostReplay ? raw.size() : std::min(raw.find_first_not_of(" \t\r\n"), raw.size()) + 1;
    certain = std::min(certain, raw.size());
    put_text(std::string_view(raw).substr(0, certain));
  }
  replay_ = raw.substr(certain) + replay_.substr(replayed_);
  replayed_ = 0;
}

void ToolCallParser::put_text(std::string_view text) {
  if (after_calls_) {
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    if (text.empty()) return;
    after_calls_ = false;
  }
  put({Kind::kText, -1, std::string(text)});
}

void ToolCallParser::put(ToolCallPiece piece) {
  const bool content = piece.kind == Kind::kText || piece.kind == Kind::kArguments;
  if (content && piece.text.empty()) return;
  if (content && !out_.empty() && out_.back().kind == piece.kind && out_.back().call == piece.call) {
    out_.back().text += piece.text;
  } else {
    out_.push_back(std::move(piece));
  }
}

void ToolCallCollector::add(const std::vector<ToolCallPiece>& pieces) {
  for (const ToolCallPiece& piece : pieces) {
    switch (piece.kind) {
      case Kind::kText:
        answer_.text += piece.text;
        break;
      case Kind::kBegin:
        answer_.calls.push_back({piece.id, piece.text, ""});
        break;
      case Kind::kArguments:
        if (!answer_.calls.empty()) answer_.calls.back().arguments += piece.text;
        break;
      case Kind::kBroken:
        if (!answer_.calls.empty()) answer_.calls.pop_back();
        break;
      case Kind::kEnd:
        break;
    }
  }
}

}  // namespace kinglet
