// Double-precision functions for tables made at load: exp, log and pow in double-double arithmetic (Dekker 1971), which
// needs no fused multiply-add; sin and cos by minimax polynomials after a reduction in double-double.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "kernels/math.h"

namespace kinglet {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// high + low, |low| <= ulp(high) / 2.
struct DoubleDouble {
  double high = 0.0, low = 0.0;
};

DoubleDouble quick_two_sum(double a, double b) {  // |a| >= |b|
  const double sum = a + b;
  return {sum, b - (sum - a)};
}

DoubleDouble two_sum(double a, double b) {
  const double sum = a + b, back = sum - a;
  return {sum, (a - (sum - back)) + (b - back)};
}

DoubleDouble two_product(double a, double b) {
  constexpr double kSplitter = 0x1p27 + 1.0;
  const double ta = kSplitter * a, tb = kSplitter * b;
  const double ah = ta - (ta - a), bh = tb - (tb - b);
  const double al = a - ah, bl = b - bh;
  const double product = a * b;
  return {product, ((ah * bh - product) + ah * bl + al * bh) + al * bl};
}

DoubleDouble operator+(DoubleDouble a, DoubleDouble b) {
  const DoubleDouble high = two_sum(a.high, b.high), low = two_sum(a.low, b.low);
  const DoubleDouble first = quick_two_sum(high.high, high.low + low.high);
  return quick_two_sum(first.high, first.low + low.low);
}

DoubleDouble operator-(DoubleDouble a) {
  return {-a.high, -a.low};
}

DoubleDouble operator*(DoubleDouble a, DoubleDouble b) {
  const DoubleDouble p = two_product(a.high, b.high);
  return quick_two_sum(p.high, p.low + (a.high * b.low + a.low * b.high));
}

DoubleDouble operator/(DoubleDouble a, DoubleDouble b) {
  const double first = a.high / b.high;
  const DoubleDouble rest = a + -(b * DoubleDouble{first, 0.0});
  const double second = rest.high / b.high;
  const DoubleDouble rest2 = rest + -(b * DoubleDouble{second, 0.0});
  return quick_two_sum(first, second) + DoubleDouble{rest2.high / b.high, 0.0};
}

constexpr DoubleDouble kLn2{0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56};
constexpr double kRoundMagic = 0x1.8p52;  // (x + magic) - magic rounds |x| < 2^51 to nearest even

double power_of_two(int exponent) {  // -1022 <= exponent <= 1023
  return std::bit_cast<double>(static_cast<uint64_t>(exponent + 1023) << 52);
}

// exp(x), |x| < 1100: Taylor's series of exp(r), |r| <= ln2 / 2, to r^18 / 18!.
double exp_of(DoubleDouble x) {
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  const double n = (x.high * kLog2E + kRoundMagic) - kRoundMagic;
  const DoubleDouble r = x + -(DoubleDouble{n, 0.0} * kLn2);
  constexpr DoubleDouble kOne{1.0, 0.0};
  DoubleDouble sum = kOne;
  for (int k = 18; k >= 1; --k) sum = kOne + r * sum / DoubleDouble{static_cast<double>(k), 0.0};
  // 2^n in three steps: all but the last are exact.
  int exponent = static_cast<int>(n);
  double result = sum.high;  // sum is normalised: high is the rounded value
  while (exponent > 1000) {
    result *= 0x1p1000;
    exponent -= 1000;
  }
  if (exponent >= -1000) return result * power_of_two(exponent);
  return result * power_of_two(exponent + 500) * 0x1p-500;
}

// log(x) of a positive finite x: 2 atanh((m - 1) / (m + 1)) + e ln2, m in [sqrt(1/2), sqrt(2)).
DoubleDouble log_of(double x) {
  int64_t exponent = 0;
  if (x < std::numeric_limits<double>::min()) {
    x *= 0x1p54;
    exponent = -54;
  }
  constexpr uint64_t kSqrtHalfBits = 0x3fe6a09e667f3bcdu;
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  const int64_t shift = static_cast<int64_t>(bits - kSqrtHalfBits) >> 52;
  exponent += shift;
  const double m = std::bit_cast<double>(bits - (static_cast<uint64_t>(shift) << 52));
  const DoubleDouble s = two_sum(m, -1.0) / two_sum(m, 1.0);
  const DoubleDouble square = s * s;
  DoubleDouble sum{};
  for (int k = 17; k >= 0; --k) {
    sum = DoubleDouble{1.0, 0.0} / DoubleDouble{static_cast<double>(2 * k + 1), 0.0} + square * sum;
  }
  const DoubleDouble log_m = s * sum;
  return DoubleDouble{2.0 * log_m.high, 2.0 * log_m.low} + DoubleDouble{static_cast<double>(exponent), 0.0} * kLn2;
}

template <size_t n>
double polynomial(const double (&coefficients)[n], double x) {
  double sum = coefficients[0];
  for (size_t i = 1; i < n; ++i) sum = sum * x + coefficients[i];
  return sum;
}

struct ReducedAngle {
  DoubleDouble rest;  // |rest| <= pi/4 (and a little)
  int quadrant;       // x = rest + quadrant * pi/2 (mod 2 pi)
};

// x - n pi/2 by three doubles of pi/2 (Cody & Waite 1980). The first product's high part cancels against x exactly.
ReducedAngle reduce(double x) {
  constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
  constexpr double kHalfPi[3] = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54, -0x1.f1976b7ed8fbcp-110};
  const double n = (x * kTwoOverPi + kRoundMagic) - kRoundMagic;
  const DoubleDouble first = two_product(n, kHalfPi[0]);
  DoubleDouble rest = two_sum(x - first.high, -first.low);
  rest = rest + -two_product(n, kHalfPi[1]);
  rest = rest + DoubleDouble{-(n * kHalfPi[2]), 0.0};
  return {rest, static_cast<int>(static_cast<int64_t>(n) & 3)};
}

