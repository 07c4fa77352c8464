// StopMatcher: finds the first stop string in text that streams in, and holds back what may be the start of one. Works
// on text, never on tokens. The result does not depend on how the text is split.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kinglet {

// kInvalid for an empty stop string, one that is not UTF-8 or longer than kMaxStopBytes, or more than kMaxStops of
// them.
inline constexpr size_t kMaxStops = 64, kMaxStopBytes = 4096;
Status check_stop_strings(const std::vector<std::string>& stops);

class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // The text that became certain with `text` (complete UTF-8, as the stop strings are). The match that is complete
  // first counts, of those the longest; from then on nothing comes out.
  std::string push(std::string_view text);
  // What was held back, at the end of the text.
  std::string finish();
  // The stop string that was found.
  const std::optional<std::string>& found() const { return found_; }

 private:
  size_t held_length() const;
  std::vector<std::string> stops_;
  std::string held_;
  std::optional<std::string> found_;
};

}  // namespace kinglet
