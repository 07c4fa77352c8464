// Embeddings of texts: their tokens' states behind the last layer, pooled into one vector. Synchronous, many texts in a
// step; a text has the same bits whatever stands beside it. Not for generation: the model must not be in use by an
// engine.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "nn/model.h"
#include "nn/pool_states.h"
#include "text/tokenizer.h"

namespace kinglet {

struct TokenText {
  std::vector<int32_t> tokens;
  std::vector<int32_t> types;  // of an encoder: one a token, or empty for all 0
};

// How the checkpoint says that states become an embedding; kUnsupported where it doesn't say so.
Result<Pooling> pooling_of(const Checkpoint& checkpoint, const ModelSpec& spec);
// The longest text in tokens: what the model is used with, or else what it was trained for.
Result<int64_t> text_limit(const Checkpoint& checkpoint, const ModelSpec& spec);

// The tokens of a text with what the model puts around it. A text of more than `limit` tokens is kInvalid, or with
// `truncate` loses tokens of its own at the end.
Result<std::vector<int32_t>> encode_within(const Tokenizer& tokenizer, std::string_view text, int64_t limit,
                                           bool truncate);

// Calls row(i, embedding of texts[i]) in order; the embedding lives until row returns, and an error of row ends the run
// and is returned. kInvalid for texts without tokens or with more than model.context(), for ids outside the vocabulary
// and for more dimensions than there are; kResource when memory runs out.
Status embed_texts(Model& model, std::span<const TokenText> texts, const EmbedOptions& options,
                   const std::function<Status(size_t text, std::span<const float> embedding)>& row);

// The states themselves, for heads over them: state(i, position, [width]) in order, for the last token of each text or
// for all.
Status each_state(Model& model, std::span<const TokenText> texts, bool last_only,
                  const std::function<Status(size_t text, int64_t position, std::span<const float> state)>& state);

}  // namespace kinglet
