#include "engine/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace kinglet {

namespace {

// The length of the UTF-8 sequence at the start of `text`; 0 where it is not one.
size_t character_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xf0 && byte(1) < 0x90);
  const bool surrogate = lead == 0xed && byte(1) > 0x9f;
  const bool beyond = lead == 0xf4 && byte(1) > 0x8f;
  return overlong || surrogate || beyond ? 0 : length;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = character_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace

Status check_stop_strings(const std::vector<std::string>& stops) {
  const auto wrong = [](const std::string& what) { return Error{ErrorCode::kInvalid, "stop: " + what}; };
  if (stops.size() > kMaxStops) {
    return wrong(std::to_string(stops.size()) + " strings; at most " + std::to_string(kMaxStops) + " are allowed");
  }
  for (size_t i = 0; i < stops.size(); ++i) {
    const std::string name = "string " + std::to_string(i + 1);
    if (stops[i].empty()) return wrong(name + " is empty; every text ends before it");
    if (stops[i].size() > kMaxStopBytes) {
      return wrong(name + " has " + std::to_string(stops[i].size()) + " bytes; at most " +
                   std::to_string(kMaxStopBytes) + " are allowed");
    }
    if (!is_utf8(stops[i])) return wrong(name + " is not UTF-8");
  }
  return {};
}

std::string StopMatcher::push(std::string_view text) {
  if (found_) return {};
  held_ += text;
  size_t first_end = std::string::npos, start = 0;
  for (const std::string& stop : stops_) {
    const size_t at = held_.find(stop);
    if (at == std::string::npos) continue;
    const size_t end = at + stop.size();
    if (end < first_end || (end == first_end && at < start)) {
      first_end = end;
      start = at;
      found_ = stop;
    }
  }
  const size_t certain = found_ ? start : held_.size() - held_length();
  std::string out = held_.substr(0, certain);
  held_.erase(0, found_ ? held_.size() : certain);
  return out;
}

// The longest end of the held text that a stop string starts with.
size_t StopMatcher::held_length() const {
  size_t longest = 0;
  for (const std::string& stop : stops_) {
    for (size_t length = std::min(stop.size() - 1, held_.size()); length > longest; --length) {
      if (held_.compare(held_.size() - length, length, stop, 0, length) == 0) longest = length;
    }
  }
  return longest;
}

std::string StopMatcher::finish() {
  return std::exchange(held_, {});
}

}  // namespace kinglet
