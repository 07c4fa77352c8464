// A folder's tokenizer as GGUF keys (tokenizer.ggml.*), from tokenizer.json. Internal to convert/.
#pragma once

#include <string>

#include "base/result.h"
#include "convert/gguf_writer.h"
#include "families/model_spec.h"
#include "formats/checkpoint.h"

namespace kinglet::convert {

// Tokens that the vocabulary lacks are filled up to the rows of the embedding. Nothing is added where the folder has no
// tokenizer.json. `pre`: forces tokenizer.ggml.pre of byte-level vocabularies.
Status add_vocabulary(const Checkpoint& checkpoint, const ModelSpec& spec, const std::string& pre, GgufKeys& keys);

}  // namespace kinglet::convert
