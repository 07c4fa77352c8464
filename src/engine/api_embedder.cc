// kinglet::api::Embedder in terms of engine/embed.h.
#include <algorithm>
#include <mutex>

#include "engine/api_failure.h"
#include "engine/embed.h"
#include "engine/loader.h"
#include "families/family.h"

namespace kinglet::api {

struct Embedder::State {
  std::unique_ptr<kinglet::Model> model;
  std::shared_ptr<const Tokenizer> tokenizer;
  EmbedOptions embed;
  int64_t limit = 0;
  bool truncate = false;
  std::mutex turn;
};

namespace {

Result<Pooling> choose_pooling(const Checkpoint& checkpoint, const ModelSpec& spec, const std::string& asked) {
  if (asked == "mean") return Pooling::kMean;
  if (asked == "cls") return Pooling::kFirst;
  if (asked == "last") return Pooling::kLast;
  if (!asked.empty())
    return Error{ErrorCode::kInvalid, "pooling is \"" + asked + "\"; expected \"mean\", \"cls\" or \"last\""};
  return pooling_of(checkpoint, spec);
}

template <class State>
Status load_into(State& state, const std::string& path, const EmbedderOptions& options) {
  KL_TRY(const auto checkpoint, open_checkpoint(path));
  KL_TRY(const BoundModel bound, bind_model(*checkpoint));
  KL_TRY(state.embed.pooling, choose_pooling(*checkpoint, bound.spec, options.pooling));
  state.embed.normalise = options.normalize;
  state.embed.dimensions = options.dimensions;
  if (options.dimensions < 0 || options.dimensions > bound.spec.width)
    return Error{ErrorCode::kInvalid, "dimensions is " + std::to_string(options.dimensions) +
                                          "; expected at most the model's " + std::to_string(bound.spec.width)};
  KL_TRY(state.tokenizer, Tokenizer::from_checkpoint(*checkpoint));
  KL_RETURN_IF_ERROR(state.tokenizer->check_vocabulary(bound.spec.vocabulary));
  KL_TRY(state.limit, text_limit(*checkpoint, bound.spec));
  state.truncate = options.truncate;
  ModelOptions inner;
  inner.compute = options.exact ? ComputeMode::kF32 : ComputeMode::kInt8;
  inner.kv_type = KvType::kF32;
  inner.page_positions = 16;
  inner.threads = options.threads;
  KL_TRY(state.model, load_state_model(checkpoint, inner, state.limit));
  return {};
}

template <class State>
Result<std::vector<std::vector<float>>> embed_all(State& state, std::span<const std::string> texts) {
  std::vector<TokenText> encoded;
  for (size_t i = 0; i < texts.size(); i++) {
    auto tokens = encode_within(*state.tokenizer, texts[i], state.limit, state.truncate);
    if (!tokens.ok())
      return Error{tokens.error().code, "text " + std::to_string(i + 1) + ": " + tokens.error().message};
    encoded.push_back({std::move(tokens).value(), {}});
  }
  std::vector<std::vector<float>> rows;
  const std::lock_guard lock(state.turn);
  KL_RETURN_IF_ERROR(embed_texts(*state.model, encoded, state.embed, [&](size_t, std::span<const float> row) -> Status {
    rows.emplace_back(row.begin(), row.end());
    return {};
  }));
  return rows;
}

}  // namespace

Outcome<Embedder> Embedder::load(const std::string& path, const EmbedderOptions& options) {
  auto state = std::make_shared<State>();
  const Status loaded = load_into(*state, path, options);
  if (!loaded.ok()) return failure_of(loaded.error());
  return Embedder(std::move(state));
}

int64_t Embedder::dimensions() const {
  return state_->embed.dimensions > 0 ? state_->embed.dimensions : state_->model->spec().width;
}

Outcome<std::vector<std::vector<float>>> Embedder::embed(std::span<const std::string> texts) const {
  return outcome_of(embed_all(*state_, texts));
}

}  // namespace kinglet::api
