#include "families/experts.h"

#include <algorithm>

namespace kinglet {
namespace {

void check_counts(FieldReader& r, std::string_view key, const MoeSpec& m) {
  if (m.used > m.experts)
    r.fail(key, "found " + std::to_string(m.used) + " experts used of " + std::to_string(m.experts));
  if (m.groups < 1 || m.experts % m.groups != 0 || m.groups_used < 1 || m.groups_used > m.groups)
    r.fail(key, "found " + std::to_string(m.groups_used) + " of " + std::to_string(m.groups) +
                    " groups used, expected groups that divide " + std::to_string(m.experts) + " experts");
  else if (m.groups > 1 && m.groups_used * (m.experts / m.groups) < m.used)
    r.fail(key, "found " + std::to_string(m.used) + " experts used, more than the chosen groups have: " +
                    std::to_string(m.groups_used * (m.experts / m.groups)));
  if (m.group_by_top2 && m.groups > 1 && m.experts / m.groups < 2)
    r.fail(key, "groups of one expert have no two best ones");
}

// What GGUF's expert_gating_func says.
MoeSpec::Scoring scoring_of(FieldReader& r, MoeSpec::Scoring otherwise) {
  using Scoring = MoeSpec::Scoring;
  switch (r.integer_or("expert_gating_func", 0, 1 << 16, 0)) {
    case 0:
      return otherwise;
    case 1:
      return Scoring::kSoftmax;
    case 2:
      return Scoring::kSigmoid;
    case 3:
      return Scoring::kSoftmaxSelected;
    case 4:
      return Scoring::kSqrtSoftplus;
    default:
      r.unsupported("expert_gating_func",
                    "supported are 1 (softmax), 2 (sigmoid), 3 (softmax of the selected), 4 (sqrt of softplus)");
      return otherwise;
  }
}

}  // namespace

void experts_from_gguf(FieldReader& r, ModelSpec& spec, MoeSpec m) {
  m.experts = r.integer_or("expert_count", 0, kMaxDimension, 0);
  if (m.experts == 0) return;
  m.used = r.integer("expert_used_count", 1, kMaxDimension);
  m.hidden = r.integer_or("expert_feed_forward_length", 1, kMaxDimension, spec.layers[0].ffn.hidden);
  m.scoring = scoring_of(r, m.scoring);
  m.groups = r.integer_or("expert_group_count", 1, kMaxDimension, m.groups);
  m.groups_used = r.integer_or("expert_group_used_count", 1, kMaxDimension, m.groups_used);
  m.normalise = r.boolean_or("expert_weights_norm", m.normalise);
  const double scale = r.number_or("expert_weights_scale", m.scale);
  m.scale = scale == 0.0 ? 1.0 : scale;  // files without a scale may say 0
  if (m.normalise && m.scoring != MoeSpec::Scoring::kSoftmax) m.normalise_epsilon = 1e-20;
  const int64_t shared = r.integer_or("expert_shared_count", 0, kMaxDimension, m.shared_hidden > 0 ? 1 : 0);
  if (r.has("expert_shared_feed_forward_length"))
    m.shared_hidden = r.integer("expert_shared_feed_forward_length", 0, kMaxDimension);
  else
    m.shared_hidden = std::min(shared * m.hidden, kMaxDimension);
  check_counts(r, "expert_used_count", m);
  use_experts_from(spec, r.integer_or("leading_dense_block_count", 0, kMaxLayers, 0), m);
}

MoeSpec experts_from_config(FieldReader& r, const ExpertKeys& keys) {
  MoeSpec m;
  m.experts = r.integer(keys.experts, 1, kMaxDimension);
  m.used = r.integer(keys.used, 1, kMaxDimension);
  m.hidden = r.integer(keys.hidden, 1, kMaxDimension);
  check_counts(r, keys.used, m);
  return m;
}

MoeSpec biased_experts_from_config(FieldReader& r, const ExpertKeys& keys) {
  MoeSpec m = experts_from_config(r, keys);
  m.scoring = MoeSpec::Scoring::kSigmoid;
  m.groups = r.integer_or(keys.groups, 1, kMaxDimension, 1);
  m.groups_used = r.integer_or("topk_group", 1, kMaxDimension, 1);
  m.group_by_top2 = true;
  m.normalise = r.boolean_or(keys.normalise, true);
  m.normalise_epsilon = 1e-20;
  m.scale = r.number_or("routed_scaling_factor", 1.0);
  const int64_t shared = r.integer_or(keys.shared, 0, kMaxLayers, 0);
  m.shared_hidden = std::min(shared * m.hidden, kMaxDimension);
  check_counts(r, "topk_group", m);
  return m;
}

void use_experts_from(ModelSpec& spec, int64_t first, const MoeSpec& moe) {
  for (auto i = static_cast<size_t>(first); i < spec.layers.size(); i++) spec.layers[i].ffn.moe = moe;
}

void use_experts_by_step(FieldReader& r, ModelSpec& spec, const MoeSpec& moe) {
  const int64_t step = r.integer_or("decoder_sparse_step", 1, kMaxLayers, 1);
  std::vector<int64_t> dense;
  if (r.has("mlp_only_layers")) dense = r.integers("mlp_only_layers");
  for (size_t i = 0; i < spec.layers.size(); i++) {
    const auto layer = static_cast<int64_t>(i);
    if ((layer + 1) % step == 0 && std::find(dense.begin(), dense.end(), layer) == dense.end())
      spec.layers[i].ffn.moe = moe;
  }
}

void split_off_prediction_layers(FieldReader& r, ModelSpec& spec) {
  spec.prediction_layers = r.integer_or("nextn_predict_layers", 0, kMaxLayers, 0);
  const auto layers = static_cast<int64_t>(spec.layers.size());
  if (spec.prediction_layers >= layers) {
    r.fail("nextn_predict_layers", "found " + std::to_string(spec.prediction_layers) + " of " + std::to_string(layers) +
                                       " layers, expected fewer");
    return;
  }
  spec.layers.resize(static_cast<size_t>(layers - spec.prediction_layers));
}

}  // namespace kinglet
