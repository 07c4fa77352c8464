// The kernels built for: x86-64 with AVX-512 F, BW, DQ and VL.
#include "kernels/simd/level_prelude.h"

#if defined(__x86_64__) && !defined(KINGLET_FEWER_LEVELS)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#endif

#define KL_SMALL_CODE 0
#define KL_EMULATE_HALF 0
#define KL_VNNI 0

namespace kinglet::level_avx512 {

constexpr IsaLevel kThisLevel = IsaLevel::kAvx512;

#include "kernels/simd/vec_avx512.inc"
//
#include "kernels/simd/level.inc"

}  // namespace kinglet::level_avx512

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
