#include "sampling/random.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <vector>

namespace kinglet {
namespace {

using Words = std::array<uint32_t, 4>;

// Known answers published with the Random123 library (kat_vectors, philox4x32 10).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox4x32({ones, ones, ones, ones}, {ones, ones}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(UniformAt, IsAFunctionOfSeedAndPosition) {
  std::set<double> seen;
  for (uint64_t seed : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32, ~uint64_t{0}}) {
    for (uint64_t position : {uint64_t{0}, uint64_t{1}, uint64_t{2}, uint64_t{1} << 33}) {
      const double u = uniform_at(seed, position);
      EXPECT_GE(u, 0.0);
      EXPECT_LT(u, 1.0);
      EXPECT_EQ(u, uniform_at(seed, position));
      seen.insert(u);
    }
  }
  EXPECT_EQ(seen.size(), 16u);
}

TEST(UniformAt, IsUniform) {
  constexpr int kBins = 100, kDraws = 200000;
  for (uint64_t seed : {uint64_t{3}, uint64_t{123456789}}) {
    std::vector<int> bins(kBins);
    for (uint64_t position = 0; position < kDraws; ++position) {
      ++bins[static_cast<size_t>(uniform_at(seed, position) * kBins)];
    }
    double chi2 = 0.0;
    const double expected = static_cast<double>(kDraws) / kBins;
    for (int count : bins) chi2 += (count - expected) * (count - expected) / expected;
    EXPECT_LT(chi2, 160.0);  // 99 degrees of freedom: p < 1e-4
    EXPECT_GT(chi2, 50.0);
  }
}

}  // namespace
}  // namespace kinglet
