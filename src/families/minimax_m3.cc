// MiniMax-M3 (text): grouped-query attention with normed heads, in most layers over the blocks of positions that an
// indexer chooses; dense layers first, then experts scored by sigmoid with a shared one; clamped SwiGLU throughout,
// norms stored as w - 1. Source: transformers models/minimax_m3_vl.
#include <algorithm>

#include "families/experts.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kGguf[] = {"minimax-m3"};
constexpr std::string_view kHf[] = {"MiniMaxM3SparseForConditionalGeneration", "MiniMaxM3SparseForCausalLM",
                                    "MiniMaxM3VLForCausalLM"};
constexpr TensorRule norm(Slot slot, std::string_view gguf_name, std::string_view hf_name) {
  return {slot, gguf_name, hf_name, true, Transform::kNone, Transform::kAddOne};
}
constexpr std::array<TensorRule, 7> kNorms = {{
    norm(Slot::kOutputNorm, "output_norm.weight", "model.norm.weight"),
    norm(Slot::kAttentionNorm, "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight"),
    norm(Slot::kFfnNorm, "blk.{}.ffn_norm.weight", "model.layers.{}.post_attention_layernorm.weight"),
    norm(Slot::kQNorm, "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight"),
    norm(Slot::kKNorm, "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight"),
    norm(Slot::kIndexQNorm, "blk.{}.indexer.q_norm.weight", "model.layers.{}.self_attn.index_q_norm.weight"),
    norm(Slot::kIndexKNorm, "blk.{}.indexer.k_norm.weight", "model.layers.{}.self_attn.index_k_norm.weight"),
}};
constexpr std::array<TensorRule, 6> kMatrices = {{
    {Slot::kIndexQ, "blk.{}.indexer.q_proj.weight", "model.layers.{}.self_attn.index_q_proj.weight"},
    {Slot::kIndexK, "blk.{}.indexer.k_proj.weight", "model.layers.{}.self_attn.index_k_proj.weight"},
    {Slot::kSelectionBias, "", "model.layers.{}.block_sparse_moe.e_score_correction_bias", false},
    {Slot::kSharedGate, "", "model.layers.{}.block_sparse_moe.shared_experts.gate_proj.weight"},
    {Slot::kSharedUp, "", "model.layers.{}.block_sparse_moe.shared_experts.up_proj.weight"},
    {Slot::kSharedDown, "", "model.layers.{}.block_sparse_moe.shared_experts.down_proj.weight"},
}};
constexpr auto kTensors = join_rules(kCommonMatrices, kNorms, kHalfSplitQk, kMatrices, kGgufExperts, kHfSparseBlock);

void common_facts(ModelSpec& spec) {
  for (LayerSpec& layer : spec.layers) {
    layer.attention.qk_norm = AttentionSpec::QkNorm::kPerHead;
    layer.ffn.activation = FfnActivation::kSwigluOai;
    layer.ffn.moe.normalise_epsilon = 0.0;
  }
}

Result<ModelSpec> from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  FieldReader r(checkpoint.metadata, "minimax-m3.");
  MoeSpec moe;
  moe.scoring = MoeSpec::Scoring::kSigmoid;
  moe.normalise = true;
  moe.shared_hidden = 1;  // as many as expert_shared_count says
  experts_from_gguf(r, spec, moe);
  IndexerSpec indexer;
  indexer.heads = r.integer("attention.indexer.head_count", 1, kMaxDimension);
  indexer.key_dim = r.integer("attention.indexer.key_length", 1, kMaxDimension);
  indexer.top_k = r.integer("attention.indexer.top_k", 1, kMaxContext);
  indexer.block = r.integer("attention.indexer.block_size", 1, kMaxContext);
  indexer.local_blocks = r.integer("attention.indexer.local_blocks", 0, kMaxContext);
  KL_RETURN_IF_ERROR(r.status());
  for (size_t i = 0; i < spec.layers.size(); i++)  // the file says by its tensors which layers are sparse
    if (checkpoint.find("blk." + std::to_string(i) + ".indexer.q_proj.weight"))
      spec.layers[i].attention.indexer = indexer;
  common_facts(spec);
  return spec;
}

// A key of a kind of layer that no release has.
void expect(FieldReader& r, std::string_view key, bool wanted) {
  if (r.boolean_or(key, wanted) != wanted)
    r.unsupported(key, std::string("only ") + (wanted ? "true" : "false") + " is supported");
}
void expect_name(FieldReader& r, std::string_view key, const std::string& wanted) {
  if (const std::string found = r.string_or(key, wanted); found != wanted) r.unknown(key, found, {wanted});
}

