// GLM-4: the 0414 generation (norms on both sides of attention and FFN), the earlier GLM-4-9B (plain pre-norms), and
// GLM-4.5 to 4.7 (experts behind dense layers). The dense ones rotate interleaved pairs of half a head. Sources:
// transformers models/glm, glm4, glm4_moe.
#include "families/experts.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kGgufSandwich[] = {"glm4"};
constexpr std::string_view kHfSandwich[] = {"Glm4ForCausalLM"};
constexpr std::string_view kGgufPlain[] = {"chatglm"};
constexpr std::string_view kHfPlain[] = {"GlmForCausalLM"};
constexpr std::string_view kGgufMoe[] = {"glm4moe"};
constexpr std::string_view kHfMoe[] = {"Glm4MoeForCausalLM"};
constexpr double kRotatedShare = 0.5;  // where a config has no partial_rotary_factor

constexpr std::array<TensorRule, 6> kWhole = {{
    {Slot::kEmbedding, "token_embd.weight", "model.embed_tokens.weight"},
    {Slot::kOutput, "output.weight", "lm_head.weight", false},
    {Slot::kOutputNorm, "output_norm.weight", "model.norm.weight"},
    {Slot::kAttentionNorm, "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight"},
    {Slot::kAttentionOutput, "blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight"},
    {Slot::kDown, "blk.{}.ffn_down.weight", "model.layers.{}.mlp.down_proj.weight"},
}};
constexpr std::array<TensorRule, 8> kPackedGateUp = {{
    {Slot::kGate, "blk.{}.ffn_up.weight", "model.layers.{}.mlp.gate_up_proj.weight", true, Transform::kPackedGate,
     Transform::kPackedGate},
    {Slot::kUp, "blk.{}.ffn_up.weight", "model.layers.{}.mlp.gate_up_proj.weight", true, Transform::kPackedUp,
     Transform::kPackedUp},
    {Slot::kQ, "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight", true, Transform::kRotatedQ,
     Transform::kRotatedQ},
    {Slot::kK, "blk.{}.attn_k.weight", "model.layers.{}.self_attn.k_proj.weight", true, Transform::kRotatedK,
     Transform::kRotatedK},
    {Slot::kV, "blk.{}.attn_v.weight", "model.layers.{}.self_attn.v_proj.weight"},
    {Slot::kQBias, "blk.{}.attn_q.bias", "model.layers.{}.self_attn.q_proj.bias", false, Transform::kRotatedQ,
     Transform::kRotatedQ},
    {Slot::kKBias, "blk.{}.attn_k.bias", "model.layers.{}.self_attn.k_proj.bias", false, Transform::kRotatedK,
     Transform::kRotatedK},
    {Slot::kVBias, "blk.{}.attn_v.bias", "model.layers.{}.self_attn.v_proj.bias", false},
}};
constexpr std::array<TensorRule, 3> kSandwichNorms = {{
    {Slot::kPostAttentionNorm, "blk.{}.post_attention_norm.weight", "model.layers.{}.post_self_attn_layernorm.weight"},
    {Slot::kFfnNorm, "blk.{}.ffn_norm.weight", "model.layers.{}.post_attention_layernorm.weight"},
    {Slot::kPostFfnNorm, "blk.{}.post_ffw_norm.weight", "model.layers.{}.post_mlp_layernorm.weight"},
}};
constexpr std::array<TensorRule, 1> kPlainFfnNorm = {{
    {Slot::kFfnNorm, "blk.{}.ffn_norm.weight", "model.layers.{}.post_attention_layernorm.weight"},
}};
// What llama.cpp's converter makes of the repositories with code of their own (THUDM/glm-4-9b-chat): attention in one.
constexpr std::array<TensorRule, 6> kPackedAttention = {{
    {Slot::kQ, "blk.{}.attn_qkv.weight", "", true, Transform::kPackedRotatedQ},
    {Slot::kK, "blk.{}.attn_qkv.weight", "", true, Transform::kPackedRotatedK},
    {Slot::kV, "blk.{}.attn_qkv.weight", "", true, Transform::kPackedV},
    {Slot::kQBias, "blk.{}.attn_qkv.bias", "", false, Transform::kPackedRotatedQ},
    {Slot::kKBias, "blk.{}.attn_qkv.bias", "", false, Transform::kPackedRotatedK},
    {Slot::kVBias, "blk.{}.attn_qkv.bias", "", false, Transform::kPackedV},
}};
constexpr std::array<TensorRule, 12> kMoeAttention = {{
    {Slot::kFfnNorm, "blk.{}.post_attention_norm.weight", "model.layers.{}.post_attention_layernorm.weight"},
    {Slot::kGate, "blk.{}.ffn_gate.weight", "model.layers.{}.mlp.gate_proj.weight"},
    {Slot::kUp, "blk.{}.ffn_up.weight", "model.layers.{}.mlp.up_proj.weight"},
    {Slot::kQ, "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight"},
    {Slot::kK, "blk.{}.attn_k.weight", "model.layers.{}.self_attn.k_proj.weight"},
    {Slot::kV, "blk.{}.attn_v.weight", "model.layers.{}.self_attn.v_proj.weight"},
    {Slot::kQBias, "blk.{}.attn_q.bias", "model.layers.{}.self_attn.q_proj.bias", false},
    {Slot::kKBias, "blk.{}.attn_k.bias", "model.layers.{}.self_attn.k_proj.bias", false},
    {Slot::kVBias, "blk.{}.attn_v.bias", "model.layers.{}.self_attn.v_proj.bias", false},
    {Slot::kQNorm, "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight"},
    {Slot::kKNorm, "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight"},
    {Slot::kRopeFactors, "rope_freqs.weight", "", false},
}};
constexpr auto kSandwichTensors = join_rules(kWhole, kPackedGateUp, kSandwichNorms);
constexpr auto kPlainTensors = join_rules(kWhole, kPackedGateUp, kPackedAttention, kPlainFfnNorm);
constexpr auto kMoeTensors = join_rules(kWhole, kMoeAttention, kGgufExperts, kHfExperts, kHfSharedExperts);

