// For the tests of the row operations: random values, every level's kernels and the plain definitions, comparison of
// bits.
#pragma once

#include <bit>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/isa.h"
#include "kernels/ops.h"
#include "kernels/table.h"

namespace kinglet::testing {

// The plain definitions in the shape of a level.
inline const KernelTable& ref_table() {
  static const KernelTable table = [] {
    KernelTable t = kernel_table(IsaLevel::kPortable);
    t.rows = ref_row_kernels();
    t.recurrent = ref_recurrent_kernels();
    return t;
  }();
  return table;
}

struct Random {
  explicit Random(uint64_t seed) : engine(seed) {}
  int64_t below(int64_t n) { return static_cast<int64_t>(engine() % static_cast<uint64_t>(n)); }
  int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }
  float uniform(float low, float high) { return low + (high - low) * static_cast<float>(engine() >> 40) * 0x1p-24f; }
  float normal() { return std::normal_distribution<float>()(engine); }
  std::vector<float> normals(int64_t n, float deviation = 1.0f) {
    std::vector<float> values(static_cast<size_t>(n));
    for (float& v : values) v = deviation * normal();
    return values;
  }
  // Any bit pattern: subnormals, infinities and NaNs among them.
  std::vector<float> patterns(int64_t n) {
    std::vector<float> values(static_cast<size_t>(n));
    for (float& v : values) v = std::bit_cast<float>(static_cast<uint32_t>(engine()));
    return values;
  }
  std::mt19937_64 engine;
};

inline bool same_bits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (a != a && b != b);
}

// The first index where the bits differ (NaNs are equal), or -1.
inline int64_t first_difference(const std::vector<float>& a, const std::vector<float>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!same_bits(a[i], b[i])) return static_cast<int64_t>(i);
  }
  return -1;
}

}  // namespace kinglet::testing
