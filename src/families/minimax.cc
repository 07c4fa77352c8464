// MiniMax: Text-01 and M1 (seven lightning attention layers to one of softmax, residuals of normed inputs), and M2
// (softmax attention throughout, q and k normed as wholes, experts scored by sigmoid). Sources: transformers
// models/minimax, minimax_m2; arXiv 2501.08313.
#include "families/experts.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kGguf01[] = {"minimax-01"};
constexpr std::string_view kHf01[] = {"MiniMaxText01ForCausalLM", "MiniMaxM1ForCausalLM", "MiniMaxForCausalLM"};
constexpr std::string_view kGgufM2[] = {"minimax-m2"};
constexpr std::string_view kHfM2[] = {"MiniMaxM2ForCausalLM"};

constexpr std::array<TensorRule, 4> kLightning = {{
    {Slot::kRecurrentQkv, "blk.{}.attn_qkv.weight", "model.layers.{}.self_attn.qkv_proj.weight", true,
     Transform::kPerHeadQkv, Transform::kPerHeadQkv},
    {Slot::kRecurrentGate, "blk.{}.attn_gate.weight", "model.layers.{}.self_attn.output_gate.weight"},
    {Slot::kRecurrentNorm, "blk.{}.attn_norm_2.weight", "model.layers.{}.self_attn.norm.weight"},
    {Slot::kRecurrentOutput, "blk.{}.attn_output.weight", "model.layers.{}.self_attn.out_proj.weight"},
}};
constexpr std::array<TensorRule, 3> kM2Extras = {{
    {Slot::kQNorm, "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight"},
    {Slot::kKNorm, "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight"},
    {Slot::kSelectionBias, "", "model.layers.{}.block_sparse_moe.e_score_correction_bias", false},
}};
constexpr auto kTensors01 =
    join_rules(kCommonMatrices, kPreNorms, kHalfSplitQk, kLightning, kGgufExperts, kHfSparseBlock);
constexpr auto kTensorsM2 =
    join_rules(kCommonMatrices, kPreNorms, kHalfSplitQk, kM2Extras, kGgufExperts, kHfSparseBlock);

void use_lightning(ModelSpec& spec, size_t layer) {
  LayerSpec& l = spec.layers[layer];
  l.mixer = Mixer::kLightning;
  RecurrentSpec& r = l.recurrent;
  r.key_heads = r.value_heads = l.attention.heads;
  r.key_dim = l.attention.head_dim;
  r.value_dim = l.attention.value_dim;
  // Head h forgets by exp(-slope), slope = 2^(-8 (h + 1) / heads) times this, which falls from layer to layer.
  const double share = static_cast<double>(layer) / (static_cast<double>(spec.layers.size()) - 1.0 + 1e-5);
  r.slope_factor = 1.0 - share + 1e-5;
}

Result<ModelSpec> from_gguf_01(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  FieldReader r(checkpoint.metadata, "minimax-01.");
  MoeSpec moe;
  moe.normalise = true;
  experts_from_gguf(r, spec, moe);
  const double alpha = r.number_or("residual_scale", 1.0);
  KL_RETURN_IF_ERROR(r.status());
  for (size_t i = 0; i < spec.layers.size(); i++) {
    LayerSpec& layer = spec.layers[i];
    layer.residual_of_normed = true;
    layer.mixer_alpha = layer.ffn_alpha = alpha;
    // The file says by its tensors which layers are which.
    if (checkpoint.find("blk." + std::to_string(i) + ".attn_qkv.weight")) use_lightning(spec, i);
  }
  return spec;
}

// Released configs call the factors layernorm_…_attention_alpha, transformers' …_attn_alpha_factor.
double residual_factor(FieldReader& r, const std::string& released, const std::string& other) {
  return r.number_or("layernorm_" + released, r.number_or(other + "_factor", 1.0));
}

Result<ModelSpec> from_config_01(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", false);
  if (!r.boolean_or("postnorm", true)) r.unsupported("postnorm", "found false, only true is supported");
  MoeSpec moe = experts_from_config(r, {"num_local_experts", "num_experts_per_tok", "intermediate_size"});
  moe.normalise = true;
  use_experts_from(spec, 0, moe);
  std::vector<int64_t> kinds;  // 0: lightning, 1: softmax
  if (r.has("attn_type_list")) {
    kinds = r.integers("attn_type_list");
    if (kinds.size() != spec.layers.size())
      r.fail("attn_type_list", "found " + std::to_string(kinds.size()) + " entries, expected one a layer");
  }
  const std::vector<bool> linear = layers_of_kind(
      r, spec, "linear_attention", [&](size_t i) { return i < kinds.size() ? kinds[i] == 0 : i % 2 == 0; });
  const double full_alpha = residual_factor(r, "full_attention_alpha", "full_attn_alpha");
  const double full_beta = residual_factor(r, "full_attention_beta", "full_attn_beta");
  const double linear_alpha = residual_factor(r, "linear_attention_alpha", "linear_attn_alpha");
  const double linear_beta = residual_factor(r, "linear_attention_beta", "linear_attn_beta");
  const double mlp_alpha = residual_factor(r, "mlp_alpha", "mlp_alpha");
  const double mlp_beta = residual_factor(r, "mlp_beta", "mlp_beta");
  KL_RETURN_IF_ERROR(r.status());
  for (size_t i = 0; i < spec.layers.size(); i++) {
    LayerSpec& layer = spec.layers[i];
    layer.residual_of_normed = true;
    layer.mixer_alpha = linear[i] ? linear_alpha : full_alpha;
    layer.mixer_beta = linear[i] ? linear_beta : full_beta;
    layer.ffn_alpha = mlp_alpha;
    layer.ffn_beta = mlp_beta;
    if (linear[i]) use_lightning(spec, i);
  }
  return spec;
}

void use_whole_norms(ModelSpec& spec) {
  for (LayerSpec& layer : spec.layers) layer.attention.qk_norm = AttentionSpec::QkNorm::kWhole;
}

Result<ModelSpec> from_gguf_m2(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  FieldReader r(checkpoint.metadata, "minimax-m2.");
  MoeSpec moe;
  moe.scoring = MoeSpec::Scoring::kSigmoid;
  moe.normalise = true;
  experts_from_gguf(r, spec, moe);
  KL_RETURN_IF_ERROR(r.status());
  for (LayerSpec& layer : spec.layers) layer.ffn.moe.normalise_epsilon = 0.0;
  use_whole_norms(spec);
  return spec;
}

Result<ModelSpec> from_config_m2(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", false);
  MoeSpec moe = experts_from_config(r, {"num_local_experts", "num_experts_per_tok", "intermediate_size"});
  moe.scoring = MoeSpec::Scoring::kSigmoid;
  moe.normalise = true;
  use_experts_from(spec, 0, moe);
  if (r.boolean_or("use_qk_norm", true)) use_whole_norms(spec);
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

}  // namespace

const Family kMiniMax01 = {"minimax-01", kGguf01, kHf01, from_gguf_01, from_config_01, kTensors01};
const Family kMiniMaxM2 = {"minimax-m2", kGgufM2, kHfM2, from_gguf_m2, from_config_m2, kTensorsM2};

}  // namespace kinglet
