// Gemma 4 (text): normed heads, values too; scores that are not scaled; windowed and global layers with heads of their
// own sizes and rotary bases, the global ones rotated in a part of their pairs alone. The small models have an
// embedding a layer, and later layers that read the keys and values of earlier ones; the large ones have global layers
// whose values are their keys, and one has experts beside its dense networks. Norm weights are stored as they are.
// Sources: transformers models/gemma4 and _compute_proportional_rope_parameters.
#include <cmath>

#include "families/experts.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kGguf[] = {"gemma4"};
constexpr std::string_view kHf[] = {"Gemma4ForCausalLM", "Gemma4ForConditionalGeneration"};
constexpr std::array<TensorRule, 21> kOwn = {{
    {Slot::kOutputNorm, "output_norm.weight", "model.norm.weight"},
    {Slot::kLayerEmbedding, "per_layer_token_embd.weight", "model.embed_tokens_per_layer.weight"},
    {Slot::kLayerProjection, "per_layer_model_proj.weight", "model.per_layer_model_projection.weight"},
    {Slot::kLayerProjectionNorm, "per_layer_proj_norm.weight", "model.per_layer_projection_norm.weight"},
    {Slot::kAttentionNorm, "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight"},
    {Slot::kQNorm, "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight"},
    {Slot::kKNorm, "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight"},
    {Slot::kPostAttentionNorm, "blk.{}.post_attention_norm.weight", "model.layers.{}.post_attention_layernorm.weight"},
    {Slot::kFfnNorm, "blk.{}.ffn_norm.weight", "model.layers.{}.pre_feedforward_layernorm.weight"},
    {Slot::kPostFfnNorm, "blk.{}.post_ffw_norm.weight", "model.layers.{}.post_feedforward_layernorm.weight"},
    {Slot::kInputGate, "blk.{}.inp_gate.weight", "model.layers.{}.per_layer_input_gate.weight"},
    {Slot::kInputUp, "blk.{}.proj.weight", "model.layers.{}.per_layer_projection.weight"},
    {Slot::kPostInputNorm, "blk.{}.post_norm.weight", "model.layers.{}.post_per_layer_input_norm.weight"},
    {Slot::kLayerScale, "blk.{}.layer_output_scale.weight", "model.layers.{}.layer_scalar"},
    {Slot::kDensePostNorm, "blk.{}.post_ffw_norm_1.weight", "model.layers.{}.post_feedforward_layernorm_1.weight"},
    {Slot::kExpertNorm, "blk.{}.pre_ffw_norm_2.weight", "model.layers.{}.pre_feedforward_layernorm_2.weight"},
    {Slot::kExpertPostNorm, "blk.{}.post_ffw_norm_2.weight", "model.layers.{}.post_feedforward_layernorm_2.weight"},
    {Slot::kRouterNorm, "blk.{}.ffn_gate_inp.scale", "model.layers.{}.router.scale"},
    {Slot::kRouter, "", "model.layers.{}.router.proj.weight"},
    {Slot::kExpertScale, "blk.{}.ffn_down_exps.scale", "model.layers.{}.router.per_expert_scale"},
    {Slot::kExpertDown, "", "model.layers.{}.experts.down_proj"},
}};
constexpr std::array<TensorRule, 2> kFusedExperts = {{
    {Slot::kExpertGate, "blk.{}.ffn_gate_up_exps.weight", "model.layers.{}.experts.gate_up_proj", true,
     Transform::kPackedGate, Transform::kPackedGate},
    {Slot::kExpertUp, "blk.{}.ffn_gate_up_exps.weight", "model.layers.{}.experts.gate_up_proj", true,
     Transform::kPackedUp, Transform::kPackedUp},
}};
constexpr auto kTensors =
    join_rules(kCommonMatrices, kHalfSplitQk, kRopeFactorsTensor, kOwn, kFusedExperts, kGgufExperts);

constexpr int64_t kGlobalInterval = 6;  // layers 5, 11, 17, … see everything, where nothing else is said
constexpr int64_t kGlobalHeadDim = 512;
constexpr double kLocalTheta = 10000.0;
constexpr double kGlobalTheta = 1000000.0;
constexpr double kRotatedShare = 0.25;  // of a global head's pairs
constexpr float kUnrotated = 1e30f;     // divisor of the other pairs' frequencies, as GGUF files have it

// What a kind of layer has of its own.
struct Kind {
  int64_t window = 0, head_dim = 0, kv_heads = 0;
  RopeSpec rope;
};

