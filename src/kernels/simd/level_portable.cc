// The kernels built for: Any machine.
#include "kernels/simd/level_prelude.h"

#define KL_SMALL_CODE 1
#define KL_EMULATE_HALF 1
#define KL_NEON 0
#define KL_NEON_DOT 0

namespace kinglet::level_portable {

constexpr IsaLevel kThisLevel = IsaLevel::kPortable;

#include "kernels/simd/vec_quad.inc"
//
#include "kernels/simd/level.inc"

}  // namespace kinglet::level_portable
