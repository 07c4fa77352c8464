// DeepSeek-V2, V3, R1, V3.2 and what is built alike: Kimi K2 and K2.5 (text), GLM-5. Latent attention, dense layers
// first, then experts with shared ones. V2 scores by softmax and limits groups by their best expert; V3 scores by
// sigmoid with a bias for the selection. Sources: transformers models/deepseek_v2, deepseek_v3, deepseek_v32,
// glm_moe_dsa; arXiv 2405.04434, 2412.19437.
#include "families/experts.h"
#include "families/families.h"
#include "families/indexer.h"
#include "families/latent.h"

namespace kinglet {
namespace {

constexpr std::string_view kGguf[] = {"deepseek2"};
constexpr std::string_view kHf[] = {"DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM", "KimiK25ForConditionalGeneration",
                                    "Glm4MoeLiteForCausalLM"};
constexpr std::string_view kGgufSparse[] = {"deepseek32"};
constexpr std::string_view kHfSparse[] = {"DeepseekV32ForCausalLM"};
constexpr std::string_view kGgufGlm[] = {"glm-dsa"};
constexpr std::string_view kHfGlm[] = {"GlmMoeDsaForCausalLM"};
constexpr auto kTensors =
    join_rules(kGatedFfn, kPreNorms, kLatentAttention, kGgufExperts, kHfExperts, kHfSharedExperts);
constexpr auto kSparseTensors = join_rules(kTensors, kIndexer);

Result<ModelSpec> from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  FieldReader r(checkpoint.metadata, spec.architecture + ".");
  split_off_prediction_layers(r, spec);
  KL_RETURN_IF_ERROR(r.status());
  latent_attention_from_gguf(r, spec);
  MoeSpec moe;
  moe.shared_hidden = 1;  // as many as expert_shared_count says
  // GLM-4.7-Flash's files do not say how experts are scored; a bias for the selection goes with sigmoid.
  const std::string first = std::to_string(r.integer_or("leading_dense_block_count", 0, kMaxLayers, 0));
  if (checkpoint.find("blk." + first + ".exp_probs_b.bias")) moe.scoring = MoeSpec::Scoring::kSigmoid;
  experts_from_gguf(r, spec, moe);
  for (LayerSpec& layer : spec.layers)
    layer.ffn.moe.group_by_top2 = layer.ffn.moe.scoring == MoeSpec::Scoring::kSigmoid;
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

MoeSpec softmax_experts(FieldReader& r, const ExpertKeys& keys) {
  MoeSpec moe = experts_from_config(r, keys);
  if (r.string_or("topk_method", "greedy") == "group_limited_greedy") {
    moe.groups = r.integer_or("n_group", 1, kMaxDimension, 1);
    moe.groups_used = r.integer_or("topk_group", 1, kMaxDimension, 1);
    if (moe.experts % moe.groups != 0 || moe.groups_used > moe.groups)
      r.fail("n_group",
             "found " + std::to_string(moe.groups) + " groups of " + std::to_string(moe.experts) + " experts");
  }
  moe.masked_as_zero = true;
  moe.scale = r.number_or("routed_scaling_factor", 1.0);
  moe.shared_hidden = r.integer_or("n_shared_experts", 0, 64, 0) * moe.hidden;
  return moe;
}

Result<ModelSpec> from_config(const Checkpoint& checkpoint) {
  const std::string prefix = text_prefix(checkpoint);
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint, prefix));
  FieldReader r(checkpoint.metadata, prefix);
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", false);
  spec.prediction_layers = r.integer_or("num_nextn_predict_layers", 0, kMaxLayers, 0);
  latent_attention_from_config(r, spec);
  const ExpertKeys keys = {"n_routed_experts", "num_experts_per_tok", "moe_intermediate_size"};
  if (r.has("n_routed_experts")) {
    const bool softmax =
        r.string_or("scoring_func", r.string_or("model_type", "") == "deepseek_v2" ? "softmax" : "sigmoid") ==
        "softmax";
    use_experts_from(spec, r.integer_or("first_k_dense_replace", 0, kMaxLayers, 0),
                     softmax ? softmax_experts(r, keys) : biased_experts_from_config(r, keys));
  }
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

// With an indexer beside the attention, whose rotary pairs stand half-split in DeepSeek-V3.2 and interleaved in GLM-5.
template <bool kInterleaved>
Result<ModelSpec> sparse_from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, from_gguf(checkpoint));
  FieldReader r(checkpoint.metadata, spec.architecture + ".");
  indexer_from_gguf(checkpoint, r, spec, kInterleaved);
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

template <bool kInterleaved>
Result<ModelSpec> sparse_from_config(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  indexer_from_config(r, spec, kInterleaved);
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

}  // namespace

const Family kDeepSeek = {"deepseek", kGguf, kHf, from_gguf, from_config, kTensors};
const Family kDeepSeekSparse = {
    "deepseek-v32", kGgufSparse, kHfSparse, sparse_from_gguf<false>, sparse_from_config<false>, kSparseTensors};
const Family kGlmSparse = {"glm5", kGgufGlm, kHfGlm, sparse_from_gguf<true>, sparse_from_config<true>, kSparseTensors};

}  // namespace kinglet
