// What the Gemma generations share: norms on both sides of attention and FFN, stored as w - 1 in Hugging Face folders.
#pragma once

#include <array>

#include "families/common.h"

namespace kinglet {

inline constexpr std::array<TensorRule, 5> kGemmaNorms = {{
    {Slot::kOutputNorm, "output_norm.weight", "model.norm.weight", true, Transform::kNone, Transform::kAddOne},
    {Slot::kAttentionNorm, "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight", true, Transform::kNone,
     Transform::kAddOne},
    {Slot::kPostAttentionNorm, "blk.{}.post_attention_norm.weight", "model.layers.{}.post_attention_layernorm.weight",
     true, Transform::kNone, Transform::kAddOne},
    {Slot::kFfnNorm, "blk.{}.ffn_norm.weight", "model.layers.{}.pre_feedforward_layernorm.weight", true,
     Transform::kNone, Transform::kAddOne},
    {Slot::kPostFfnNorm, "blk.{}.post_ffw_norm.weight", "model.layers.{}.post_feedforward_layernorm.weight", true,
     Transform::kNone, Transform::kAddOne},
}};

}  // namespace kinglet