// Released configs have `sparse_attention_config`, transformers' own ones plain keys.
IndexerSpec indexer_from_config(FieldReader& r) {
  const std::string sparse = "sparse_attention_config.";
  const auto count = [&](const char* released, const char* other, int64_t least, int64_t most) {
    return r.integer(r.has(sparse + released) ? sparse + released : std::string(other), least, most);
  };
  IndexerSpec indexer;
  indexer.heads = count("sparse_num_index_heads", "index_n_heads", 1, kMaxDimension);
  indexer.key_dim = count("sparse_index_dim", "index_head_dim", 1, kMaxDimension);
  indexer.top_k = count("sparse_topk_blocks", "index_topk_blocks", 1, kMaxContext);
  indexer.block = count("sparse_block_size", "index_block_size", 1, kMaxContext);
  indexer.local_blocks = count("sparse_local_block", "index_local_blocks", 0, kMaxContext);
  if (r.integer_or(sparse + "sparse_init_block", 0, kMaxContext, 0) != 0)
    r.unsupported(sparse + "sparse_init_block", "only 0 is supported");
  expect_name(r, sparse + "sparse_score_type", "max");
  return indexer;
}

// Whether each layer is of a kind: by a list of 0 and 1, or by one of names that is asked first.
std::vector<bool> marked_layers(FieldReader& r, const ModelSpec& spec, const std::string& names, std::string_view name,
                                const std::string& marks, bool otherwise) {
  std::vector<bool> marked(spec.layers.size(), otherwise);
  size_t found = marked.size();
  if (r.has(names)) {
    const std::vector<std::string> list = r.strings(names);
    found = list.size();
    for (size_t i = 0; i < std::min(found, marked.size()); i++) marked[i] = list[i] == name;
  } else if (r.has(marks)) {
    const std::vector<int64_t> list = r.integers(marks);
    found = list.size();
    for (size_t i = 0; i < std::min(found, marked.size()); i++) marked[i] = list[i] != 0;
  }
  if (found != marked.size())
    r.fail(r.has(names) ? names : marks,
           "found " + std::to_string(found) + " entries, expected one a layer: " + std::to_string(marked.size()));
  return marked;
}

MoeSpec experts(FieldReader& r) {
  MoeSpec moe = experts_from_config(r, {"num_local_experts", "num_experts_per_tok", "intermediate_size"});
  moe.scoring = MoeSpec::Scoring::kSigmoid;
  moe.normalise = true;
  moe.scale = r.number_or("routed_scaling_factor", 2.0);
  moe.shared_hidden = r.integer_or("shared_intermediate_size", 0, kMaxDimension, 3072);
  return moe;
}

Result<ModelSpec> from_config(const Checkpoint& checkpoint) {
  const std::string prefix = text_prefix(checkpoint);
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint, prefix));
  FieldReader r(checkpoint.metadata, prefix);
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", false);
  expect(r, "use_gemma_norm", true);
  expect(r, "use_qk_norm", true);
  expect(r, "attention_output_gate", false);
  expect_name(r, "qk_norm_type", "per_head");
  expect_name(r, "scoring_func", "sigmoid");
  const MoeSpec moe = experts(r);
  const std::vector<bool> sparse = marked_layers(r, spec, "mlp_layer_types", "sparse", "moe_layer_freq", true);
  const std::vector<bool> indexed = marked_layers(r, spec, "layer_types", "minimax_m3_sparse",
                                                  "sparse_attention_config.sparse_attention_freq", false);
  const bool any = std::find(indexed.begin(), indexed.end(), true) != indexed.end();
  const IndexerSpec indexer = any ? indexer_from_config(r) : IndexerSpec{};
  const int64_t dense = r.integer_or("dense_intermediate_size", 1, kMaxDimension, 12288);
  const double limit = r.number_or("swiglu_limit", spec.layers[0].ffn.limit);
  const double alpha = r.number_or("swiglu_alpha", spec.layers[0].ffn.alpha);
  KL_RETURN_IF_ERROR(r.status());
  for (size_t i = 0; i < spec.layers.size(); i++) {
    LayerSpec& layer = spec.layers[i];
    layer.ffn.hidden = dense;
    layer.ffn.limit = limit;
    layer.ffn.alpha = alpha;
    if (sparse[i]) layer.ffn.moe = moe;
    if (indexed[i]) layer.attention.indexer = indexer;
  }
  common_facts(spec);
  return spec;
}

}  // namespace

const Family kMiniMaxM3 = {"minimax-m3", kGguf, kHf, from_gguf, from_config, kTensors};

}  // namespace kinglet
