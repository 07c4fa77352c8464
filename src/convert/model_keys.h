// What a model's GGUF file says about it, apart from its tokenizer, and whether that is all there is to say. Internal
// to convert/.
#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "convert/gguf_writer.h"
#include "convert/tensor_stream.h"
#include "families/gguf_names.h"

namespace kinglet::convert {

// The keys that state `spec`, whose last `predictions` layers predict further tokens. A key stands in the file where
// the model has something to state by it.
void add_model_keys(const ModelSpec& spec, int64_t predictions, const std::string& architecture, GgufKeys& keys);

// Reads the keys back, as the family does that will read the file. kUnsupported, naming the first fact that came back
// as another one: GGUF has no way to state it, and the file would be another model.
Status check_expressible(const ModelSpec& spec, const GgufForm& form, const GgufKeys& keys,
                         std::span<const TensorJob> jobs);

}  // namespace kinglet::convert
