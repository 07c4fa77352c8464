#include "kernels/math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/rows_test_support.h"

namespace kinglet {
namespace {

using testing::Random;
using testing::same_bits;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(ExactFma, EqualsTheCorrectlyRoundedOneForRandomBits) {
  Random random(1);
  for (int i = 0; i < 12'000'000; ++i) {
    const uint64_t bits = random.engine(), more = random.engine();
    const float a = std::bit_cast<float>(static_cast<uint32_t>(bits));
    const float b = std::bit_cast<float>(static_cast<uint32_t>(bits >> 32));
    uint32_t c_bits = static_cast<uint32_t>(more);
    if ((more >> 32 & 1) != 0) {
      // An addend near the product, where rounding twice would show.
      const int exponent =
          static_cast<int>((bits >> 23 & 255) + (bits >> 55 & 255)) - 127 + static_cast<int>(more >> 33 & 63) - 32;
      if (exponent >= 0 && exponent < 255) c_bits = (c_bits & 0x807fffffu) | static_cast<uint32_t>(exponent) << 23;
    }
    const float c = std::bit_cast<float>(c_bits);
    ASSERT_TRUE(same_bits(exact_fma(a, b, c), std::fma(a, b, c))) << std::hexfloat << a << " " << b << " " << c;
  }
}

TEST(ExactFma, Edges) {
  const float values[] = {0.0f,  -0.0f, 0x1p-149f,      -0x1p-149f,       0x1p-126f,         0x1.fffffep-127f,
                          1.0f,  -1.0f, 0x1.000002p+0f, 0x1.fffffep+127f, -0x1.fffffep+127f, kInf,
                          -kInf, kNan,  0x1p-75f,       0x1p+64f};
  for (float a : values) {
    for (float b : values) {
      for (float c : values) EXPECT_TRUE(same_bits(exact_fma(a, b, c), std::fma(a, b, c))) << a << " " << b << " " << c;
    }
  }
}

// The largest error of f against g in units in the last place of the true value (at least of 2^-126).
template <class F, class G>
double worst_error(const F& f, const G& g, double low, double high, int samples = 300'000) {
  using T = decltype(f(1));
  Random random(2);
  double worst = 0.0;
  for (int i = 0; i < samples; ++i) {
    const T x = static_cast<T>(low + (high - low) * static_cast<double>(random.engine() >> 11) * 0x1p-53);
    const long double truth = g(static_cast<long double>(x));
    int exponent = 0;
    std::frexp(truth, &exponent);
    const int digits = std::numeric_limits<T>::digits;
    const long double unit = std::ldexp(1.0L, std::max(exponent, std::numeric_limits<T>::min_exponent) - digits);
    worst = std::max(worst, static_cast<double>(std::abs(static_cast<long double>(f(x)) - truth) / unit));
  }
  return worst;
}

TEST(Math, FloatFunctionsAreWithinAFewUlp) {
  const auto exp = [](long double x) { return std::exp(x); };
  const auto log = [](long double x) { return std::log(x); };
  const auto tanh = [](long double x) { return std::tanh(x); };
  EXPECT_LT(worst_error(exp_f32, exp, -87.0, 88.7), 1.0);
  EXPECT_LT(worst_error(exp_f32, exp, -1.0, 1.0), 1.0);
  EXPECT_LT(worst_error(log_f32, log, 0x1p-149, 0x1p-120), 1.0);
  EXPECT_LT(worst_error(log_f32, log, 0.5, 2.0), 1.0);
  EXPECT_LT(worst_error(log_f32, log, 0.0, 3e38), 1.0);
  EXPECT_LT(worst_error(tanh_f32, tanh, -10.0, 10.0), 2.0);
  EXPECT_LT(worst_error(tanh_f32, tanh, -0.7, 0.7), 2.0);
  EXPECT_LT(worst_error(silu_f32, [](long double x) { return x / (1 + std::exp(-x)); }, -80.0, 20.0), 3.0);
  EXPECT_LT(worst_error(sigmoid_f32, [](long double x) { return 1 / (1 + std::exp(-x)); }, -80.0, 20.0), 3.0);
  EXPECT_LT(worst_error(softplus_f32, [](long double x) { return std::log1p(std::exp(x)); }, -80.0, 30.0), 3.0);
}

TEST(Math, GelusAreAccurateToTheirScale) {
  const long double root = std::sqrt(2.0L / 3.14159265358979323846L);
  Random random(3);
  for (int i = 0; i < 300'000; ++i) {
    const float x = random.uniform(-9.0f, 9.0f);
    const long double exact = x;
    const double by_erf = static_cast<double>(0.5L * exact * std::erfc(-exact / std::sqrt(2.0L)));
    const double by_tanh =
        static_cast<double>(0.5L * exact * (1 + std::tanh(root * (exact + 0.044715L * exact * exact * exact))));
    const double tolerance = 0x1p-22 * std::max(1.0, std::abs(static_cast<double>(x)));
    ASSERT_NEAR(static_cast<double>(gelu_erf_f32(x)), by_erf, tolerance) << x;
    ASSERT_NEAR(static_cast<double>(gelu_tanh_f32(x)), by_tanh, tolerance) << x;
  }
}

TEST(Math, FloatSpecialCases) {
  EXPECT_EQ(exp_f32(0.0f), 1.0f);
  EXPECT_EQ(exp_f32(-0.0f), 1.0f);
  EXPECT_EQ(exp_f32(-kInf), 0.0f);
  EXPECT_EQ(exp_f32(-87.001f), 0.0f);
  EXPECT_GE(exp_f32(-87.0f), std::numeric_limits<float>::min());
  EXPECT_EQ(exp_f32(88.73f), kInf);
  EXPECT_EQ(exp_f32(kInf), kInf);
  EXPECT_LT(exp_f32(88.722f), kInf);
  EXPECT_TRUE(std::isnan(exp_f32(kNan)));
  EXPECT_EQ(log_f32(1.0f), 0.0f);
  EXPECT_EQ(log_f32(0.0f), -kInf);
  EXPECT_EQ(log_f32(-0.0f), -kInf);
  EXPECT_EQ(log_f32(kInf), kInf);
  EXPECT_TRUE(std::isnan(log_f32(-1.0f)));
  EXPECT_TRUE(std::isnan(log_f32(kNan)));
  EXPECT_EQ(tanh_f32(kInf), 1.0f);
  EXPECT_EQ(tanh_f32(-20.0f), -1.0f);
  EXPECT_EQ(tanh_f32(0.0f), 0.0f);
  EXPECT_TRUE(std::isnan(tanh_f32(kNan)));
  EXPECT_EQ(gelu_erf_f32(30.0f), 30.0f);
  EXPECT_EQ(gelu_erf_f32(-30.0f), 0.0f);
  EXPECT_EQ(silu_f32(-1000.0f), 0.0f);
  EXPECT_EQ(sigmoid_f32(-1000.0f), 0.0f);
  EXPECT_EQ(sigmoid_f32(1000.0f), 1.0f);
  EXPECT_EQ(softplus_f32(-1000.0f), 0.0f);
  EXPECT_EQ(softplus_f32(1000.0f), 1000.0f);
  EXPECT_EQ(softplus_f32(kInf), kInf);
  EXPECT_EQ(softplus_f32(-kInf), 0.0f);
  EXPECT_TRUE(std::isnan(softplus_f32(kNan)));
  EXPECT_TRUE(std::isnan(sigmoid_f32(kNan)));
  EXPECT_EQ(sqrt_f32(2.0f), 0x1.6a09e6p+0f);
}

TEST(Math, DoubleFunctionsAreWithinOneUlp) {
  if (std::numeric_limits<long double>::digits < 64) GTEST_SKIP() << "no wider type to compare with";
  const auto exp = [](long double x) { return std::exp(x); };
  const auto log = [](long double x) { return std::log(x); };
  const auto sin = [](long double x) { return std::sin(x); };
  const auto cos = [](long double x) { return std::cos(x); };
  constexpr int kSamples = 40'000;
  EXPECT_LT(worst_error(exp_f64, exp, -708.0, 709.7, kSamples), 0.51);
  EXPECT_LT(worst_error(exp_f64, exp, -745.0, -700.0, kSamples), 1.0);
  EXPECT_LT(worst_error(log_f64, log, 0.0, 3.0, kSamples), 0.51);
  EXPECT_LT(worst_error(log_f64, log, 0.0, 1e300, kSamples), 0.51);
  for (double base : {1e4, 1e6, 0.37, 500000.0}) {
    const auto pow = [base](long double x) { return std::pow(static_cast<long double>(base), x); };
    EXPECT_LT(worst_error([base](double x) { return pow_f64(base, x); }, pow, -1.0, 1.0, kSamples), 0.51);
  }
  for (double range : {1.0, 10.0, 1e3, 4.2e6, 0x1p40}) {
    EXPECT_LT(worst_error(sin_f64, sin, -range, range, kSamples), 0.8) << range;
    EXPECT_LT(worst_error(cos_f64, cos, -range, range, kSamples), 0.8) << range;
  }
}

TEST(Math, AnglesNearMultiplesOfHalfPiKeepTheirDigits) {
  if (std::numeric_limits<long double>::digits < 64) GTEST_SKIP() << "no wider type to compare with";
  const auto sin = [](long double x) { return std::sin(x); };
  const auto cos = [](long double x) { return std::cos(x); };
  for (int64_t n : {1, 2, 3, 4, 1000, 314159, 500'000'000}) {
    const double near = static_cast<double>(static_cast<long double>(n) * 1.57079632679489661923132169163975144L);
    EXPECT_LT(worst_error(sin_f64, sin, near, near, 1), 0.8) << n;
    EXPECT_LT(worst_error(cos_f64, cos, near, near, 1), 0.8) << n;
  }
}

// True values of 50 digits (mpmath) rounded to double, for machines where long double is no wider.
TEST(Math, DoubleGoldenValues) {
  EXPECT_EQ(exp_f64(1.0), 0x1.5bf0a8b145769p+1);
  EXPECT_EQ(exp_f64(-700.5), 0x1.4ff475c68ca02p-1011);
  EXPECT_EQ(log_f64(10.0), 0x1.26bb1bbb55516p+1);
  EXPECT_EQ(log_f64(1.0000001), 0x1.ad7f2847b6492p-24);
  EXPECT_EQ(pow_f64(10000.0, -0.5), 0.01);
  EXPECT_EQ(pow_f64(1e6, -0.25), 0x1.030dc4ea03a72p-5);
  EXPECT_EQ(pow_f64(500000.0, -0.515625), 0x1.2e00479274961p-10);
  EXPECT_EQ(pow_f64(2.0, -1074.0), 0x1p-1074);
  EXPECT_EQ(pow_f64(500000.0, 0.0), 1.0);
  EXPECT_DOUBLE_EQ(sin_f64(0.5), 0x1.eaee8744b05fp-2);
  EXPECT_DOUBLE_EQ(cos_f64(0.5), 0x1.c1528065b7d5p-1);
  EXPECT_DOUBLE_EQ(sin_f64(1e11), 0x1.db7dbc47abb83p-1);
  EXPECT_DOUBLE_EQ(cos_f64(4194303.0), 0x1.e16e2d72bcae5p-1);
}

TEST(Math, DoubleSpecialCases) {
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(exp_f64(0.0), 1.0);
  EXPECT_EQ(exp_f64(710.0), inf);
  EXPECT_EQ(exp_f64(inf), inf);
  EXPECT_EQ(exp_f64(-inf), 0.0);
  EXPECT_EQ(exp_f64(-746.0), 0.0);
  EXPECT_TRUE(std::isnan(exp_f64(std::nan(""))));
  EXPECT_EQ(log_f64(1.0), 0.0);
  EXPECT_EQ(log_f64(0.0), -inf);
  EXPECT_EQ(log_f64(inf), inf);
  EXPECT_TRUE(std::isnan(log_f64(-1.0)));
  EXPECT_EQ(pow_f64(2.0, 2000.0), inf);
  EXPECT_EQ(pow_f64(2.0, -2000.0), 0.0);
  EXPECT_TRUE(std::isnan(pow_f64(-2.0, 2.0)));
  EXPECT_TRUE(std::isnan(pow_f64(inf, 1.0)));
  EXPECT_EQ(sin_f64(0.0), 0.0);
  EXPECT_EQ(cos_f64(0.0), 1.0);
  EXPECT_TRUE(std::isnan(sin_f64(inf)));
  EXPECT_TRUE(std::isnan(cos_f64(0x1p41)));
}

}  // namespace
}  // namespace kinglet
