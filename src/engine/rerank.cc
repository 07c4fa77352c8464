#include "engine/rerank.h"

#include <algorithm>
#include <optional>

#include "text/judge_prompt.h"

namespace kinglet {
namespace {

using Tokens = std::vector<int32_t>;

void append(Tokens& to, const Tokens& more) {
  to.insert(to.end(), more.begin(), more.end());
}

// Cuts the end of a document off where that is wished, so that it fits between `around` other tokens.
Status fit(Tokens& document, size_t around, const PairOptions& options) {
  const auto limit = static_cast<size_t>(options.limit), whole = document.size() + around;
  if (whole <= limit) return {};
  const std::string numbers =
      std::to_string(whole) + " tokens with the query, more than the " + std::to_string(limit) + " allowed";
  if (!options.truncate) return Error{ErrorCode::kInvalid, numbers};
  if (around >= limit) return Error{ErrorCode::kInvalid, numbers + ", and the query leaves no room for a document"};
  document.resize(limit - around);
  return {};
}

// BERT: [CLS] query [SEP] document [SEP], the second part of another type; RoBERTa: two separators between them.
Result<TokenText> cross_pair(const ModelSpec& spec, const Tokenizer& tokenizer, std::string_view query,
                             std::string_view document, const PairOptions& options) {
  KL_TRY(const Tokens empty, tokenizer.encode(""));
  if (empty.size() != 2)
    return Error{ErrorCode::kUnsupported, "the tokenizer puts " + std::to_string(empty.size()) +
                                              " tokens around a text, a cross-encoder's puts 2"};
  const bool word_piece = tokenizer.kind() == "bert/wordpiece" || tokenizer.kind() == "tokenizer.json/WordPiece";
  TokenText pair;
  KL_TRY(pair.tokens, tokenizer.encode(query));
  if (!word_piece) pair.tokens.push_back(empty.back());
  KL_TRY(Tokens second, tokenizer.encode(document, {.add_special = false}));
  const size_t first = pair.tokens.size();
  KL_RETURN_IF_ERROR(fit(second, first + 1, options));
  append(pair.tokens, second);
  pair.tokens.push_back(empty.back());
  if (word_piece && spec.encoder.token_types > 1) {
    pair.types.assign(pair.tokens.size(), 1);
    std::fill_n(pair.types.begin(), first, 0);
  }
  return pair;
}

// Text of strangers holds no special tokens.
Result<TokenText> judged_pair(const Tokenizer& tokenizer, std::string_view query, std::string_view document,
                              const PairOptions& options) {
  const std::string_view instruction = options.instruction.empty() ? kJudgeInstruction : options.instruction;
  const std::string body = judge_body(instruction, query, document);
  TokenText pair;
  KL_TRY(pair.tokens, tokenizer.encode(kJudgeBefore, {.add_special = false}));
  KL_TRY(Tokens middle, tokenizer.encode(body, {.add_special = false, .parse_special = false}));
  KL_TRY(const Tokens behind, tokenizer.encode(kJudgeBehind, {.add_special = false}));
  KL_RETURN_IF_ERROR(fit(middle, pair.tokens.size() + behind.size(), options));
  append(pair.tokens, middle);
  append(pair.tokens, behind);
  return pair;
}

}  // namespace

Result<RankHead> rank_head(const BoundModel& model, const Tokenizer& tokenizer, const std::string& path) {
  RankHead head;
  head.labels = model.spec.labels;
  if (model.spec.is_encoder() && head.labels == 1) return head;
  if (model.spec.family == "qwen3" && head.labels <= 2) {
    head.kind = head.labels > 0 ? RankHead::Kind::kJudgeLabels : RankHead::Kind::kJudgeTokens;
    if (head.labels > 0) return head;
    const std::optional<int32_t> yes = tokenizer.id_of("yes"), no = tokenizer.id_of("no");
    if (yes && no && tokenizer.id_of("<|im_start|>")) {
      head.yes = *yes;
      head.no = *no;
      return head;
    }
  }
  std::string what = "generates text";
  if (head.labels > 0)
    what = "tells " + std::to_string(head.labels) + " labels apart";
  else if (!model.has_head())
    what = "has no classification head (`kinglet embed` makes embeddings with it)";
  return Error{ErrorCode::kUnsupported,
               path + ": the model " + what + "; rerank takes cross-encoders with one label, and Qwen3-Reranker"};
}

Result<TokenText> encode_pair(const RankHead& head, const ModelSpec& spec, const Tokenizer& tokenizer,
                              std::string_view query, std::string_view document, const PairOptions& options) {
  return head.kind == RankHead::Kind::kCrossEncoder ? cross_pair(spec, tokenizer, query, document, options)
                                                    : judged_pair(tokenizer, query, document, options);
}

Status rank_pairs(Model& model, const RankHead& head, std::span<const TokenText> pairs,
                  const std::function<Status(size_t, float)>& logit) {
  const bool first = head.kind == RankHead::Kind::kCrossEncoder;
  return each_state(model, pairs, !first, [&](size_t pair, int64_t position, std::span<const float> state) -> Status {
    if (first && position != 0) return {};
    if (head.kind == RankHead::Kind::kJudgeTokens)
      return logit(pair, model.token_logit(state, head.yes) - model.token_logit(state, head.no));
    const std::vector<float> labels = model.classify(state);
    return logit(pair, labels.size() == 2 ? labels[0] - labels[1] : labels[0]);  // "yes" and "no"
  });
}

}  // namespace kinglet
