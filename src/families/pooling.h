// How the states of a text's tokens become one vector, as a checkpoint says it: modules.json and its neighbours of
// sentence-transformers, or GGUF's pooling_type.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "formats/checkpoint.h"

namespace kinglet {

enum class Pooling : uint8_t {
  kMean,   // over all tokens, special ones too
  kFirst,  // the state of the first token ([CLS])
  kLast,
};

std::string_view pooling_name(Pooling pooling);  // "mean", "cls", "last"

uint32_t gguf_number_of(Pooling pooling);  // of "<architecture>.pooling_type"

// Nothing where the checkpoint says nothing of it. kUnsupported names a module or a pooling that Kinglet doesn't know.
Result<std::optional<Pooling>> stated_pooling(const Checkpoint& checkpoint);

// The longest text in tokens that the model is used with (sentence_bert_config.json: max_seq_length), which may be less
// than its context; 0: nothing is said.
Result<int64_t> stated_text_limit(const Checkpoint& checkpoint);

}  // namespace kinglet
