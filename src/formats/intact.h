// Whether the files of a checkpoint still hold what was mapped: asked after reading tensors, before trusting a result.
#pragma once

#include "base/result.h"
#include "formats/checkpoint.h"

namespace kinglet {

// kIo, naming the file, when one was shortened while it was read; zeros were read in place of what it lost.
Status check_intact(const Checkpoint& checkpoint);

}  // namespace kinglet
