// Qwen3-Next and Qwen3.5 (dense and MoE): three layers of gated delta rule to one of gated attention; experts, where
// there are some, with a gated shared one. Norm weights are stored as w - 1 in Hugging Face folders, but for the norm
// of recurrent results. Sources: transformers models/qwen3_next, qwen3_5, qwen3_5_moe.
#include <algorithm>

#include "families/experts.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kGgufNext[] = {"qwen3next"};
constexpr std::string_view kHfNext[] = {"Qwen3NextForCausalLM"};
constexpr std::string_view kGguf35[] = {"qwen35", "qwen35moe"};
constexpr std::string_view kHf35[] = {"Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration", "Qwen3_5MoeForCausalLM",
                                      "Qwen3_5MoeForConditionalGeneration"};
constexpr std::array<TensorRule, 12> kAttention = {{
    {Slot::kEmbedding, "token_embd.weight", "model.embed_tokens.weight"},
    {Slot::kOutput, "output.weight", "lm_head.weight", false},
    {Slot::kOutputNorm, "output_norm.weight", "model.norm.weight", true, Transform::kNone, Transform::kAddOne},
    {Slot::kAttentionNorm, "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight", true, Transform::kNone,
     Transform::kAddOne},
    {Slot::kFfnNorm, "blk.{}.post_attention_norm.weight", "model.layers.{}.post_attention_layernorm.weight", true,
     Transform::kNone, Transform::kAddOne},
    {Slot::kQ, "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight", true, Transform::kGatedQ,
     Transform::kGatedQ},
    {Slot::kAttentionGate, "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight", true,
     Transform::kGatedGate, Transform::kGatedGate},
    {Slot::kK, "blk.{}.attn_k.weight", "model.layers.{}.self_attn.k_proj.weight"},
    {Slot::kV, "blk.{}.attn_v.weight", "model.layers.{}.self_attn.v_proj.weight"},
    {Slot::kQNorm, "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight", true, Transform::kNone,
     Transform::kAddOne},
    {Slot::kKNorm, "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight", true, Transform::kNone,
     Transform::kAddOne},
    {Slot::kAttentionOutput, "blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight"},
}};
constexpr std::array<TensorRule, 9> kRecurrentNext = {{
    {Slot::kRecurrentQkv, "blk.{}.attn_qkv.weight", "model.layers.{}.linear_attn.in_proj_qkvz.weight", true,
     Transform::kNone, Transform::kGroupedQkv},
    {Slot::kRecurrentGate, "blk.{}.attn_gate.weight", "model.layers.{}.linear_attn.in_proj_qkvz.weight", true,
     Transform::kNone, Transform::kGroupedGate},
    {Slot::kRecurrentBeta, "blk.{}.ssm_ba.weight", "model.layers.{}.linear_attn.in_proj_ba.weight", true,
     Transform::kGroupedBeta, Transform::kGroupedBeta},
    {Slot::kRecurrentAlpha, "blk.{}.ssm_ba.weight", "model.layers.{}.linear_attn.in_proj_ba.weight", true,
     Transform::kGroupedAlpha, Transform::kGroupedAlpha},
    {Slot::kConvolution, "blk.{}.ssm_conv1d.weight", "model.layers.{}.linear_attn.conv1d.weight"},
    {Slot::kDecayRate, "blk.{}.ssm_a", "model.layers.{}.linear_attn.A_log", true, Transform::kNone,
     Transform::kNegativeExp},
    {Slot::kDecayBias, "blk.{}.ssm_dt.bias", "model.layers.{}.linear_attn.dt_bias"},
    {Slot::kRecurrentNorm, "blk.{}.ssm_norm.weight", "model.layers.{}.linear_attn.norm.weight"},
    {Slot::kRecurrentOutput, "blk.{}.ssm_out.weight", "model.layers.{}.linear_attn.out_proj.weight"},
}};
// GGUF files of Qwen3.5 hold the value heads in another order than folders, in which quantised columns cannot be moved
// back; so theirs is ours.
constexpr std::array<TensorRule, 9> kRecurrent35 = {{
    {Slot::kRecurrentQkv, "blk.{}.attn_qkv.weight", "model.layers.{}.linear_attn.in_proj_qkv.weight", true,
     Transform::kNone, Transform::kTiledQkv},
    {Slot::kRecurrentGate, "blk.{}.attn_gate.weight", "model.layers.{}.linear_attn.in_proj_z.weight", true,
     Transform::kNone, Transform::kTiled},
    {Slot::kRecurrentBeta, "blk.{}.ssm_beta.weight", "model.layers.{}.linear_attn.in_proj_b.weight", true,
     Transform::kNone, Transform::kTiled},
    {Slot::kRecurrentAlpha, "blk.{}.ssm_alpha.weight", "model.layers.{}.linear_attn.in_proj_a.weight", true,
     Transform::kNone, Transform::kTiled},
    {Slot::kConvolution, "blk.{}.ssm_conv1d.weight", "model.layers.{}.linear_attn.conv1d.weight", true,
     Transform::kNone, Transform::kTiledQkv},
    {Slot::kDecayRate, "blk.{}.ssm_a", "model.layers.{}.linear_attn.A_log", true, Transform::kNone,
     Transform::kTiledNegativeExp},
    {Slot::kDecayBias, "blk.{}.ssm_dt.bias", "model.layers.{}.linear_attn.dt_bias", true, Transform::kNone,
     Transform::kTiled},
    {Slot::kRecurrentNorm, "blk.{}.ssm_norm.weight", "model.layers.{}.linear_attn.norm.weight"},
    {Slot::kRecurrentOutput, "blk.{}.ssm_out.weight", "model.layers.{}.linear_attn.out_proj.weight", true,
     Transform::kNone, Transform::kTiledColumns},
}};
constexpr auto kTensorsNext =
    join_rules(kAttention, kRecurrentNext, kGatedFfn, kGgufExperts, kHfExperts, kHfGatedSharedExpert);
