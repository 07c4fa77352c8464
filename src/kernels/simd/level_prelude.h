// What every level_*.cc includes before it opens its target region: system and project headers must not be compiled for
// a level, or the linker could keep a shared inline function that only newer processors can run. The .inc files that
// follow are included inside one namespace per level and include nothing themselves.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "base/iq_grids.h"
#include "kernels/kv_layout.h"
#include "kernels/math.h"
#include "kernels/math_constants.h"
#include "kernels/ops_recurrent.h"
#include "kernels/packed/layout.h"
#include "kernels/table.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define KL_INLINE static inline __attribute__((always_inline))
#define KL_NOINLINE static __attribute__((noinline))
#define KL_UNROLL _Pragma("GCC unroll 16")
#define KL_NO_UNROLL _Pragma("GCC unroll 1")
