// The lightning indexer of DeepSeek-V3.2, which GLM-5 uses too: keys and names.
#pragma once

#include <array>

#include "families/common.h"

namespace kinglet {

// "<architecture>.attention.indexer.…" of GGUF files. Layers share a choice where attention.indexer.types says so, or
// where the file has no indexer for them. `interleaved`: order of the rotary pairs, which files do not say.
void indexer_from_gguf(const Checkpoint& checkpoint, FieldReader& reader, ModelSpec& spec, bool interleaved);
// index_n_heads, index_head_dim, index_topk of config.json; indexer_types, or index_topk_pattern, or index_topk_freq
// and index_skip_topk_offset; indexer_rope_interleave.
void indexer_from_config(FieldReader& reader, ModelSpec& spec, bool interleaved);

inline constexpr std::array<TensorRule, 5> kIndexer = {{
    {Slot::kIndexQ, "blk.{}.indexer.attn_q_b.weight", "model.layers.{}.self_attn.indexer.wq_b.weight", true,
     Transform::kIndexRows, Transform::kIndexRows},
    {Slot::kIndexK, "blk.{}.indexer.attn_k.weight", "model.layers.{}.self_attn.indexer.wk.weight", true,
     Transform::kIndexRows, Transform::kIndexRows},
    {Slot::kIndexKNorm, "blk.{}.indexer.k_norm.weight", "model.layers.{}.self_attn.indexer.k_norm.weight", true,
     Transform::kIndexRows, Transform::kIndexRows},
    {Slot::kIndexKNormBias, "blk.{}.indexer.k_norm.bias", "model.layers.{}.self_attn.indexer.k_norm.bias", true,
     Transform::kIndexRows, Transform::kIndexRows},
    {Slot::kIndexWeights, "blk.{}.indexer.proj.weight", "model.layers.{}.self_attn.indexer.weights_proj.weight"},
}};

}  // namespace kinglet
