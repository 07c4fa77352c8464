// How well documents answer a query, by a model made for it: a cross-encoder, which reads both and has one label, or
// Qwen3-Reranker, which is asked for "yes" or "no". Not for generation.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/embed.h"
#include "families/family.h"
#include "text/tokenizer.h"

namespace kinglet {

struct RankHead {
  enum class Kind : uint8_t { kCrossEncoder, kJudgeLabels, kJudgeTokens } kind = Kind::kCrossEncoder;
  int64_t labels = 0;
  int32_t yes = -1, no = -1;  // tokens, of kJudgeTokens
};

// kUnsupported for models that rank nothing.
Result<RankHead> rank_head(const BoundModel& model, const Tokenizer& tokenizer, const std::string& path);

struct PairOptions {
  std::string instruction = {};  // what a document is wanted for; empty: the reranker's own (cross-encoders take none)
  int64_t limit = 0;             // tokens of a pair at most
  bool truncate = false;         // cut longer documents at their end, instead of kInvalid
};

// The tokens that a model reads for a query and a document.
Result<TokenText> encode_pair(const RankHead& head, const ModelSpec& spec, const Tokenizer& tokenizer,
                              std::string_view query, std::string_view document, const PairOptions& options);

// Calls logit(i, of pairs[i]) in order: the higher, the better the answer. Errors as embed_texts.
Status rank_pairs(Model& model, const RankHead& head, std::span<const TokenText> pairs,
                  const std::function<Status(size_t pair, float logit)>& logit);

}  // namespace kinglet
