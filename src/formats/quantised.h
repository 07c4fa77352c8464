// Quantised matrices of Hugging Face folders: the parts that a scheme stores apart become one tensor each. Internal to
// formats/.
#pragma once

#include "base/result.h"
#include "formats/checkpoint.h"

namespace kinglet {

// Replaces the parts of every quantised matrix by one TensorView whose rows are put together on demand: "X.weight" with
// the dimensions that a plain linear layer has ([out, in]), or a stack of such. Expects an indexed checkpoint, and
// leaves one; describes the scheme in `quantisation`. The files stay as they are, nothing is widened.
Status assemble_quantised(Checkpoint& checkpoint);

}  // namespace kinglet