void apply(ModelSpec& spec, const std::vector<bool>& windowed, const Kind& local, const Kind& global) {
  spec.embedding_scale = std::sqrt(static_cast<double>(spec.width));
  for (size_t i = 0; i < spec.layers.size(); i++) {
    const Kind& kind = windowed[i] ? local : global;
    LayerSpec& layer = spec.layers[i];
    AttentionSpec& a = layer.attention;
    a.window = kind.window;
    a.head_dim = a.value_dim = kind.head_dim;
    a.kv_heads = kind.kv_heads;
    a.rope = kind.rope;
    a.scale = 1.0;
    a.qk_norm = AttentionSpec::QkNorm::kPerHead;
    a.value_norm = true;
    layer.ffn.activation = FfnActivation::kGeluTanh;
    layer.scaled = true;
  }
}

// The last `shared` layers read the keys and values of the last of the others that is of their kind.
void share_kv(FieldReader& r, std::string_view key, ModelSpec& spec) {
  const int64_t layers = std::ssize(spec.layers);
  const int64_t shared = r.integer_or(key, 0, layers - 1, 0);
  for (int64_t i = layers - shared; i < layers; i++) {
    AttentionSpec& a = spec.layers[static_cast<size_t>(i)].attention;
    for (int64_t j = 0; j < layers - shared; j++)
      if (spec.layers[static_cast<size_t>(j)].attention.window == a.window) a.kv_layer = j;
    if (!a.shares_kv())
      r.fail(key, "found " + std::to_string(shared) + ", but no layer before them is of the kind of layer " +
                      std::to_string(i));
  }
}

MoeSpec routing() {
  MoeSpec moe;
  moe.normalise = true;
  moe.beside_dense = true;
  return moe;
}

Result<ModelSpec> from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  FieldReader r(checkpoint.metadata, "gemma4.");
  const std::vector<bool> windowed = r.booleans("attention.sliding_window_pattern");
  if (windowed.size() != spec.layers.size())
    r.fail("attention.sliding_window_pattern",
           "found " + std::to_string(windowed.size()) +
               " entries, expected one a layer: " + std::to_string(spec.layers.size()));
  const std::vector<int64_t> kv_heads = one_a_layer(r, "attention.head_count_kv", spec, 1, kMaxDimension);
  const std::vector<int64_t> hidden = one_a_layer(r, "feed_forward_length", spec, 1, kMaxDimension);
  const AttentionSpec& a = spec.layers[0].attention;
  Kind local, global{0, a.head_dim, a.kv_heads, a.rope};
  local.window = r.integer("attention.sliding_window", 1, kMaxContext);
  local.head_dim = r.integer_or("attention.key_length_swa", 1, kMaxDimension, a.head_dim);
  local.rope.rotated = r.integer_or("rope.dimension_count_swa", 0, kMaxRotated, local.head_dim);
  local.rope.theta = r.number_or("rope.freq_base_swa", kLocalTheta);
  spec.final_soft_cap = r.number_or("final_logit_softcapping", 0.0);
  const int64_t input_dim = r.integer_or("embedding_length_per_layer_input", 0, kMaxDimension, 0);
  KL_RETURN_IF_ERROR(r.status());
  apply(spec, windowed, local, global);
  for (size_t i = 0; i < spec.layers.size(); i++) {
    LayerSpec& layer = spec.layers[i];
    layer.attention.kv_heads = kv_heads[i];
    layer.ffn.hidden = hidden[i];
    layer.input_dim = input_dim;
    const bool has_values = checkpoint.find("blk." + std::to_string(i) + ".attn_v.weight") != nullptr;
    layer.attention.keys_as_values = !windowed[i] && !has_values;  // no key says so
  }
  share_kv(r, "attention.shared_kv_layers", spec);
  for (LayerSpec& layer : spec.layers)  // of a layer that stores no values, those that it reads
    if (AttentionSpec& own = layer.attention; own.shares_kv())
      own.keys_as_values = spec.layers[static_cast<size_t>(own.kv_layer)].attention.keys_as_values;
  experts_from_gguf(r, spec, routing());
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

// All pairs keep the frequencies that they have in a head that is rotated as a whole; those past the share have none.
RopeSpec proportional_rope(FieldReader& r, int64_t head_dim) {
  const std::string at = "rope_parameters.full_attention.";
  RopeSpec rope;
  rope.rotated = head_dim;
  rope.theta = r.number_or(at + "rope_theta", kGlobalTheta);
  rope.scaling = RopeSpec::Scaling::kFactors;
  const double share = r.number_or(at + "partial_rotary_factor", r.has(at + "rope_theta") ? 1.0 : kRotatedShare);
  const double factor = r.number_or(at + "factor", 1.0);
  if (!(share >= 0.0 && share <= 1.0) || !(factor >= 1e-6 && factor <= 1e9)) {
    r.fail(at + "partial_rotary_factor", "found " + std::to_string(share) + " and a factor of " +
                                             std::to_string(factor) + ", expected 0 to 1 and a factor above zero");
    return rope;
  }
  rope.factors.assign(static_cast<size_t>(head_dim / 2), static_cast<double>(kUnrotated));
  const auto rotated = static_cast<int64_t>(share * static_cast<double>(head_dim)) / 2;
  for (int64_t p = 0; p < rotated; p++) rope.factors[static_cast<size_t>(p)] = factor;
  return rope;
}

