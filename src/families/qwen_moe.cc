// Qwen2-MoE (Qwen1.5-MoE-A2.7B, Qwen2-57B-A14B) and Qwen3-MoE (30B-A3B, 235B-A22B, Coder): the dense families'
// attention with experts; Qwen2's have a shared one with a gate. Sources: transformers models/qwen2_moe, qwen3_moe.
#include "families/experts.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kGguf2[] = {"qwen2moe"};
constexpr std::string_view kHf2[] = {"Qwen2MoeForCausalLM"};
constexpr std::string_view kGguf3[] = {"qwen3moe"};
constexpr std::string_view kHf3[] = {"Qwen3MoeForCausalLM"};
constexpr std::array<TensorRule, 3> kBiases = {{
    {Slot::kQBias, "blk.{}.attn_q.bias", "model.layers.{}.self_attn.q_proj.bias", false},
    {Slot::kKBias, "blk.{}.attn_k.bias", "model.layers.{}.self_attn.k_proj.bias", false},
    {Slot::kVBias, "blk.{}.attn_v.bias", "model.layers.{}.self_attn.v_proj.bias", false},
}};
constexpr std::array<TensorRule, 2> kHeadNorms = {{
    {Slot::kQNorm, "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight"},
    {Slot::kKNorm, "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight"},
}};
constexpr auto kTensors2 =
    join_rules(kCommonMatrices, kPreNorms, kHalfSplitQk, kBiases, kGgufExperts, kHfExperts, kHfGatedSharedExpert);
constexpr auto kTensors3 =
    join_rules(kCommonMatrices, kPreNorms, kHalfSplitQk, kBiases, kHeadNorms, kGgufExperts, kHfExperts);

Result<ModelSpec> from_gguf(const Checkpoint& checkpoint, bool third) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  FieldReader r(checkpoint.metadata, spec.architecture + ".");
  MoeSpec moe;
  moe.normalise = third;  // the files have no key for it
  moe.shared_gated = !third;
  if (!third) moe.shared_hidden = r.integer_or("expert_shared_feed_forward_length", 0, kMaxDimension, 0);
  experts_from_gguf(r, spec, moe);
  KL_RETURN_IF_ERROR(r.status());
  if (third)
    for (LayerSpec& layer : spec.layers) layer.attention.qk_norm = AttentionSpec::QkNorm::kPerHead;
  return spec;
}

Result<ModelSpec> from_config(const Checkpoint& checkpoint, bool third) {
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", false);
  use_windows_past_the_first_layers(r, spec);
  MoeSpec moe = experts_from_config(r, {"num_experts", "num_experts_per_tok", "moe_intermediate_size"});
  moe.normalise = r.boolean_or("norm_topk_prob", false);
  moe.shared_gated = !third;
  if (!third) moe.shared_hidden = r.integer_or("shared_expert_intermediate_size", 0, kMaxDimension, 0);
  use_experts_by_step(r, spec, moe);
  KL_RETURN_IF_ERROR(r.status());
  if (third)
    for (LayerSpec& layer : spec.layers) layer.attention.qk_norm = AttentionSpec::QkNorm::kPerHead;
  return spec;
}

Result<ModelSpec> gguf2(const Checkpoint& checkpoint) {
  return from_gguf(checkpoint, false);
}
Result<ModelSpec> config2(const Checkpoint& checkpoint) {
  return from_config(checkpoint, false);
}
Result<ModelSpec> gguf3(const Checkpoint& checkpoint) {
  return from_gguf(checkpoint, true);
}
Result<ModelSpec> config3(const Checkpoint& checkpoint) {
  return from_config(checkpoint, true);
}

}  // namespace

const Family kQwen2Moe = {"qwen2-moe", kGguf2, kHf2, gguf2, config2, kTensors2};
const Family kQwen3Moe = {"qwen3-moe", kGguf3, kHf3, gguf3, config3, kTensors3};

}  // namespace kinglet
