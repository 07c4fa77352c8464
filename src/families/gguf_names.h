// What a model's weights are called in GGUF files, whatever it was read from.
#pragma once

#include <string>

#include "families/family.h"

namespace kinglet {

// The family that reads the GGUF files of `source`'s models (Mistral's files are Llama's), and what those of this
// recipe call themselves. kUnsupported where there are none.
struct GgufForm {
  std::string architecture;
  const Family* family = nullptr;
};
Result<GgufForm> gguf_form(const Family& source, const ModelSpec& spec);

// The rule under which a converter writes a slot; nullptr where the files don't have it. Of several, the one for the
// tensor that the weights come from (queries with and without a bottleneck have different names).
const TensorRule* gguf_rule(const Family& family, const BoundTensor& bound);

// "blk.{}.attn_q.weight", 3 -> "blk.3.attn_q.weight"
std::string tensor_name(std::string_view pattern, int layer);

}  // namespace kinglet