// The heads of global layers: transformers 5.23 writes them layer by layer, of which the first is asked here.
Kind global_kind(FieldReader& r, const ModelSpec& spec, const std::vector<bool>& windowed) {
  size_t first = 0;
  while (first < windowed.size() && windowed[first]) first++;
  const std::string at = "per_layer_config." + std::to_string(first) + ".";
  const int64_t kv_heads = spec.layers[0].attention.kv_heads;
  const bool own_heads = r.boolean_or("attention_k_eq_v", false);
  Kind kind;
  kind.head_dim = r.integer_or(r.has(at + "head_dim") ? at + "head_dim" : std::string("global_head_dim"), 2,
                               kMaxRotated, kGlobalHeadDim);
  kind.kv_heads = r.integer_or("num_global_key_value_heads", 1, kMaxDimension, kv_heads);
  if (!own_heads) kind.kv_heads = kv_heads;
  kind.kv_heads = r.integer_or(at + "num_key_value_heads", 1, kMaxDimension, kind.kv_heads);
  const std::string type = r.string_or("rope_parameters.full_attention.rope_type", "proportional");
  kind.rope = type == "proportional" ? proportional_rope(r, kind.head_dim)
                                     : rope_from_config(r, "full_attention", kind.head_dim, spec.context, kGlobalTheta);
  return kind;
}

void refuse_variants(FieldReader& r, const ModelSpec& spec) {
  if (r.string_or("use_bidirectional_attention", "vision") == "all")
    r.unsupported("use_bidirectional_attention", "found \"all\", only causal models are supported");
  if (r.boolean_or("attention_bias", false)) r.unsupported("attention_bias", "found true, supported is false");
  const int64_t entries = r.integer_or("vocab_size_per_layer_input", 1, kMaxDimension, spec.vocabulary);
  if (spec.layers[0].input_dim > 0 && entries != spec.vocabulary)
    r.unsupported(
        "vocab_size_per_layer_input",
        "found " + std::to_string(entries) + ", supported is the vocabulary's " + std::to_string(spec.vocabulary));
}

Result<ModelSpec> from_config(const Checkpoint& checkpoint) {
  const std::string prefix = text_prefix(checkpoint);
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint, prefix));
  FieldReader r(checkpoint.metadata, prefix);
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", true);
  spec.final_soft_cap = r.number_or("final_logit_softcapping", 0.0);
  std::vector<bool> windowed = layers_of_kind(
      r, spec, "sliding_attention", [](size_t i) { return (static_cast<int64_t>(i) + 1) % kGlobalInterval != 0; });
  windowed.back() = false;  // whatever the list says
  const AttentionSpec& a = spec.layers[0].attention;
  Kind local{0, a.head_dim, a.kv_heads, {}};
  local.window = r.integer_or("sliding_window", 1, kMaxContext, 512);
  local.rope = rope_from_config(r, "sliding_attention", local.head_dim, spec.context, kLocalTheta);
  const Kind global = global_kind(r, spec, windowed);
  const bool keys_as_values = r.boolean_or("attention_k_eq_v", false);
  const bool double_wide = r.boolean_or("use_double_wide_mlp", false);
  const int64_t input_dim = r.integer_or("hidden_size_per_layer_input", 0, kMaxDimension, 256);
  KL_RETURN_IF_ERROR(r.status());
  apply(spec, windowed, local, global);
  share_kv(r, "num_kv_shared_layers", spec);
  for (size_t i = 0; i < spec.layers.size(); i++) {
    LayerSpec& layer = spec.layers[i];
    layer.attention.keys_as_values = keys_as_values && !windowed[i];
    if (double_wide && layer.attention.shares_kv()) layer.ffn.hidden *= 2;
    layer.input_dim = input_dim;
  }
  refuse_variants(r, spec);
  if (r.boolean_or("enable_moe_block", false)) {
    MoeSpec moe = experts_from_config(r, {"num_experts", "top_k_experts", "moe_intermediate_size"});
    moe.normalise = moe.beside_dense = true;
    use_experts_from(spec, 0, moe);
  }
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

}  // namespace

const Family kGemma4 = {"gemma4", kGguf, kHf, from_gguf, from_config, kTensors};

}  // namespace kinglet
