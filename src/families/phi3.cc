// Phi-3 and Phi-4 (mini too): Llama's block with q, k and v in one tensor, gate and up in another, and LongRoPE.
// Source: transformers models/phi3.
#include "families/common.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kGguf[] = {"phi3"};
constexpr std::string_view kHf[] = {"Phi3ForCausalLM"};
constexpr std::array<TensorRule, 9> kMatrices = {{
    {Slot::kEmbedding, "token_embd.weight", "model.embed_tokens.weight"},
    {Slot::kOutput, "output.weight", "lm_head.weight", false},
    {Slot::kQ, "blk.{}.attn_qkv.weight", "model.layers.{}.self_attn.qkv_proj.weight", true, Transform::kPackedQ,
     Transform::kPackedQ},
    {Slot::kK, "blk.{}.attn_qkv.weight", "model.layers.{}.self_attn.qkv_proj.weight", true, Transform::kPackedK,
     Transform::kPackedK},
    {Slot::kV, "blk.{}.attn_qkv.weight", "model.layers.{}.self_attn.qkv_proj.weight", true, Transform::kPackedV,
     Transform::kPackedV},
    {Slot::kAttentionOutput, "blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight"},
    {Slot::kGate, "blk.{}.ffn_up.weight", "model.layers.{}.mlp.gate_up_proj.weight", true, Transform::kPackedGate,
     Transform::kPackedGate},
    {Slot::kUp, "blk.{}.ffn_up.weight", "model.layers.{}.mlp.gate_up_proj.weight", true, Transform::kPackedUp,
     Transform::kPackedUp},
    {Slot::kDown, "blk.{}.ffn_down.weight", "model.layers.{}.mlp.down_proj.weight"},
}};
constexpr std::array<TensorRule, 2> kLongRope = {{
    {Slot::kRopeFactors, "rope_factors_short.weight", "", false},
    {Slot::kRopeFactorsLong, "rope_factors_long.weight", "", false},
}};
constexpr auto kTensors = join_rules(kMatrices, kPreNorms, kLongRope);

Result<ModelSpec> from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  FieldReader r(checkpoint.metadata, "phi3.");
  use_window_everywhere(r, "attention.sliding_window", spec);
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

Result<ModelSpec> from_config(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", false);
  use_window_everywhere(r, "sliding_window", spec);
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

}  // namespace

const Family kPhi3 = {"phi3", kGguf, kHf, from_gguf, from_config, kTensors};

}  // namespace kinglet
