#include "base/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace kinglet {
namespace {

// What the bits mean, by the definition of the format, in double arithmetic.
double meaning(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int mantissa = half & 1023;
  const double magnitude = exponent == 31  ? std::numeric_limits<double>::infinity()
                           : exponent == 0 ? std::ldexp(mantissa, -24)
                                           : std::ldexp(1024 + mantissa, exponent - 25);
  return half & 0x8000 ? -magnitude : magnitude;
}
bool is_nan_pattern(uint16_t half) {
  return (half & 0x7c00) == 0x7c00 && (half & 0x3ff) != 0;
}

TEST(Half, EveryPatternToFloatAndBack) {
  for (uint32_t pattern = 0; pattern < 0x10000; ++pattern) {
    const auto half = static_cast<uint16_t>(pattern);
    const float value = half_to_float(half);
    if (is_nan_pattern(half)) {
      ASSERT_TRUE(std::isnan(value)) << pattern;
      EXPECT_EQ(std::bit_cast<uint32_t>(value) >> 13 & 0x3ffu, half & 0x3ffu) << "payload";
      EXPECT_EQ(float_to_half(value), 0x7e00 | (half & 0x8000));
      continue;
    }
    ASSERT_EQ(static_cast<double>(value), meaning(half)) << pattern;
    ASSERT_EQ(std::signbit(value), (half & 0x8000) != 0) << pattern;
    ASSERT_EQ(float_to_half(value), half) << pattern;
  }
}

// Between neighbouring halves: below the middle goes down, above goes up, the middle goes to the even one.
TEST(Half, RoundsToNearestEven) {
  for (uint32_t pattern = 0; pattern < 0x7bff; ++pattern) {
    const auto low = static_cast<uint16_t>(pattern);
    const auto high = static_cast<uint16_t>(pattern + 1);
    const auto middle = static_cast<float>((meaning(low) + meaning(high)) / 2);  // exact
    ASSERT_EQ(float_to_half(middle), pattern % 2 == 0 ? low : high) << pattern;
    ASSERT_EQ(float_to_half(std::nextafter(middle, 0.0f)), low) << pattern;
    ASSERT_EQ(float_to_half(std::nextafter(middle, 1e9f)), high) << pattern;
    ASSERT_EQ(float_to_half(-middle), (pattern % 2 == 0 ? low : high) | 0x8000) << pattern;
  }
  EXPECT_EQ(float_to_half(65519.996f), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_half(3e38f), 0x7c00);
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::denorm_min()), 0);
}

TEST(BFloat16, RoundsToNearestEvenAndKeepsNan) {
  EXPECT_EQ(float_to_bfloat16(1.0f), 0x3f80);
  EXPECT_EQ(float_to_bfloat16(std::bit_cast<float>(0x3f808000u)), 0x3f80);  // a tie, down to even
  EXPECT_EQ(float_to_bfloat16(std::bit_cast<float>(0x3f818000u)), 0x3f82);  // a tie, up to even
  EXPECT_EQ(float_to_bfloat16(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_EQ(float_to_bfloat16(std::numeric_limits<float>::max()), 0x7f80);  // overflow
  EXPECT_EQ(float_to_bfloat16(-std::numeric_limits<float>::infinity()), 0xff80);
  // A NaN whose upper half alone would be an infinity.
  EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(std::bit_cast<float>(0x7f800001u)))));
  for (uint32_t pattern = 0; pattern < 0x10000; ++pattern) {
    const float value = bfloat16_to_float(static_cast<uint16_t>(pattern));
    if (!std::isnan(value)) {
      ASSERT_EQ(float_to_bfloat16(value), pattern);
    }
  }
}

}  // namespace
}  // namespace kinglet
