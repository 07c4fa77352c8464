// The kernels built for: aarch64 with the dot product instructions.
#include "kernels/simd/level_prelude.h"

#if defined(__aarch64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

#define KL_SMALL_CODE 1
#define KL_EMULATE_HALF 0
#define KL_NEON 1
#define KL_NEON_DOT 1

namespace kinglet::level_neondot {

constexpr IsaLevel kThisLevel = IsaLevel::kNeonDot;

#include "kernels/simd/vec_quad.inc"
//
#include "kernels/simd/level.inc"

}  // namespace kinglet::level_neondot

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
