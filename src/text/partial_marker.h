// What a reader of streamed text holds back: the end of what came may be the beginning of a marker.
#pragma once

#include <algorithm>
#include <string_view>

namespace kinglet {

// How many bytes at the end of `text` may be the beginning of `marker`.
inline size_t partial_marker(std::string_view text, std::string_view marker) {
  if (marker.empty()) return 0;
  for (size_t n = std::min(text.size(), marker.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == marker.substr(0, n)) return n;
  }
  return 0;
}

}  // namespace kinglet
