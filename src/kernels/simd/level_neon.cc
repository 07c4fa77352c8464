// The kernels built for: aarch64.
#include "kernels/simd/level_prelude.h"

#if defined(__aarch64__)

#define KL_SMALL_CODE 1
#define KL_EMULATE_HALF 0
#define KL_NEON 1
#define KL_NEON_DOT 0

namespace kinglet::level_neon {

constexpr IsaLevel kThisLevel = IsaLevel::kNeon;

#include "kernels/simd/vec_quad.inc"
//
#include "kernels/simd/level.inc"

}  // namespace kinglet::level_neon

#endif
