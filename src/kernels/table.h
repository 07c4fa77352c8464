// One instruction set's functions. The operations of ops.h split their work over the pool and call these; nothing else
// does.
#pragma once

#include "kernels/isa.h"
#include "kernels/linear_kernels.h"
#include "kernels/peak_kernels.h"
#include "kernels/recurrent_kernels.h"
#include "kernels/row_kernels.h"

namespace kinglet {

struct KernelTable {
  IsaLevel level;
  LinearKernels linear;
  RowKernels rows;
  RecurrentKernels recurrent;
  PeakKernels peak = {};
};

}  // namespace kinglet
