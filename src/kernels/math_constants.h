// Coefficients of the elementary functions, shared by the scalar forms (math.cc) and the vector forms (simd/). All are
// our own minimax fits (Remez exchange in 60 digits), rounded to float. Not for users of the functions.
#pragma once

namespace kinglet::math {

// exp: x = n ln2 + r, |r| <= ln2 / 2; exp(r) = 1 + r + r^2 P(r). Relative error of the fit 5e-11.
inline constexpr float kLog2E = 0x1.715476p+0f;
inline constexpr float kExpLn2High = 0x1.62e43p-1f;
inline constexpr float kExpLn2Low = -0x1.05c61p-29f;
inline constexpr float kExp[6] = {0x1.9f080ap-13f, 0x1.6d8db2p-10f, 0x1.111272p-7f,
                                  0x1.55548ep-5f,  0x1.555554p-3f,  0.5f};  // highest power first
inline constexpr float kExpLowest = -87.0f;                                 // below: 0, so that no result is subnormal
inline constexpr float kExpHighest = 89.0f;                                 // from 88.7228 on: infinity
inline constexpr float kRoundMagic = 0x1.8p+23f;  // (x + magic) - magic rounds |x| < 2^22 to nearest even

// tanh(x) = x + x^3 P(x^2) for |x| < kTanhSplit, error 1.5e-10; 1 - 2 / (exp(2|x|) + 1) above.
inline constexpr float kTanhSplit = 0.625f;
inline constexpr float kTanh[6] = {0x1.197b18p-9f,  -0x1.0c212ap-7f, 0x1.6394d4p-6f,
                                   -0x1.b9ef7cp-5f, 0x1.11106cp-3f,  -0x1.555554p-2f};

// erf(x) = x + x P(x^2) for |x| < 1, error 3e-11; 1 - exp(Q(|x|)) for 1 <= |x| < 4, error 2e-11.
inline constexpr float kErfSmall[8] = {-0x1.44cfcap-17f, 0x1.d8b894p-14f, -0x1.bcd7ep-11f, 0x1.562b1ap-8f,
                                       -0x1.b829d8p-6f,  0x1.ce2f0ap-4f,  -0x1.812746p-2f, 0x1.06eba8p-3f};
inline constexpr float kErfcLog[8] = {-0x1.6c0644p-16f, 0x1.ceeab4p-12f, -0x1.1398e8p-8f, 0x1.9d0bc8p-6f,
                                      -0x1.bc18ccp-4f,  -0x1.4434f2p-1f, -0x1.212c2cp+0f, 0x1.8b3e0cp-13f};

// log(1 + f) = f - f^2 / 2 + f^3 P(f) for 1 + f in [sqrt(1/2), sqrt(2)), relative error 8e-10.
inline constexpr float kLog[9] = {0x1.1457ap-4f,   -0x1.de3c12p-4f, 0x1.e6f06cp-4f,  -0x1.fc220ap-4f, 0x1.233768p-3f,
                                  -0x1.555c4ep-3f, 0x1.99a4b6p-3f,  -0x1.000006p-2f, 0x1.555548p-2f};

// log(1 + u) = 2 s + 2 s^3 P(s^2), s = u / (2 + u), for 0 <= u <= 1: twice the area tangent. Relative error 1e-9.
inline constexpr float kLogPlus1[5] = {0x1.dba26p-4f, 0x1.bc8cf8p-4f, 0x1.24c926p-3f, 0x1.9998d4p-3f, 0x1.555556p-2f};

// gelu by tanh: 0.5 x (1 + tanh(kGeluScale x (1 + kGeluCubic x^2))).
inline constexpr float kGeluScale = 0x1.988454p-1f;  // sqrt(2 / pi)
inline constexpr float kGeluCubic = 0.044715f;
inline constexpr float kSqrtHalf = 0x1.6a09e6p-1f;

}  // namespace kinglet::math
