// The kernels built for: x86-64 with AVX but neither AVX2 nor FMA.
#include "kernels/simd/level_prelude.h"

#if defined(__x86_64__) && !defined(KINGLET_FEWER_LEVELS)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx")
#endif

#define KL_SMALL_CODE 1
#define KL_EMULATE_HALF 1

namespace kinglet::level_avx {

constexpr IsaLevel kThisLevel = IsaLevel::kAvx;

#include "kernels/simd/vec_avx.inc"
//
#include "kernels/simd/level.inc"

}  // namespace kinglet::level_avx

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
