// How tests hold arrays of floats against each other.
#pragma once

#include <cmath>
#include <cstring>
#include <span>

namespace kinglet::test {

// NaN anywhere, or another size, counts as an infinite difference.
inline double largest_difference(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0.0;
  for (size_t i = 0; i < a.size(); i++) {
    const double d = std::abs(double{a[i]} - double{b[i]});
    if (!(d <= worst)) worst = std::isnan(d) ? INFINITY : d;
  }
  return worst;
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

}  // namespace kinglet::test