// sin(x) = x + x^3 P(x^2), cos(x) = 1 - x^2 / 2 + x^4 Q(x^2) on [-pi/4, pi/4]: errors 2e-21 and 3e-23.
double sin_kernel(DoubleDouble x) {
  constexpr double kSin[7] = {-0x1.aaa546c336856p-41, 0x1.612092b6b681p-33,   -0x1.ae6452984a0e4p-26,
                              0x1.71de3a533975cp-19,  -0x1.a01a01a018ae4p-13, 0x1.111111111110bp-7,
                              -0x1.5555555555555p-3};
  const double square = x.high * x.high;
  return x.high + (x.high * square * polynomial(kSin, square) + x.low * (1.0 - 0.5 * square));
}

double cos_kernel(DoubleDouble x) {
  constexpr double kCos[7] = {0x1.aac5aac00058p-45,   -0x1.9393383c07128p-37, 0x1.1eed8ca3a446bp-29,
                              -0x1.27e4fb75fd708p-22, 0x1.a01a01a018de9p-16,  -0x1.6c16c16c16c1p-10,
                              0x1.5555555555555p-5};
  const double square = x.high * x.high;
  const double half = 0.5 * square, main = 1.0 - half;
  return main + (((1.0 - main) - half) + (square * square * polynomial(kCos, square) - x.high * x.low));
}

double sin_or_cos(double x, int quarter_turns) {
  constexpr double kFarthest = 0x1p40;
  if (!(x >= -kFarthest && x <= kFarthest)) return kNan;
  const ReducedAngle angle = reduce(x);
  const int quadrant = (angle.quadrant + quarter_turns) & 3;
  const double value = (quadrant & 1) != 0 ? cos_kernel(angle.rest) : sin_kernel(angle.rest);
  return (quadrant & 2) != 0 ? -value : value;
}

}  // namespace

double exp_f64(double x) {
  if (x != x) return x;
  if (x > 710.0) return kInfinity;
  if (x < -746.0) return 0.0;
  return exp_of({x, 0.0});
}

double log_f64(double x) {
  if (!(x > 0.0)) return x == 0.0 ? -kInfinity : kNan;
  return x == kInfinity ? x : log_of(x).high;
}

double pow_f64(double base, double exponent) {
  if (!(base > 0.0 && base < kInfinity) || exponent != exponent) return kNan;
  if (exponent == 0.0 || base == 1.0) return 1.0;
  const DoubleDouble log_base = log_of(base);
  const double rough = log_base.high * exponent;
  if (rough > 710.0) return kInfinity;
  if (rough < -746.0) return 0.0;
  return exp_of(log_base * DoubleDouble{exponent, 0.0});
}

double sin_f64(double x) {
  return x == 0.0 ? x : sin_or_cos(x, 0);
}
double cos_f64(double x) {
  return sin_or_cos(x, 1);
}

}  // namespace kinglet
