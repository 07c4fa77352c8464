#include "base/near_match.h"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <vector>

namespace kinglet {

size_t edit_distance(std::string_view a, std::string_view b) {
  auto lower = [](char c) { return std::tolower(static_cast<unsigned char>(c)); };
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); j++) {
      const size_t substituted = diagonal + (lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({substituted, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string nearest_names(std::string_view wanted, std::span<const std::string_view> names, size_t most) {
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
