#include "kernels/math.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "kernels/math_constants.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace kinglet {
namespace {

using namespace math;  // NOLINT: the constants of this very file

constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <size_t n>
float polynomial(const float (&coefficients)[n], float x) {
  float sum = coefficients[0];
  for (size_t i = 1; i < n; ++i) sum = exact_fma(sum, x, coefficients[i]);
  return sum;
}

// erfc(z), z >= 1; 0 from 4 on, where 1 + erf(-z) is below half an ulp of 1.
float erfc_tail(float z) {
  return z < 4.0f ? exp_f32(polynomial(kErfcLog, z)) : 0.0f;
}

}  // namespace

// The product of two floats is exact in double. The sum is rounded to odd (its lost part, exact by TwoSum, sets the
// last bit), so rounding it once more to float gives the correctly rounded result (Boldo & Melquiond 2008).
float exact_fma(float a, float b, float c) {
  const double product = static_cast<double>(a) * static_cast<double>(b);
  const double addend = static_cast<double>(c);
  const double sum = product + addend;
  const double back = sum - product;
  const double lost = (product - (sum - back)) + (addend - back);
  uint64_t bits = std::bit_cast<uint64_t>(sum);
  const bool inexact = lost < 0.0 || lost > 0.0;  // false for infinities and NaNs, where `lost` is a NaN
  if (inexact && (bits & 1) == 0) bits += (lost > 0.0) == (sum > 0.0) ? uint64_t{1} : ~uint64_t{0};
  return static_cast<float>(std::bit_cast<double>(bits));
}

float sqrt_f32(float x) {
#if defined(__x86_64__)
  return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
#elif defined(__aarch64__)
  float root;
  asm("fsqrt %s0, %s1" : "=w"(root) : "w"(x));
  return root;
#else
#error "a correctly rounded square root instruction is needed"
#endif
}

float exp_f32(float x) {
  if (x != x) return x;
  if (x < kExpLowest) return 0.0f;
  x = x < kExpHighest ? x : kExpHighest;
  const float n = (x * kLog2E + kRoundMagic) - kRoundMagic;
  const float r = exact_fma(-n, kExpLn2Low, exact_fma(-n, kExpLn2High, x));
  const float p = exact_fma(polynomial(kExp, r), r * r, r) + 1.0f;
  // 2^n in two steps where 2^128 would not fit.
  const int exponent = static_cast<int>(n);
  const int capped = exponent < 127 ? exponent : 127;
  const float scaled = std::bit_cast<float>(std::bit_cast<uint32_t>(p) + (static_cast<uint32_t>(capped) << 23));
  return exponent > 127 ? scaled * 2.0f : scaled;
}

float log_f32(float x) {
  if (!(x > 0.0f)) return x == 0.0f ? -kInfinity : std::numeric_limits<float>::quiet_NaN();
  if (x == kInfinity) return x;
  int32_t exponent = 0;
  if (x < std::numeric_limits<float>::min()) {
    x *= 0x1p+25f;
    exponent = -25;
  }
  // x = 2^exponent * m, m in [sqrt(1/2), sqrt(2)).
  constexpr uint32_t kSqrtHalfBits = 0x3f3504f3u;
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const int32_t shift = static_cast<int32_t>(bits - kSqrtHalfBits) >> 23;
  exponent += shift;
  const float f = std::bit_cast<float>(bits - (static_cast<uint32_t>(shift) << 23)) - 1.0f;
  const float e = static_cast<float>(exponent);
  constexpr float kLn2High = 0x1.63p-1f;  // 9 bits: e * kLn2High is exact
  constexpr float kLn2Low = -0x1.bd0106p-13f;
  const float square = f * f;
  float tail = square * f * polynomial(kLog, f);
  tail = exact_fma(e, kLn2Low, tail);
  tail = exact_fma(-0.5f, square, tail);
  return exact_fma(e, kLn2High, f + tail);
}

float tanh_f32(float x) {
  const float magnitude = x < 0.0f ? -x : x;
  if (magnitude < kTanhSplit) {
    const float square = x * x;
    return exact_fma(x * square, polynomial(kTanh, square), x);
  }
  const float large = 1.0f - 2.0f / (exp_f32(magnitude + magnitude) + 1.0f);
  return x < 0.0f ? -large : large;
}

float silu_f32(float x) {
  return x / (1.0f + exp_f32(-x));
}

float sigmoid_f32(float x) {
  return 1.0f / (1.0f + exp_f32(-x));
}

// max(x, 0) + log(1 + exp(-|x|)): exact where exp(x) is small against 1, and no overflow.
float softplus_f32(float x) {
  const float u = exp_f32(x < 0.0f ? x : -x);
  const float s = u / (2.0f + u), twice = s + s, square = s * s;
  return (x > 0.0f ? x : 0.0f) + exact_fma(twice * square, polynomial(kLogPlus1, square), twice);
}

float gelu_tanh_f32(float x) {
  const float inner = (kGeluScale * x) * exact_fma(kGeluCubic, x * x, 1.0f);
  return (0.5f * x) * (1.0f + tanh_f32(inner));
}

float gelu_erf_f32(float x) {
  const float z = x * kSqrtHalf;
  const float magnitude = z < 0.0f ? -z : z;
  float one_plus_erf;
  if (magnitude < 1.0f) {
    one_plus_erf = 1.0f + exact_fma(z, polynomial(kErfSmall, z * z), z);
  } else {
    const float tail = erfc_tail(magnitude);
    one_plus_erf = z < 0.0f ? tail : 2.0f - tail;
  }
  return (0.5f * x) * one_plus_erf;
}

}  // namespace kinglet
