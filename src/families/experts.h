// What the families with mixtures of experts share: keys and names.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "families/common.h"

namespace kinglet {

// GGUF: "<architecture>.expert_…", applied to the layers behind the leading dense ones. `defaults` holds what the
// architecture means where the file has no key.
void experts_from_gguf(FieldReader& reader, ModelSpec& spec, MoeSpec defaults);

// config.json's names of the counts, which differ from family to family.
struct ExpertKeys {
  std::string_view experts, used, hidden;
  std::string_view groups = "n_group", normalise = "norm_topk_prob", shared = "n_shared_experts";
};
// Reads the counts; checks that no more are used than there are, and that groups divide them.
MoeSpec experts_from_config(FieldReader& reader, const ExpertKeys& keys);

// Sigmoid scores, a bias for the selection, groups by their two best (DeepSeek-V3, GLM-4.5, Kimi K2):
// topk_group, routed_scaling_factor and the keys named.
MoeSpec biased_experts_from_config(FieldReader& reader, const ExpertKeys& keys);

// The layers that have experts: those behind `first_k_dense_replace` or `leading_dense_block_count` dense ones.
void use_experts_from(ModelSpec& spec, int64_t first, const MoeSpec& moe);
// Qwen's rule: every decoder_sparse_step-th layer that is not one of mlp_only_layers.
void use_experts_by_step(FieldReader& reader, ModelSpec& spec, const MoeSpec& moe);

// A checkpoint's prediction layers (MTP) count as blocks in GGUF: takes them off `spec.layers`.
void split_off_prediction_layers(FieldReader& reader, ModelSpec& spec);

inline constexpr std::array<TensorRule, 11> kGgufExperts = {{
    {Slot::kRouter, "blk.{}.ffn_gate_inp.weight", ""},
    {Slot::kSelectionBias, "blk.{}.exp_probs_b.bias", "", false},
    {Slot::kExpertGate, "blk.{}.ffn_gate_exps.weight", ""},
    {Slot::kExpertUp, "blk.{}.ffn_up_exps.weight", ""},
    {Slot::kExpertDown, "blk.{}.ffn_down_exps.weight", ""},
    {Slot::kSharedGate, "blk.{}.ffn_gate_shexp.weight", ""},
    {Slot::kSharedUp, "blk.{}.ffn_up_shexp.weight", ""},
    {Slot::kSharedDown, "blk.{}.ffn_down_shexp.weight", ""},
    {Slot::kSharedRouter, "blk.{}.ffn_gate_inp_shexp.weight", ""},
    // Fused gate and up, as newer converters may write them; they stand for the first lines where those are absent.
    {Slot::kExpertGate, "blk.{}.ffn_gate_up_exps.weight", "", false, Transform::kPackedGate},
    {Slot::kExpertUp, "blk.{}.ffn_gate_up_exps.weight", "", false, Transform::kPackedUp},
}};
// model.layers.N.mlp.experts.E.{gate,up,down}_proj, or the stacks that transformers 5 writes.
inline constexpr std::array<TensorRule, 7> kHfExperts = {{
    {Slot::kRouter, "", "model.layers.{}.mlp.gate.weight"},
    {Slot::kExpertGate, "", "model.layers.{}.mlp.experts.{e}.gate_proj.weight"},
    {Slot::kExpertUp, "", "model.layers.{}.mlp.experts.{e}.up_proj.weight"},
    {Slot::kExpertDown, "", "model.layers.{}.mlp.experts.{e}.down_proj.weight"},
    {Slot::kExpertGate, "", "model.layers.{}.mlp.experts.gate_up_proj", false, Transform::kNone,
     Transform::kPackedGate},
    {Slot::kExpertUp, "", "model.layers.{}.mlp.experts.gate_up_proj", false, Transform::kNone, Transform::kPackedUp},
    {Slot::kExpertDown, "", "model.layers.{}.mlp.experts.down_proj", false},
}};
// Mixtral's names, which MiniMax uses too.
inline constexpr std::array<TensorRule, 4> kHfSparseBlock = {{
    {Slot::kRouter, "", "model.layers.{}.block_sparse_moe.gate.weight"},
    {Slot::kExpertGate, "", "model.layers.{}.block_sparse_moe.experts.{e}.w1.weight"},
    {Slot::kExpertUp, "", "model.layers.{}.block_sparse_moe.experts.{e}.w3.weight"},
    {Slot::kExpertDown, "", "model.layers.{}.block_sparse_moe.experts.{e}.w2.weight"},
}};
// DeepSeek's, which Kimi and GLM use too.
inline constexpr std::array<TensorRule, 4> kHfSharedExperts = {{
    {Slot::kSelectionBias, "", "model.layers.{}.mlp.gate.e_score_correction_bias", false},
    {Slot::kSharedGate, "", "model.layers.{}.mlp.shared_experts.gate_proj.weight"},
    {Slot::kSharedUp, "", "model.layers.{}.mlp.shared_experts.up_proj.weight"},
    {Slot::kSharedDown, "", "model.layers.{}.mlp.shared_experts.down_proj.weight"},
}};
// Qwen's single shared expert with a gate.
inline constexpr std::array<TensorRule, 4> kHfGatedSharedExpert = {{
    {Slot::kSharedGate, "", "model.layers.{}.mlp.shared_expert.gate_proj.weight"},
    {Slot::kSharedUp, "", "model.layers.{}.mlp.shared_expert.up_proj.weight"},
    {Slot::kSharedDown, "", "model.layers.{}.mlp.shared_expert.down_proj.weight"},
    {Slot::kSharedRouter, "", "model.layers.{}.mlp.shared_expert_gate.weight"},
}};

}  // namespace kinglet
