// What the machine can do at best: the yardsticks that speeds are held against. Measured with loops that do nothing
// else, on one instruction set. Not a benchmark of kernels or models.
#pragma once

#include <vector>

#include "base/result.h"
#include "kernels/isa.h"

namespace kinglet {

struct MachineLimits {
  double read_gb_per_second = 0.0;      // sequential reads of memory far larger than the caches
  double int8_gop_per_second = 0.0;     // int8 multiplies and adds, both counted, from registers
  double float_gflop_per_second = 0.0;  // float multiplies and adds, both counted, from registers
};

// Best of several short runs on `threads` threads; about two seconds. kResource when the memory for the bandwidth run
// cannot be had.
Result<MachineLimits> measure_limits(IsaLevel level, int threads);

// The thread counts worth measuring: 1, 2, 4 … up to `most` (0: one a core), that one included.
std::vector<int> limit_thread_counts(int most);

}  // namespace kinglet
