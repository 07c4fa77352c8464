// The kernels built for: x86-64 with AVX2, FMA, F16C and AVX-VNNI.
#include "kernels/simd/level_prelude.h"

#if defined(__x86_64__) && !defined(KINGLET_FEWER_LEVELS)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avxvnni")
#endif

#define KL_SMALL_CODE 0
#define KL_EMULATE_HALF 0
#define KL_VNNI 1

namespace kinglet::level_avxvnni {

constexpr IsaLevel kThisLevel = IsaLevel::kAvxVnni;

#include "kernels/simd/vec_avx2.inc"
//
#include "kernels/simd/level.inc"

}  // namespace kinglet::level_avxvnni

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
