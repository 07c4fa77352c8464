#include "text/reasoning.h"

#include <algorithm>
#include <array>
#include <utility>

namespace kinglet {
namespace {

struct KnownMarkers {
  std::string_view open, close;
};

// In the order of looking: the more telling first.
constexpr std::array kKnown{
    KnownMarkers{"<think>", "</think>"},     KnownMarkers{"<thinking>", "</thinking>"},
    KnownMarkers{"[THINK]", "[/THINK]"},     KnownMarkers{"<seed:think>", "</seed:think>"},
    KnownMarkers{"<thought>", "</thought>"}, KnownMarkers{"<|START_THINKING|>", "<|END_THINKING|>"},
};

constexpr std::string_view kSpace = " \t\r\n";

// How many bytes at the end of `text` may be the beginning of `marker`.
size_t partial_marker(std::string_view text, std::string_view marker) {
  size_t longest = std::min(text.size(), marker.size() - 1);
  for (size_t n = longest; n > 0; --n) {
    if (text.substr(text.size() - n) == marker.substr(0, n)) return n;
  }
  return 0;
}

}  // namespace

std::optional<ReasoningMarkers> find_reasoning_markers(std::string_view template_source) {
  for (const KnownMarkers& known : kKnown) {
    if (template_source.find(known.close) != std::string_view::npos) {
      return ReasoningMarkers{std::string(known.open), std::string(known.close)};
    }
  }
  return std::nullopt;
}

bool prompt_opens_reasoning(std::string_view prompt, const ReasoningMarkers& markers) {
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
      return step_start(out, last);
    case State::kReasoning:
      return step_reasoning(out, last);
    case State::kAfterClose: {
      size_t text = held_.find_first_not_of(kSpace);
      if (text == std::string::npos) {
        held_.clear();
        return false;
      }
      held_.erase(0, text);
      state_ = State::kAnswer;
      return true;
    }
    case State::kAnswer:
      out->answer += held_;
      held_.clear();
      return false;
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
    state_ = State::kAfterClose;
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

}  // namespace kinglet
