// Kimi Linear: three layers of delta rule with a decay for each key channel to one of latent attention without rotary
// embedding; experts behind a dense layer, scored by sigmoid with a bias for the selection. Sources: transformers
// models/kimi_linear; arXiv 2510.26692.
#include <algorithm>

#include "families/experts.h"
#include "families/families.h"
#include "families/latent.h"

namespace kinglet {
namespace {

constexpr std::string_view kGguf[] = {"kimi-linear"};
constexpr std::string_view kHf[] = {"KimiLinearForCausalLM"};
constexpr std::array<TensorRule, 15> kDelta = {{
    {Slot::kDeltaQ, "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight"},
    {Slot::kDeltaK, "blk.{}.attn_k.weight", "model.layers.{}.self_attn.k_proj.weight"},
    {Slot::kDeltaV, "blk.{}.attn_v.weight", "model.layers.{}.self_attn.v_proj.weight"},
    {Slot::kConvolutionQ, "blk.{}.ssm_conv1d_q.weight", "model.layers.{}.self_attn.q_conv1d.weight"},
    {Slot::kConvolutionK, "blk.{}.ssm_conv1d_k.weight", "model.layers.{}.self_attn.k_conv1d.weight"},
    {Slot::kConvolutionV, "blk.{}.ssm_conv1d_v.weight", "model.layers.{}.self_attn.v_conv1d.weight"},
    {Slot::kDecayDown, "blk.{}.ssm_f_a.weight", "model.layers.{}.self_attn.f_a_proj.weight"},
    {Slot::kDecayUp, "blk.{}.ssm_f_b.weight", "model.layers.{}.self_attn.f_b_proj.weight"},
    {Slot::kGateDown, "blk.{}.ssm_g_a.weight", "model.layers.{}.self_attn.g_a_proj.weight"},
    {Slot::kGateUp, "blk.{}.ssm_g_b.weight", "model.layers.{}.self_attn.g_b_proj.weight"},
    {Slot::kRecurrentBeta, "blk.{}.ssm_beta.weight", "model.layers.{}.self_attn.b_proj.weight"},
    {Slot::kDecayRate, "blk.{}.ssm_a", "model.layers.{}.self_attn.A_log", true, Transform::kNone,
     Transform::kNegativeExp},
    {Slot::kDecayBias, "blk.{}.ssm_dt.bias", "model.layers.{}.self_attn.dt_bias"},
    {Slot::kRecurrentNorm, "blk.{}.ssm_norm.weight", "model.layers.{}.self_attn.o_norm.weight"},
    {Slot::kRecurrentOutput, "blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight"},
}};
constexpr std::array<TensorRule, 4> kSparseBlockExtras = {{
    {Slot::kSelectionBias, "", "model.layers.{}.block_sparse_moe.gate.e_score_correction_bias", false},
    {Slot::kSharedGate, "", "model.layers.{}.block_sparse_moe.shared_experts.gate_proj.weight"},
    {Slot::kSharedUp, "", "model.layers.{}.block_sparse_moe.shared_experts.up_proj.weight"},
    {Slot::kSharedDown, "", "model.layers.{}.block_sparse_moe.shared_experts.down_proj.weight"},
}};
constexpr auto kTensors =
    join_rules(kGatedFfn, kPreNorms, kLatentAttention, kDelta, kGgufExperts, kHfSparseBlock, kSparseBlockExtras);

// Every layer has latent attention so far: takes its rotation away, and makes those that `recurs` names recurrent.
void set_layers(ModelSpec& spec, RecurrentSpec recurrent, const std::vector<bool>& recurs) {
  recurrent.value_heads = recurrent.key_heads;
  recurrent.value_dim = recurrent.key_dim;
  recurrent.norm_epsilon = spec.norm_epsilon;
  for (size_t i = 0; i < spec.layers.size(); i++) {
    LayerSpec& layer = spec.layers[i];
    layer.attention.rope = {};
    layer.recurrent = recurrent;
    if (recurs[i]) layer.mixer = Mixer::kKimiDelta;
  }
}

Result<ModelSpec> from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  FieldReader r(checkpoint.metadata, "kimi-linear.");
  latent_attention_from_gguf(r, spec);
  MoeSpec moe;
  moe.scoring = MoeSpec::Scoring::kSigmoid;
  moe.normalise = true;
  moe.group_by_top2 = true;
  moe.shared_hidden = 1;  // as many as expert_shared_count says
  experts_from_gguf(r, spec, moe);
  RecurrentSpec recurrent;
  recurrent.conv_kernel = r.integer("ssm.conv_kernel", 2, 8);
  recurrent.key_dim = r.integer("kda.head_dim", 1, kMaxDimension);
  recurrent.key_heads = spec.layers[0].attention.heads;
  // A list with 0 for the layers that have no cache.
  const std::vector<int64_t> kv_heads = r.integers("attention.head_count_kv");
  if (kv_heads.size() < spec.layers.size()) r.fail("attention.head_count_kv", "expected a number a layer");
  KL_RETURN_IF_ERROR(r.status());
  std::vector<bool> recurs;
  for (size_t i = 0; i < spec.layers.size(); i++) recurs.push_back(kv_heads[i] == 0);
  set_layers(spec, recurrent, recurs);
  return spec;
}

Result<ModelSpec> from_config(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", false);
  spec.prediction_layers = r.integer_or("num_nextn_predict_layers", 0, kMaxLayers, 0);
  latent_attention_from_config(r, spec);
  if (!r.boolean_or("mla_use_nope", true)) r.unsupported("mla_use_nope", "found false, supported is true");
  if (const std::string score = r.string_or("moe_router_activation_func", "sigmoid"); score != "sigmoid")
    r.unsupported("moe_router_activation_func", "found \"" + score + "\", supported is sigmoid");
  use_experts_from(spec, r.integer_or("first_k_dense_replace", 0, kMaxLayers, 1),
                   biased_experts_from_config(r, {"num_experts", "num_experts_per_token", "moe_intermediate_size",
                                                  "num_expert_group", "moe_renormalize", "num_shared_experts"}));
  RecurrentSpec recurrent;
  recurrent.conv_kernel = r.integer("linear_attn_config.short_conv_kernel_size", 2, 8);
  recurrent.key_dim = r.integer("linear_attn_config.head_dim", 1, kMaxDimension);
  recurrent.key_heads = r.integer("linear_attn_config.num_heads", 1, kMaxDimension);
  const std::vector<int64_t> kda = r.integers("linear_attn_config.kda_layers");  // counted from 1
  KL_RETURN_IF_ERROR(r.status());
  std::vector<bool> recurs;
  for (int64_t i = 1; i <= std::ssize(spec.layers); i++)
    recurs.push_back(std::find(kda.begin(), kda.end(), i) != kda.end());
  set_layers(spec, recurrent, recurs);
  return spec;
}

}  // namespace

const Family kKimiLinear = {"kimi-linear", kGguf, kHf, from_gguf, from_config, kTensors};

}  // namespace kinglet