constexpr auto kTensors35 =
    join_rules(kAttention, kRecurrent35, kGatedFfn, kGgufExperts, kHfExperts, kHfGatedSharedExpert);

constexpr int64_t kInterval = 4;  // of full attention layers, where nothing says otherwise

enum class Generation : uint8_t { kNext, k35 };

void check_recurrent(FieldReader& r, std::string_view key, const RecurrentSpec& s) {
  if (s.value_heads % s.key_heads != 0)
    r.fail(key, std::to_string(s.value_heads) + " value heads cannot share " + std::to_string(s.key_heads) +
                    " key heads evenly");
}

// Of text alone they change nothing; what vision would do with them is stated in files all the same.
void read_sections(FieldReader& r, const std::string& key, ModelSpec& spec) {
  std::vector<int64_t> sections = {11, 11, 10};  // of the releases
  if (r.has(key)) sections = r.integers_or_one(key);
  if (sections.size() > 4 ||
      std::any_of(sections.begin(), sections.end(), [](int64_t n) { return n < 0 || n > kMaxRotated; }))
    r.fail(key, "expected up to 4 counts of pairs from 0 to " + std::to_string(kMaxRotated));
  sections.resize(4);
  for (LayerSpec& layer : spec.layers) layer.attention.rope.sections = sections;
}

void set_layers(ModelSpec& spec, const RecurrentSpec& recurrent, const std::vector<bool>& recurs) {
  for (size_t i = 0; i < spec.layers.size(); i++) {
    LayerSpec& layer = spec.layers[i];
    layer.attention.qk_norm = AttentionSpec::QkNorm::kPerHead;
    layer.attention.gated = true;
    layer.recurrent = recurrent;
    layer.recurrent.norm_epsilon = spec.norm_epsilon;
    if (recurs[i]) layer.mixer = Mixer::kGatedDelta;
  }
}

