// Hunyuan V3 (HY3): normed heads, a dense layer first, then experts scored by sigmoid with a bias for the choice and
// shared ones beside. Source: transformers models/hy_v3.
#include <algorithm>

#include "families/experts.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kGguf[] = {"hy_v3"};
constexpr std::string_view kHf[] = {"HYV3ForCausalLM"};
constexpr std::array<TensorRule, 8> kNames = {{
    {Slot::kQNorm, "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight"},
    {Slot::kKNorm, "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight"},
    {Slot::kRouter, "", "model.layers.{}.mlp.router.gate.weight"},
    {Slot::kSelectionBias, "blk.{}.exp_probs_b", "model.layers.{}.mlp.expert_bias", false},
    {Slot::kSelectionBias, "", "model.layers.{}.mlp.e_score_correction_bias", false},
    {Slot::kSharedGate, "", "model.layers.{}.mlp.shared_mlp.gate_proj.weight"},
    {Slot::kSharedUp, "", "model.layers.{}.mlp.shared_mlp.up_proj.weight"},
    {Slot::kSharedDown, "", "model.layers.{}.mlp.shared_mlp.down_proj.weight"},
}};
constexpr auto kTensors =
    join_rules(kCommonMatrices, kPreNorms, kHalfSplitQk, kNames, kGgufExperts, kHfExperts, kHfSharedExperts);

void use_head_norms(ModelSpec& spec) {
  for (LayerSpec& layer : spec.layers) layer.attention.qk_norm = AttentionSpec::QkNorm::kPerHead;
}

Result<ModelSpec> from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  use_head_norms(spec);
  FieldReader r(checkpoint.metadata, "hy_v3.");
  split_off_prediction_layers(r, spec);
  KL_RETURN_IF_ERROR(r.status());
  MoeSpec moe;
  moe.scoring = MoeSpec::Scoring::kSigmoid;
  moe.normalise = true;
  experts_from_gguf(r, spec, moe);
  KL_RETURN_IF_ERROR(r.status());
  for (size_t i = 0; i < spec.layers.size(); i++)  // the file says by its tensors which layers are dense
    if (!checkpoint.find("blk." + std::to_string(i) + ".ffn_gate_inp.weight")) spec.layers[i].ffn.moe = {};
  return spec;
}

Result<ModelSpec> from_config(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", false);
  spec.prediction_layers = r.integer_or("num_nextn_predict_layers", 0, kMaxLayers, 0);
  if (!r.boolean_or("moe_router_use_sigmoid", true))
    r.unsupported("moe_router_use_sigmoid", "found false, only scores by sigmoid are supported");
  MoeSpec moe = experts_from_config(r, {"num_experts", "num_experts_per_tok", "moe_intermediate_size"});
  moe.scoring = MoeSpec::Scoring::kSigmoid;
  moe.normalise = r.boolean_or("route_norm", true);
  moe.normalise_epsilon = 1e-20;
  moe.scale = r.number_or("router_scaling_factor", 1.0);
  moe.shared_hidden = std::min(r.integer_or("num_shared_experts", 0, kMaxLayers, 1) * moe.hidden, kMaxDimension);
  std::vector<std::string> types;
  if (r.has("mlp_layer_types")) {
    types = r.strings("mlp_layer_types");
    if (types.size() != spec.layers.size())
      r.fail("mlp_layer_types", "found " + std::to_string(types.size()) +
                                    " entries, expected one a layer: " + std::to_string(spec.layers.size()));
  }
  const auto dense = static_cast<size_t>(r.integer_or("first_k_dense_replace", 0, kMaxLayers, 1));
  KL_RETURN_IF_ERROR(r.status());
  for (size_t i = 0; i < spec.layers.size(); i++)
    if (types.empty() ? i >= dense : types[i] == "sparse") spec.layers[i].ffn.moe = moe;
  if (r.boolean_or("qk_norm", true)) use_head_norms(spec);
  return spec;
}

}  // namespace

const Family kHunyuanV3 = {"hunyuan-v3", kGguf, kHf, from_gguf, from_config, kTensors};

}  // namespace kinglet
