// Gemma 3 (text): scaled embeddings, norms around attention and FFN on both sides (stored as w - 1 in Hugging Face
// folders), normed heads, five windowed layers to one global, each kind with its own rotary base. Source: transformers
// models/gemma3.
#include <cmath>

#include "families/families.h"
#include "families/gemma.h"

namespace kinglet {
namespace {

constexpr std::string_view kGguf[] = {"gemma3"};
constexpr std::string_view kHf[] = {"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"};
constexpr std::array<TensorRule, 2> kHeadNorms = {{
    {Slot::kQNorm, "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight", true, Transform::kNone,
     Transform::kAddOne},
    {Slot::kKNorm, "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight", true, Transform::kNone,
     Transform::kAddOne},
}};
constexpr auto kTensors = join_rules(kCommonMatrices, kHalfSplitQk, kGemmaNorms, kHeadNorms);

constexpr size_t kGlobalInterval = 6;  // layers 5, 11, 17, … see everything
constexpr double kLocalTheta = 10000.0;
constexpr double kGlobalTheta = 1000000.0;
constexpr int64_t kLayersOf27B = 62;  // the one size whose score scale is not that of its head size

void common_facts(ModelSpec& spec) {
  spec.embedding_scale = std::sqrt(static_cast<double>(spec.width));
  for (LayerSpec& layer : spec.layers) {
    layer.attention.qk_norm = AttentionSpec::QkNorm::kPerHead;
    layer.ffn.activation = FfnActivation::kGeluTanh;
  }
}

Result<ModelSpec> from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  common_facts(spec);
  FieldReader r(checkpoint.metadata, "gemma3.");
  const int64_t window = r.integer("attention.sliding_window", 1, kMaxContext);
  RopeSpec local;
  local.rotated = spec.layers[0].attention.rope.rotated;
  local.theta = r.number_or("rope.freq_base_swa", kLocalTheta);
  const double global_theta = r.number_or("rope.freq_base", kGlobalTheta);
  spec.final_soft_cap = r.number_or("final_logit_softcapping", 0.0);
  KL_RETURN_IF_ERROR(r.status());
  for (size_t i = 0; i < spec.layers.size(); i++) {
    AttentionSpec& attention = spec.layers[i].attention;
    attention.rope.theta = global_theta;
    if (spec.layers.size() == kLayersOf27B)
      attention.scale = 1.0 / std::sqrt(static_cast<double>(spec.width) / static_cast<double>(attention.heads));
    if ((i + 1) % kGlobalInterval == 0) continue;
    attention.window = window;
    attention.rope = local;
  }
  return spec;
}

Result<ModelSpec> from_config(const Checkpoint& checkpoint) {
  const std::string prefix = text_prefix(checkpoint);
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint, prefix));
  common_facts(spec);
  FieldReader r(checkpoint.metadata, prefix);
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", true);
  spec.final_soft_cap = r.number_or("final_logit_softcapping", 0.0);
  const double soft_cap = r.number_or("attn_logit_softcapping", 0.0);
  const double scale = 1.0 / std::sqrt(r.number_or("query_pre_attn_scalar", 256.0));
  const int64_t window = r.integer_or("sliding_window", 1, kMaxContext, 4096);
  const int64_t interval = r.integer_or("sliding_window_pattern", 1, kMaxLayers, kGlobalInterval);
  if (r.boolean_or("use_bidirectional_attention", false))
    r.unsupported("use_bidirectional_attention", "found true, only causal models are supported");
  std::vector<std::string> types;
  if (r.has("layer_types")) {
    types = r.strings("layer_types");
    if (types.size() != spec.layers.size())
      r.fail("layer_types", "found " + std::to_string(types.size()) +
                                " entries, expected one a layer: " + std::to_string(spec.layers.size()));
  }
  const int64_t head_dim = spec.layers[0].attention.head_dim;
  const bool per_kind =
      r.has("rope_parameters.full_attention.rope_type") || r.has("rope_parameters.full_attention.rope_theta");
  const RopeSpec global = rope_from_config(r, per_kind ? "full_attention" : "", head_dim, spec.context, kGlobalTheta);
  RopeSpec local;
  if (per_kind) {
    local = rope_from_config(r, "sliding_attention", head_dim, spec.context, kLocalTheta);
  } else {
    local.rotated = head_dim;
    local.theta = r.number_or("rope_local_base_freq", kLocalTheta);
  }
  KL_RETURN_IF_ERROR(r.status());
  for (size_t i = 0; i < spec.layers.size(); i++) {
    AttentionSpec& attention = spec.layers[i].attention;
    attention.scale = scale;
    attention.soft_cap = soft_cap;
    const bool local_layer =
        types.empty() ? (static_cast<int64_t>(i) + 1) % interval != 0 : types[i] == "sliding_attention";
    attention.rope = local_layer ? local : global;
    attention.window = local_layer ? window : 0;
  }
  return spec;
}

}  // namespace

const Family kGemma3 = {"gemma3", kGguf, kHf, from_gguf, from_config, kTensors};

}  // namespace kinglet
