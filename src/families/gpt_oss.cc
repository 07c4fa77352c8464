// gpt-oss: attention sinks, a window in every other layer, YaRN without whole pairs, biases everywhere, experts chosen
// by logits with clamped SwiGLU. Source: transformers models/gpt_oss.
#include "families/experts.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kGguf[] = {"gpt-oss"};
constexpr std::string_view kHf[] = {"GptOssForCausalLM"};
constexpr std::array<TensorRule, 12> kAttention = {{
    {Slot::kEmbedding, "token_embd.weight", "model.embed_tokens.weight"},
    {Slot::kOutput, "output.weight", "lm_head.weight", false},
    {Slot::kOutputNorm, "output_norm.weight", "model.norm.weight"},
    {Slot::kAttentionNorm, "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight"},
    {Slot::kFfnNorm, "blk.{}.post_attention_norm.weight", "model.layers.{}.post_attention_layernorm.weight"},
    {Slot::kV, "blk.{}.attn_v.weight", "model.layers.{}.self_attn.v_proj.weight"},
    {Slot::kQBias, "blk.{}.attn_q.bias", "model.layers.{}.self_attn.q_proj.bias", false},
    {Slot::kKBias, "blk.{}.attn_k.bias", "model.layers.{}.self_attn.k_proj.bias", false},
    {Slot::kVBias, "blk.{}.attn_v.bias", "model.layers.{}.self_attn.v_proj.bias", false},
    {Slot::kSinks, "blk.{}.attn_sinks.weight", "model.layers.{}.self_attn.sinks"},
    {Slot::kAttentionOutput, "blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight"},
    {Slot::kAttentionOutputBias, "blk.{}.attn_output.bias", "model.layers.{}.self_attn.o_proj.bias", false},
}};
constexpr std::array<TensorRule, 11> kExperts = {{
    {Slot::kRouter, "", "model.layers.{}.mlp.router.weight"},
    {Slot::kRouterBias, "blk.{}.ffn_gate_inp.bias", "model.layers.{}.mlp.router.bias"},
    {Slot::kExpertGate, "", "model.layers.{}.mlp.experts.gate_up_proj", true, Transform::kNone,
     Transform::kTransposedPairedGate},
    {Slot::kExpertUp, "", "model.layers.{}.mlp.experts.gate_up_proj", true, Transform::kNone,
     Transform::kTransposedPairedUp},
    {Slot::kExpertDown, "", "model.layers.{}.mlp.experts.down_proj", true, Transform::kNone, Transform::kTransposed},
    // As released: MXFP4 blocks, which stand the right way round.
    {Slot::kExpertGate, "", "model.layers.{}.mlp.experts.gate_up_proj.weight", false, Transform::kNone,
     Transform::kPairedGate},
    {Slot::kExpertUp, "", "model.layers.{}.mlp.experts.gate_up_proj.weight", false, Transform::kNone,
     Transform::kPairedUp},
    {Slot::kExpertDown, "", "model.layers.{}.mlp.experts.down_proj.weight", false},
    {Slot::kExpertGateBias, "blk.{}.ffn_gate_exps.bias", "model.layers.{}.mlp.experts.gate_up_proj_bias", true,
     Transform::kNone, Transform::kPairedGate},
    {Slot::kExpertUpBias, "blk.{}.ffn_up_exps.bias", "model.layers.{}.mlp.experts.gate_up_proj_bias", true,
     Transform::kNone, Transform::kPairedUp},
    {Slot::kExpertDownBias, "blk.{}.ffn_down_exps.bias", "model.layers.{}.mlp.experts.down_proj_bias"},
}};
constexpr auto kTensors = join_rules(kAttention, kHalfSplitQk, kExperts, kGgufExperts);
constexpr double kClamp = 7.0;  // swiglu_limit; GGUF has no key for it

void common_facts(ModelSpec& spec, double limit) {
  for (LayerSpec& layer : spec.layers) {
    layer.attention.sinks = true;
    layer.attention.rope.whole_pairs = false;
    layer.ffn.activation = FfnActivation::kSwigluOai;
    layer.ffn.limit = limit;
  }
}

Result<ModelSpec> from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  FieldReader r(checkpoint.metadata, "gpt-oss.");
  const int64_t window = r.integer("attention.sliding_window", 0, kMaxContext);
  MoeSpec moe;
  moe.scoring = MoeSpec::Scoring::kSoftmaxSelected;
  experts_from_gguf(r, spec, moe);
  KL_RETURN_IF_ERROR(r.status());
  common_facts(spec, kClamp);
  for (size_t i = 0; i < spec.layers.size(); i += 2) spec.layers[i].attention.window = window;
  return spec;
}

Result<ModelSpec> from_config(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", false);
  MoeSpec moe = experts_from_config(r, {"num_local_experts", "num_experts_per_tok", "intermediate_size"});
  moe.scoring = MoeSpec::Scoring::kSoftmaxSelected;
  use_experts_from(spec, 0, moe);
  const int64_t window = r.integer_or("sliding_window", 0, kMaxContext, 128);
  const std::vector<bool> windowed = layers_of_kind(r, spec, "sliding_attention", [](size_t i) { return i % 2 == 0; });
  const double limit = r.number_or("swiglu_limit", kClamp);
  KL_RETURN_IF_ERROR(r.status());
  common_facts(spec, limit);
  for (size_t i = 0; i < spec.layers.size(); i++) spec.layers[i].attention.window = windowed[i] ? window : 0;
  return spec;
}

}  // namespace

const Family kGptOss = {"gpt-oss", kGguf, kHf, from_gguf, from_config, kTensors};

}  // namespace kinglet
