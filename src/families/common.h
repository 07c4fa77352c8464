// What the families share: the baseline decoder's keys and names. A family's data file starts from these and states its
// differences.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "families/family.h"
#include "families/field_reader.h"

namespace kinglet {

// Bounds on what a file may claim; far above every published model, far below overflow.
inline constexpr int64_t kMaxDimension = int64_t{1} << 24;
inline constexpr int64_t kMaxLayers = 4096;
inline constexpr int64_t kMaxContext = int64_t{1} << 28;
inline constexpr int64_t kMaxRotated = 4096;  // dimensions of a head; lists of rope factors stand in every layer
inline constexpr int64_t kMaxExperts = int64_t{1} << 16;

// The baseline decoder block (pre-norm, grouped-query attention over the whole head, gated FFN), read from GGUF keys
// "<architecture>.…" or from config.json keys under `prefix`. Rope scaling included. Errors name file and key.
Result<ModelSpec> baseline_from_gguf(const Checkpoint& checkpoint);
Result<ModelSpec> baseline_from_config(const Checkpoint& checkpoint, const std::string& prefix = "");

// What stands before the text model's keys in config.json: "text_config." in those of multimodal checkpoints, or
// nothing.
std::string text_prefix(const Checkpoint& checkpoint);

// Rope parameters of config.json: `rope_parameters` (transformers 5) or rope_theta with rope_scaling (4). `kind`
// selects an entry of a per-layer-type rope_parameters ("full_attention"); empty for the flat form.
RopeSpec rope_from_config(FieldReader& reader, std::string_view kind, int64_t rotated, int64_t context,
                          double default_theta);

// The labels of a classification head: as many as id2label names, two unless it says so.
int64_t classification_labels(FieldReader& reader);

// How many dimensions of a head are rotated: rotary_dim, or the share partial_rotary_factor.
int64_t rotated_dimensions(FieldReader& reader, int64_t head_dim, double default_share = 1.0);

// layer_types: whether each layer is of the kind `name`; `otherwise` where there is no such key.
std::vector<bool> layers_of_kind(FieldReader& reader, const ModelSpec& spec, std::string_view name,
                                 const std::function<bool(size_t)>& otherwise);

// A number that a GGUF file says once for all layers, or as a list of one each.
std::vector<int64_t> one_a_layer(FieldReader& reader, std::string_view key, const ModelSpec& spec, int64_t least,
                                 int64_t most);

// One sliding window in all layers, where `key` says one.
void use_window_everywhere(FieldReader& reader, std::string_view key, ModelSpec& spec);

// Qwen's way of saying which layers have a sliding window: `use_sliding_window`, `sliding_window`, and
// `max_window_layers` of the first layers that see everything all the same.
void use_windows_past_the_first_layers(FieldReader& reader, ModelSpec& spec);

// Joins tables of rules.
template <size_t... N>
constexpr auto join_rules(const std::array<TensorRule, N>&... tables) {
  std::array<TensorRule, (N + ...)> joined{};
  size_t at = 0;
  auto append = [&](const auto& table) {
    for (const TensorRule& rule : table) joined[at++] = rule;
  };
  (append(tables), ...);
  return joined;
}

// The names every family of this shape uses. Norms are a table of their own: Gemma stores w - 1 in Hugging Face
// folders.
inline constexpr std::array<TensorRule, 3> kGatedFfn = {{
    {Slot::kGate, "blk.{}.ffn_gate.weight", "model.layers.{}.mlp.gate_proj.weight"},
    {Slot::kUp, "blk.{}.ffn_up.weight", "model.layers.{}.mlp.up_proj.weight"},
    {Slot::kDown, "blk.{}.ffn_down.weight", "model.layers.{}.mlp.down_proj.weight"},
}};
inline constexpr std::array<TensorRule, 4> kEmbeddingAndAttention = {{
    {Slot::kEmbedding, "token_embd.weight", "model.embed_tokens.weight"},
    {Slot::kOutput, "output.weight", "lm_head.weight", false},
    {Slot::kV, "blk.{}.attn_v.weight", "model.layers.{}.self_attn.v_proj.weight"},
    {Slot::kAttentionOutput, "blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight"},
}};
inline constexpr auto kCommonMatrices = join_rules(kEmbeddingAndAttention, kGatedFfn);
inline constexpr std::array<TensorRule, 3> kPreNorms = {{
    {Slot::kOutputNorm, "output_norm.weight", "model.norm.weight"},
    {Slot::kAttentionNorm, "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight"},
    {Slot::kFfnNorm, "blk.{}.ffn_norm.weight", "model.layers.{}.post_attention_layernorm.weight"},
}};
// Queries and keys: as they are, or (the `llama` GGUF architectures) with interleaved rotary pairs in the file.
inline constexpr std::array<TensorRule, 2> kHalfSplitQk = {{
    {Slot::kQ, "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight"},
    {Slot::kK, "blk.{}.attn_k.weight", "model.layers.{}.self_attn.k_proj.weight"},
}};
inline constexpr std::array<TensorRule, 2> kGgufInterleavedQk = {{
    {Slot::kQ, "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight", true, Transform::kHalfSplitQ},
    {Slot::kK, "blk.{}.attn_k.weight", "model.layers.{}.self_attn.k_proj.weight", true, Transform::kHalfSplitK},
}};
inline constexpr std::array<TensorRule, 7> kOptionalBiasesGgufInterleaved = {{
    {Slot::kQBias, "blk.{}.attn_q.bias", "model.layers.{}.self_attn.q_proj.bias", false, Transform::kHalfSplitQ},
    {Slot::kKBias, "blk.{}.attn_k.bias", "model.layers.{}.self_attn.k_proj.bias", false, Transform::kHalfSplitK},
    {Slot::kVBias, "blk.{}.attn_v.bias", "model.layers.{}.self_attn.v_proj.bias", false},
    {Slot::kAttentionOutputBias, "blk.{}.attn_output.bias", "model.layers.{}.self_attn.o_proj.bias", false},
    {Slot::kGateBias, "blk.{}.ffn_gate.bias", "model.layers.{}.mlp.gate_proj.bias", false},
    {Slot::kUpBias, "blk.{}.ffn_up.bias", "model.layers.{}.mlp.up_proj.bias", false},
    {Slot::kDownBias, "blk.{}.ffn_down.bias", "model.layers.{}.mlp.down_proj.bias", false},
}};
inline constexpr std::array<TensorRule, 1> kRopeFactorsTensor = {
    {{Slot::kRopeFactors, "rope_freqs.weight", "", false}}};

}  // namespace kinglet
