#include "text/reasoning.h"

#include <algorithm>
#include <array>
#include <utility>

#include "text/partial_marker.h"

namespace kinglet {
namespace {

struct KnownMarkers {
  std::string_view sign;  // what only the templates of such models contain
  std::string_view open, close;
  bool channels = false;
};

// In the order of looking: the more telling first.
constexpr std::array kKnown{
    KnownMarkers{"<|channel|>analysis<|message|>", "analysis", "<|end|>", true},  // gpt-oss
    KnownMarkers{"<channel|>", "<|channel>thought", "<channel|>"},                // Gemma 4
    KnownMarkers{"</think>", "<think>", "</think>"},
    KnownMarkers{"</mm:think>", "<mm:think>", "</mm:think>"},                 // MiniMax-M3
    KnownMarkers{"</think{}>", "<think:opensource>", "</think:opensource>"},  // Hunyuan V3 puts its tokens together
    KnownMarkers{"</thinking>", "<thinking>", "</thinking>"},
    KnownMarkers{"[/THINK]", "[THINK]", "[/THINK]"},
    KnownMarkers{"</seed:think>", "<seed:think>", "</seed:think>"},
    KnownMarkers{"</thought>", "<thought>", "</thought>"},
    KnownMarkers{"<|END_THINKING|>", "<|START_THINKING|>", "<|END_THINKING|>"},
};

constexpr std::string_view kStart = "<|start|>", kChannel = "<|channel|>", kMessage = "<|message|>";
constexpr std::string_view kRecipient = " to=functions.";
constexpr std::array kChannelTokens{kStart, kChannel, kMessage, std::string_view("<|constrain|>")};
constexpr size_t kMaxHeader = 512;  // bytes: a message whose header is longer has none

constexpr std::string_view kSpace = " \t\r\n";

}  // namespace

bool ReasoningMarkers::mention(std::string_view special_token) const {
  auto within = [&](std::string_view marker) { return marker.find(special_token) != std::string_view::npos; };
  return !special_token.empty() &&
         (within(open) || within(close) || within(answer_open) || within(answer_close) ||
          (channels && std::ranges::find(kChannelTokens, special_token) != kChannelTokens.end()));
}

std::optional<ReasoningMarkers> find_reasoning_markers(std::string_view template_source) {
  auto speaks_of = [&](std::string_view sign) { return template_source.find(sign) != std::string_view::npos; };
  for (const KnownMarkers& known : kKnown) {
    if (!speaks_of(known.sign)) continue;
    ReasoningMarkers markers{.open = std::string(known.open), .close = std::string(known.close)};
    markers.channels = known.channels;
    if (known.sign == "</think>" && speaks_of("</answer>")) {
      markers.answer_open = "<answer>";
      markers.answer_close = "</answer>";
    }
    return markers;
  }
  return std::nullopt;
}

bool prompt_opens_reasoning(std::string_view prompt, const ReasoningMarkers& markers) {
  if (markers.channels) return false;  // the model writes the header itself
  size_t end = prompt.find_last_not_of(kSpace);
  return end != std::string_view::npos && prompt.substr(0, end + 1).ends_with(markers.open);
}

ReasoningSplitter::ReasoningSplitter(ReasoningMarkers markers, bool inside)
    : markers_(std::move(markers)), state_(inside ? State::kReasoning : State::kStart), trim_left_(true) {}

ReasoningPiece ReasoningSplitter::push(std::string_view text) {
  ReasoningPiece out;
  held_ += text;
  while (step(&out, false)) {
  }
  return out;
}

ReasoningPiece ReasoningSplitter::finish() {
  ReasoningPiece out;
  while (step(&out, true)) {
  }
  return out;
}

// One decision on the held text; false when more text is needed, or nothing is left.
bool ReasoningSplitter::step(ReasoningPiece* out, bool last) {
  switch (state_) {
    case State::kStart:
      return markers_.channels ? step_header(out, last) : step_start(out, last);
    case State::kReasoning:
      return step_reasoning(out, last);
    case State::kAfterClose:
      return step_after_close(last);
    case State::kAnswer:
      return step_answer(out, last);
  }
  return false;
}

// Nothing but white space so far: is it a block, or the answer itself?
bool ReasoningSplitter::step_start(ReasoningPiece* out, bool last) {
  size_t text = held_.find_first_not_of(kSpace);
  std::string_view rest = text == std::string::npos ? std::string_view() : std::string_view(held_).substr(text);
  if (rest.starts_with(markers_.open)) {
    held_.erase(0, text + markers_.open.size());
    state_ = State::kReasoning;
    return true;
  }
  if (!last && std::string_view(markers_.open).starts_with(rest)) return false;
  state_ = State::kAnswer;
  return step(out, last);
}

// A message of a channel begins: "<|channel|>NAME…<|message|>", after the first one behind "<|start|>ROLE". Without a
// header it is for the user. The first header may begin with its recipient: the prompt ends with "<|start|>assistant".
bool ReasoningSplitter::step_header(ReasoningPiece* out, bool last) {
  const std::string_view held = held_;
  const bool may_call = markers_.keep_recipients;
  const bool called = may_call && held.starts_with(kRecipient);
  const std::string_view first = called ? kRecipient : held.starts_with(kStart) ? kStart : kChannel;
  if (!last && (kStart.starts_with(held) || kChannel.starts_with(held) || (may_call && kRecipient.starts_with(held)))) {
    return false;
  }
  const size_t message = held.find(kMessage);
  const bool headless =
      message == std::string_view::npos ? last || held.size() >= kMaxHeader + kMessage.size() : message > kMaxHeader;
  if (headless || !held.starts_with(first)) {
    state_ = State::kAnswer;
    return step(out, last);
  }
  if (message == std::string_view::npos) return false;
  const std::string_view header = held.substr(0, message);
  if (may_call && header.find(kRecipient) != std::string_view::npos) {
    out->answer.append(held_, 0, message + kMessage.size());
    held_.erase(0, message + kMessage.size());
    in_answer_block_ = to_tool_ = true;
    state_ = State::kAnswer;
    return true;
  }
  const size_t channel = header.find(kChannel);
  const bool thinks =
      channel != std::string_view::npos && header.substr(channel + kChannel.size()).starts_with(markers_.open);
  held_.erase(0, message + kMessage.size());
  in_answer_block_ = true;
  trim_left_ = thinks;
  state_ = thinks ? State::kReasoning : State::kAnswer;
  if (bool& before = thinks ? thought_ : answered_; !std::exchange(before, true)) return true;
  (thinks ? out->reasoning : out->answer) += "\n\n";
  return true;
}

bool ReasoningSplitter::step_reasoning(ReasoningPiece* out, bool last) {
  if (trim_left_) {
    size_t text = held_.find_first_not_of(kSpace);
    held_.erase(0, text);
    if (held_.empty()) return false;
    trim_left_ = false;
  }
  size_t close = held_.find(markers_.close);
  if (close != std::string::npos) {
    size_t end = held_.find_last_not_of(kSpace, close == 0 ? std::string::npos : close - 1);
    if (close > 0 && end != std::string::npos && end < close) out->reasoning.append(held_, 0, end + 1);
    held_.erase(0, close + markers_.close.size());
    state_ = markers_.channels ? State::kStart : State::kAfterClose;
    return true;
  }
  // White space that turns out to stand before the closing marker is dropped, so it waits, too.
  size_t certain = last ? held_.size() : held_.size() - partial_marker(held_, markers_.close);
  size_t end = held_.substr(0, certain).find_last_not_of(kSpace);
  certain = last ? certain : (end == std::string::npos ? 0 : end + 1);
  out->reasoning.append(held_, 0, certain);
  held_.erase(0, certain);
  return false;
}

bool ReasoningSplitter::step_after_close(bool last) {
  held_.erase(0, std::min(held_.find_first_not_of(kSpace), held_.size()));
  if (held_.empty()) return false;
  const std::string_view wrapper = markers_.answer_open;
  if (!wrapper.empty() && !in_answer_block_) {
    if (held_.starts_with(wrapper)) {
      held_.erase(0, wrapper.size());
      in_answer_block_ = true;
      return true;  // and the white space behind it
    }
    if (!last && wrapper.starts_with(held_)) return false;
  }
  state_ = State::kAnswer;
  return true;
}

// The answer is handed on as it comes, except inside a block that may end.
bool ReasoningSplitter::step_answer(ReasoningPiece* out, bool last) {
  const std::string& close = markers_.channels ? markers_.close : markers_.answer_close;
  const size_t end = in_answer_block_ ? held_.find(close) : std::string::npos;
  if (end == std::string::npos) {
    size_t certain = held_.size() - (in_answer_block_ && !last ? partial_marker(held_, close) : 0);
    if (in_answer_block_ && !markers_.channels && !last) {  // white space before "</answer>" is dropped
      certain = std::string_view(held_).substr(0, certain).find_last_not_of(kSpace) + 1;
    }
    out->answer.append(held_, 0, certain);
    held_.erase(0, certain);
    return false;
  }
  out->answer.append(held_, 0, markers_.channels ? end : held_.substr(0, end).find_last_not_of(kSpace) + 1);
  if (std::exchange(to_tool_, false)) out->answer += close;
  held_.erase(0, end + close.size());
  in_answer_block_ = false;
  if (markers_.channels) state_ = State::kStart;
  return true;
}

}  // namespace kinglet
