#include "base/near_match.h"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <vector>

namespace kinglet {

size_t edit_distance(std::string_view a, std::string_view b) {
  const auto same = [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
  };
  std::vector<size_t> before(b.size() + 1), previous(b.size() + 1), current(b.size() + 1);
  std::iota(previous.begin(), previous.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); i++) {
    current[0] = i;
    for (size_t j = 1; j <= b.size(); j++) {
      const size_t substituted = previous[j - 1] + (same(a[i - 1], b[j - 1]) ? 0 : 1);
      current[j] = std::min({previous[j] + 1, current[j - 1] + 1, substituted});
      if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
        current[j] = std::min(current[j], before[j - 2] + 1);
    }
    before.swap(previous);
    previous.swap(current);
  }
  return previous[b.size()];
}

namespace {
// Of a word out of a file only this much is compared: it may be as long as the file.
constexpr size_t kComparedLength = 64;
}  // namespace

std::string nearest_names(std::string_view wanted, std::span<const std::string_view> names, size_t most) {
  wanted = wanted.substr(0, kComparedLength);
  std::vector<std::pair<size_t, std::string_view>> ranked;
  for (std::string_view name : names) ranked.emplace_back(edit_distance(wanted, name), name);
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string joined;
  for (size_t i = 0; i < std::min(most, ranked.size()); i++) {
    if (i) joined += ", ";
    joined += ranked[i].second;
  }
  return joined;
}

}  // namespace kinglet
