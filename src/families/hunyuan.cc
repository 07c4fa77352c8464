// Hunyuan V1, dense and A13B (experts with a shared one in every layer): heads of q and k are normed after the rotary
// embedding; a factor `alpha` stretches its base. Sources: transformers models/hunyuan_v1_dense, hunyuan_v1_moe.
#include "families/experts.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kGgufDense[] = {"hunyuan-dense"};
constexpr std::string_view kHfDense[] = {"HunYuanDenseV1ForCausalLM"};
constexpr std::string_view kGgufMoe[] = {"hunyuan-moe"};
constexpr std::string_view kHfMoe[] = {"HunYuanMoEV1ForCausalLM"};
constexpr std::array<TensorRule, 2> kHeadNorms = {{
    {Slot::kQNorm, "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.query_layernorm.weight"},
    {Slot::kKNorm, "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.key_layernorm.weight"},
}};
constexpr std::array<TensorRule, 4> kNames = {{
    {Slot::kRouter, "", "model.layers.{}.mlp.gate.wg.weight"},
    {Slot::kSharedGate, "", "model.layers.{}.mlp.shared_mlp.gate_proj.weight"},
    {Slot::kSharedUp, "", "model.layers.{}.mlp.shared_mlp.up_proj.weight"},
    {Slot::kSharedDown, "", "model.layers.{}.mlp.shared_mlp.down_proj.weight"},
}};
constexpr auto kDenseTensors = join_rules(kCommonMatrices, kPreNorms, kHalfSplitQk, kHeadNorms);
constexpr auto kMoeTensors =
    join_rules(kCommonMatrices, kPreNorms, kHalfSplitQk, kHeadNorms, kNames, kGgufExperts, kHfExperts);

void use_head_norms(ModelSpec& spec) {
  for (LayerSpec& layer : spec.layers) {
    layer.attention.qk_norm = AttentionSpec::QkNorm::kPerHead;
    layer.attention.norm_after_rope = true;
  }
}

Result<ModelSpec> dense_from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  use_head_norms(spec);
  return spec;
}

Result<ModelSpec> moe_from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, dense_from_gguf(checkpoint));
  FieldReader r(checkpoint.metadata, "hunyuan-moe.");
  MoeSpec moe;
  moe.normalise = true;
  moe.shared_hidden = 1;  // as many as expert_shared_count says
  experts_from_gguf(r, spec, moe);
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

Result<ModelSpec> dense_from_config(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", false);
  const bool norms = r.boolean_or("use_qk_norm", true);
  if (r.boolean_or("use_cla", false))
    r.unsupported("use_cla", "found true, layers that share their cache are not supported");
  KL_RETURN_IF_ERROR(r.status());
  if (norms) use_head_norms(spec);
  return spec;
}

// A count that stands once, or once a layer, where all layers agree.
int64_t same_in_all_layers(FieldReader& r, std::string_view key, int64_t layers, int64_t otherwise) {
  if (!r.has(key)) return otherwise;
  const std::vector<int64_t> values = r.integers_or_one(key);
  if (values.size() != 1 && std::ssize(values) != layers)
    r.fail(key, "found " + std::to_string(values.size()) + " entries, expected one, or one a layer");
  for (int64_t value : values) {
    if (value < 0 || value > kMaxDimension)
      r.fail(key, "found " + std::to_string(value) + ", expected 0 to " + std::to_string(kMaxDimension));
    else if (value != values.front())
      r.unsupported(key, "layers of different counts are not supported");
  }
  return values.empty() || !r.status().ok() ? otherwise : values.front();
}

Result<ModelSpec> moe_from_config(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, dense_from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  const auto layers = std::ssize(spec.layers);
  MoeSpec moe;
  moe.experts = same_in_all_layers(r, "num_experts", layers, 1);
  moe.used = same_in_all_layers(r, "moe_topk", layers, 1);
  moe.hidden = same_in_all_layers(r, "moe_intermediate_size", layers, spec.layers[0].ffn.hidden);
  moe.shared_hidden =
      r.boolean_or("use_mixed_mlp_moe", true) ? same_in_all_layers(r, "num_shared_expert", layers, 1) * moe.hidden : 0;
  moe.normalise = true;
  if (moe.experts < 1 || moe.used < 1 || moe.used > moe.experts || moe.hidden < 1 || moe.shared_hidden > kMaxDimension)
    r.fail("moe_topk", "found " + std::to_string(moe.used) + " experts used of " + std::to_string(moe.experts));
  use_experts_from(spec, r.integer_or("moe_layer_num_skipped", 0, kMaxLayers, 0), moe);
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

}  // namespace

const Family kHunyuanDense = {"hunyuan-dense", kGgufDense, kHfDense, dense_from_gguf, dense_from_config, kDenseTensors};
const Family kHunyuanMoe = {"hunyuan-moe", kGgufMoe, kHfMoe, moe_from_gguf, moe_from_config, kMoeTensors};

}  // namespace kinglet
