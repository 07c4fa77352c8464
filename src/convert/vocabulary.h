// A folder's tokenizer as GGUF keys (tokenizer.ggml.*), from tokenizer.json. Internal to convert/.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "convert/gguf_writer.h"
#include "formats/checkpoint.h"

namespace kinglet::convert {

// `rows`: of the embedding; tokens that the vocabulary lacks are filled up. Nothing is added where the folder has no
// tokenizer.json. `pre`: forces tokenizer.ggml.pre.
Status add_vocabulary(const Checkpoint& checkpoint, int64_t rows, const std::string& pre, GgufKeys& keys);

}  // namespace kinglet::convert
