// Calls with a tag for each argument, whose values are bare text: the tool's schema says which of them are strings.
#include <set>

#include "text/json_scanner.h"
#include "text/tool_call_readers.h"

namespace kinglet {
namespace {

class TagsReader : public CallReader {
 public:
  explicit TagsReader(const ReaderContext& context) : context_(context), format_(*context.format) {}

  CallStep put(char c, CallSink& sink) override {
    switch (state_) {
      case State::kName:
        return put_name(c, sink);
      case State::kTag:
        return put_tag(c, sink);
      case State::kKey:
        return put_key(c);
      case State::kKind:
        return put_kind(c);
      case State::kOpen:
        return put_open(c);
      case State::kValue:
        return put_value(c, sink);
    }
    return CallStep::kBad;
  }

 private:
  enum class State { kName, kTag, kKey, kKind, kOpen, kValue };

  CallStep put_name(char c, CallSink& sink) {
    const std::string_view end = format_.name_end;
    const bool bare_end = end.empty() && (c == '<' || (is_space(c) && !text_.empty()));
    if (end.empty() && is_space(c) && text_.empty()) return CallStep::kMore;
    if (!bare_end) text_ += c;
    if (!bare_end && (end.empty() || !text_.ends_with(end))) {
      return text_.size() > kMostNameBytes + end.size() ? CallStep::kBad : CallStep::kMore;
    }
    text_.resize(text_.size() - end.size());
    name_ = trimmed(text_);
    text_.clear();
    if (!is_tool_name(name_)) return CallStep::kBad;
    state_ = State::kTag;
    return bare_end ? put_tag(c, sink) : CallStep::kMore;
  }

  // Between arguments.
  CallStep put_tag(char c, CallSink& sink) {
    if (text_.empty() && is_space(c)) return CallStep::kMore;
    text_ += c;
    if (text_ == format_.key_open) {
      begin(sink);
      return enter(State::kKey);
    }
    if (text_ == format_.tags_end) {
      begin(sink);
      sink.arguments("}");
      return CallStep::kDone;
    }
    const bool open = format_.key_open.starts_with(text_) || format_.tags_end.starts_with(text_);
    return open ? CallStep::kMore : CallStep::kBad;
  }

  void begin(CallSink& sink) {
    if (begun_) return;
    sink.begin(name_, "");
    sink.arguments("{");
    begun_ = true;
  }

  CallStep put_key(char c) {
    text_ += c;
    if (!text_.ends_with(format_.key_end)) {
      return text_.size() > kMostNameBytes + format_.key_end.size() ? CallStep::kBad : CallStep::kMore;
    }
    text_.resize(text_.size() - format_.key_end.size());
    key_ = trimmed(text_);
    // A second value of one argument would make ambiguous JSON.
    if (key_.empty() || !keys_.insert(key_).second) return CallStep::kBad;
    kind_ = context_.types->kind(name_, key_);
    return enter(format_.says_kind ? State::kKind : format_.value_open.empty() ? State::kValue : State::kOpen);
  }

  CallStep put_kind(char c) {
    constexpr std::string_view kString = " string=\"true\">", kJson = " string=\"false\">";
    text_ += c;
    if (text_ == kString || text_ == kJson) {
      kind_ = text_ == kString ? ArgumentKind::kString : ArgumentKind::kJson;
      return enter(State::kValue);
    }
    if (text_ == ">") return enter(State::kValue);  // by the schema, then
    return kString.starts_with(text_) || kJson.starts_with(text_) ? CallStep::kMore : CallStep::kBad;
  }

  CallStep put_open(char c) {
    if (text_.empty() && is_space(c)) return CallStep::kMore;
    text_ += c;
    if (text_ == format_.value_open) return enter(State::kValue);
    return format_.value_open.starts_with(text_) ? CallStep::kMore : CallStep::kBad;
  }

  CallStep put_value(char c, CallSink& sink) {
    text_ += c;
    if (first_ && format_.trims_newline && text_ == "\n") {
      first_ = false;
      text_.clear();
      return CallStep::kMore;
    }
    first_ = false;
    if (!text_.ends_with(format_.value_close)) {
      if (kind_ == ArgumentKind::kString) stream_string(sink);
      return CallStep::kMore;
    }
    text_.resize(text_.size() - format_.value_close.size());
    if (format_.trims_newline && text_.ends_with('\n')) text_.pop_back();
    end_value(sink);
    return enter(State::kTag);
  }

  // A string goes out as it comes, but for what may be the end of it.
  void stream_string(CallSink& sink) {
    size_t certain = text_.size() - partial_marker(text_, format_.value_close);
    if (format_.trims_newline && certain > 0 && text_[certain - 1] == '\n') --certain;
    if (certain == 0) return;
    std::string json;
    if (!streamed_) json = json_key() + "\"";
    streamed_ = true;
    append_json_escaped(std::string_view(text_).substr(0, certain), &json);
    sink.arguments(json);
    text_.erase(0, certain);
  }

  void end_value(CallSink& sink) {
    std::string json;
    if (!streamed_) json = json_key();
    const bool may_be_null = kind_ == ArgumentKind::kNullableString;
    auto value = kind_ == ArgumentKind::kString || may_be_null ? std::nullopt : bare_json();
    if (may_be_null && text_ == "null") value = "null";
    if (value) {
      json += *value;
    } else {
      if (!streamed_) json += '"';
      append_json_escaped(text_, &json);
      json += '"';
    }
    sink.arguments(json);
    streamed_ = false;
    some_ = true;
  }

  std::optional<std::string> bare_json() const {
    if (auto value = as_json(text_)) return value;
    const std::string_view word = trimmed(text_);
    if (word == "True") return "true";
    if (word == "False") return "false";
    if (word == "None") return "null";
    return std::nullopt;
  }

  std::string json_key() const {
    std::string json = some_ ? ", \"" : "\"";
    append_json_escaped(key_, &json);
    return json + "\": ";
  }

  CallStep enter(State state) {
    text_.clear();
    state_ = state;
    first_ = true;
    return CallStep::kMore;
  }

  ReaderContext context_;
  const ToolCallFormat& format_;
  State state_ = State::kName;
  std::string text_;  // of the present state, not understood yet
  std::string name_, key_;
  std::set<std::string> keys_;
  ArgumentKind kind_ = ArgumentKind::kUnknown;
  bool begun_ = false, some_ = false, streamed_ = false, first_ = true;
};

}  // namespace

std::unique_ptr<CallReader> make_tags_reader(const ReaderContext& context) {
  return std::make_unique<TagsReader>(context);
}

}  // namespace kinglet
