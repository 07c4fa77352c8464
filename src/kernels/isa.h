// Instruction-set levels, and the choice of one at start. Every level computes the same bits; they differ in speed
// only.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"

namespace kinglet {

enum class IsaLevel {
  kPortable,    // any machine: GCC/clang vector extensions, exact fused multiply-add through doubles
  kAvx,         // 256-bit floats, no FMA (chips of 2011)
  kAvx2,        // AVX2 + FMA + F16C
  kAvxVnni,     // AVX2 + AVX-VNNI (256-bit vpdpbusd)
  kAvx512,      // F, BW, DQ, VL
  kAvx512Vnni,  // the same + VNNI
  kNeon,        // aarch64 baseline
  kNeonDot,     // + dotprod
};

std::string_view isa_name(IsaLevel level);  // "portable", "avx2", "avx512vnni", …

// Levels that are compiled in and that this machine can run, slowest first; kPortable is always among them.
std::vector<IsaLevel> available_isa_levels();

// The level to use: `forced` if not empty (a name; Error lists the available ones), else the KINGLET_ISA environment
// variable, else the best available.
Result<IsaLevel> choose_isa_level(std::string_view forced = "");

}  // namespace kinglet