Result<ModelSpec> from_gguf(const Checkpoint& checkpoint, Generation generation) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  FieldReader r(checkpoint.metadata, spec.architecture + ".");
  split_off_prediction_layers(r, spec);
  KL_RETURN_IF_ERROR(r.status());
  MoeSpec moe;
  moe.normalise = true;
  moe.shared_gated = true;
  experts_from_gguf(r, spec, moe);
  RecurrentSpec recurrent;
  recurrent.conv_kernel = r.integer("ssm.conv_kernel", 2, 8);
  recurrent.key_dim = r.integer("ssm.state_size", 1, kMaxDimension);
  recurrent.key_heads = r.integer("ssm.group_count", 1, kMaxDimension);
  recurrent.value_heads = r.integer("ssm.time_step_rank", 1, kMaxDimension);
  recurrent.value_dim = r.integer("ssm.inner_size", 1, kMaxDimension) / recurrent.value_heads;
  recurrent.heads_by_modulo = generation == Generation::k35;
  check_recurrent(r, "ssm.time_step_rank", recurrent);
  if (generation == Generation::k35) read_sections(r, "rope.dimension_sections", spec);
  KL_RETURN_IF_ERROR(r.status());
  std::vector<bool> recurs;  // the file says by its tensors which layers are which
  for (size_t i = 0; i < spec.layers.size(); i++)
    recurs.push_back(checkpoint.find("blk." + std::to_string(i) + ".ssm_conv1d.weight") != nullptr);
  set_layers(spec, recurrent, recurs);
  return spec;
}

MoeSpec experts_of(FieldReader& r) {
  MoeSpec moe = experts_from_config(r, {"num_experts", "num_experts_per_tok", "moe_intermediate_size"});
  moe.normalise = r.boolean_or("norm_topk_prob", true);
  moe.shared_hidden = r.integer_or("shared_expert_intermediate_size", 0, kMaxDimension, 0);
  moe.shared_gated = true;
  return moe;
}

Result<ModelSpec> from_config(const Checkpoint& checkpoint, Generation generation) {
  const std::string prefix = text_prefix(checkpoint);
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint, prefix));
  FieldReader r(checkpoint.metadata, prefix);
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", false);
  spec.prediction_layers = r.integer_or("mtp_num_hidden_layers", 0, kMaxLayers, 0);
  if (generation == Generation::kNext || r.has("num_experts")) use_experts_by_step(r, spec, experts_of(r));
  if (!r.boolean_or("attn_output_gate", true))
    r.unsupported("attn_output_gate", "found false, only gated attention is supported");
  RecurrentSpec recurrent;
  recurrent.conv_kernel = r.integer_or("linear_conv_kernel_dim", 2, 8, 4);
  recurrent.key_dim = r.integer("linear_key_head_dim", 1, kMaxDimension);
  recurrent.value_dim = r.integer("linear_value_head_dim", 1, kMaxDimension);
  recurrent.key_heads = r.integer("linear_num_key_heads", 1, kMaxDimension);
  recurrent.value_heads = r.integer("linear_num_value_heads", 1, kMaxDimension);
  recurrent.heads_by_modulo = generation == Generation::k35;
  check_recurrent(r, "linear_num_value_heads", recurrent);
  if (generation == Generation::k35) read_sections(r, "rope_parameters.mrope_section", spec);
  const int64_t interval = r.integer_or("full_attention_interval", 1, kMaxLayers, kInterval);
  const std::vector<bool> recurs = layers_of_kind(
      r, spec, "linear_attention", [&](size_t i) { return (static_cast<int64_t>(i) + 1) % interval != 0; });
  KL_RETURN_IF_ERROR(r.status());
  set_layers(spec, recurrent, recurs);
  return spec;
}

Result<ModelSpec> gguf_next(const Checkpoint& checkpoint) {
  return from_gguf(checkpoint, Generation::kNext);
}
Result<ModelSpec> config_next(const Checkpoint& checkpoint) {
  return from_config(checkpoint, Generation::kNext);
}
Result<ModelSpec> gguf_35(const Checkpoint& checkpoint) {
  return from_gguf(checkpoint, Generation::k35);
}
Result<ModelSpec> config_35(const Checkpoint& checkpoint) {
  return from_config(checkpoint, Generation::k35);
}

}  // namespace

const Family kQwen3Next = {"qwen3-next", kGgufNext, kHfNext, gguf_next, config_next, kTensorsNext};
const Family kQwen35 = {"qwen3.5", kGguf35, kHf35, gguf_35, config_35, kTensors35};

}  // namespace kinglet