Result<ModelSpec> dense_from_config(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", false);
  const int64_t rotated = rotated_dimensions(r, spec.layers[0].attention.head_dim, kRotatedShare);
  KL_RETURN_IF_ERROR(r.status());
  for (LayerSpec& layer : spec.layers) layer.attention.rope.rotated = rotated;
  return spec;
}

Result<ModelSpec> moe_from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  FieldReader r(checkpoint.metadata, "glm4moe.");
  split_off_prediction_layers(r, spec);
  KL_RETURN_IF_ERROR(r.status());
  MoeSpec moe;
  moe.scoring = MoeSpec::Scoring::kSigmoid;
  moe.normalise = true;
  moe.group_by_top2 = true;
  moe.shared_hidden = 1;  // as many as expert_shared_count says
  experts_from_gguf(r, spec, moe);
  KL_RETURN_IF_ERROR(r.status());
  if (checkpoint.find("blk.0.attn_q_norm.weight"))
    for (LayerSpec& layer : spec.layers) layer.attention.qk_norm = AttentionSpec::QkNorm::kPerHead;
  return spec;
}

Result<ModelSpec> moe_from_config(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, dense_from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  spec.prediction_layers = r.integer_or("num_nextn_predict_layers", 0, kMaxLayers, 0);
  use_experts_from(spec, r.integer_or("first_k_dense_replace", 0, kMaxLayers, 1),
                   biased_experts_from_config(r, {"n_routed_experts", "num_experts_per_tok", "moe_intermediate_size"}));
  const bool norms = r.boolean_or("use_qk_norm", false);
  KL_RETURN_IF_ERROR(r.status());
  if (norms)
    for (LayerSpec& layer : spec.layers) layer.attention.qk_norm = AttentionSpec::QkNorm::kPerHead;
  return spec;
}

}  // namespace

const Family kGlm4 = {"glm4", kGgufSandwich, kHfSandwich, baseline_from_gguf, dense_from_config, kSandwichTensors};
const Family kGlm = {"glm", kGgufPlain, kHfPlain, baseline_from_gguf, dense_from_config, kPlainTensors};
const Family kGlm4Moe = {"glm4-moe", kGgufMoe, kHfMoe, moe_from_gguf, moe_from_config, kMoeTensors};

}  // namespace kinglet
