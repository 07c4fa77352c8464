// Suggestions for names that were not found: the known names most like what was asked for.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace kinglet {

// Insertions, deletions, substitutions and swaps of neighbours that turn one into the other (optimal string alignment);
// ASCII case ignored.
size_t edit_distance(std::string_view a, std::string_view b);

// `names` joined by ", ", nearest to `wanted` first (ties in the given order), at most `most` of them.
std::string nearest_names(std::string_view wanted, std::span<const std::string_view> names, size_t most = 8);

}  // namespace kinglet
