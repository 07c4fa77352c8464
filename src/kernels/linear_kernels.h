// The functions of one instruction set behind linear(): products over a range of row blocks, and the activation
// quantiser.
#pragma once

namespace kinglet {

struct LinearKernels {};

}  // namespace kinglet
