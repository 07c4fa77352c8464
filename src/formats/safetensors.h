// Reader of one safetensors file (huggingface/safetensors describes the format). Internal to formats/.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/tensor_view.h"

namespace kinglet {

// Parses a whole file that lies in memory; the views point into `bytes`, in the order of their data. As the format
// demands, the tensors tile the data section without hole or overlap.
Result<std::vector<TensorView>> parse_safetensors(std::span<const std::byte> bytes, const std::string& name);

}  // namespace kinglet
