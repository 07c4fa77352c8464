// What the families with latent attention share (DeepSeek-V2 and after, Kimi, GLM-4.7-Flash): keys and names.
#pragma once

#include <array>

#include "families/common.h"

namespace kinglet {

// Turns every layer's attention into the latent form by "<architecture>.attention.…" keys of GGUF files, or by
// q_lora_rank, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim and v_head_dim of config.json. Both need the heads and
// the rope scaling that the baseline has read.
void latent_attention_from_gguf(FieldReader& reader, ModelSpec& spec);
void latent_attention_from_config(FieldReader& reader, ModelSpec& spec);

inline constexpr std::array<TensorRule, 14> kLatentAttention = {{
    {Slot::kEmbedding, "token_embd.weight", "model.embed_tokens.weight"},
    {Slot::kQDown, "blk.{}.attn_q_a.weight", "model.layers.{}.self_attn.q_a_proj.weight"},
    {Slot::kQDownNorm, "blk.{}.attn_q_a_norm.weight", "model.layers.{}.self_attn.q_a_layernorm.weight"},
    {Slot::kQ, "blk.{}.attn_q_b.weight", "model.layers.{}.self_attn.q_b_proj.weight", false, Transform::kLatentQ,
     Transform::kLatentQ},
    {Slot::kQ, "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight", true, Transform::kLatentQ,
     Transform::kLatentQ},
    {Slot::kKvDown, "blk.{}.attn_kv_a_mqa.weight", "model.layers.{}.self_attn.kv_a_proj_with_mqa.weight", true,
     Transform::kLatentKv, Transform::kLatentKv},
    {Slot::kKvDownNorm, "blk.{}.attn_kv_a_norm.weight", "model.layers.{}.self_attn.kv_a_layernorm.weight"},
    {Slot::kKeyUp, "blk.{}.attn_k_b.weight", ""},
    {Slot::kValueUp, "blk.{}.attn_v_b.weight", ""},
    // Older GGUF files hold the joint matrix, as Hugging Face folders do.
    {Slot::kKeyUp, "blk.{}.attn_kv_b.weight", "model.layers.{}.self_attn.kv_b_proj.weight", true,
     Transform::kLatentKeyUp, Transform::kLatentKeyUp},
    {Slot::kValueUp, "blk.{}.attn_kv_b.weight", "model.layers.{}.self_attn.kv_b_proj.weight", true,
     Transform::kLatentValueUp, Transform::kLatentValueUp},
    {Slot::kAttentionOutput, "blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight"},
    {Slot::kAttentionOutputBias, "blk.{}.attn_output.bias", "model.layers.{}.self_attn.o_proj.bias", false},
    {Slot::kOutput, "output.weight", "lm_head.weight", false},
}};

}  // namespace kinglet
