// Qwen3 (dense): no biases, an RMS norm on each head of q and k before the rotary embedding, a head size of its own.
// Source: transformers models/qwen3.
#include "families/common.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kGguf[] = {"qwen3"};
constexpr std::string_view kHf[] = {"Qwen3ForCausalLM", "Qwen3Model", "Qwen3ForSequenceClassification"};
constexpr std::array<TensorRule, 7> kHeadNormsAndBiases = {{
    {Slot::kQNorm, "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight"},
    {Slot::kKNorm, "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight"},
    {Slot::kQBias, "blk.{}.attn_q.bias", "model.layers.{}.self_attn.q_proj.bias", false},
    {Slot::kKBias, "blk.{}.attn_k.bias", "model.layers.{}.self_attn.k_proj.bias", false},
    {Slot::kVBias, "blk.{}.attn_v.bias", "model.layers.{}.self_attn.v_proj.bias", false},
    {Slot::kAttentionOutputBias, "blk.{}.attn_output.bias", "model.layers.{}.self_attn.o_proj.bias", false},
    // A reranker's: of one label, or those of "yes" and "no" where the converter cut the output head down to them.
    {Slot::kClassifier, "cls.output.weight", "score.weight"},
}};
constexpr auto kTensors = join_rules(kCommonMatrices, kPreNorms, kHalfSplitQk, kHeadNormsAndBiases, kRopeFactorsTensor);

void use_head_norms(ModelSpec& spec) {
  for (LayerSpec& layer : spec.layers) layer.attention.qk_norm = AttentionSpec::QkNorm::kPerHead;
}

Result<ModelSpec> from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  if (const TensorView* head = checkpoint.find("cls.output.weight")) spec.labels = head->rows();
  use_head_norms(spec);
  return spec;
}

Result<ModelSpec> from_config(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", false);
  const std::string architecture = r.strings("architectures").front();
  if (architecture.ends_with("ForSequenceClassification")) spec.labels = classification_labels(r);
  use_windows_past_the_first_layers(r, spec);
  KL_RETURN_IF_ERROR(r.status());
  use_head_norms(spec);
  return spec;
}

}  // namespace

const Family kQwen3 = {"qwen3", kGguf, kHf, from_gguf, from_config, kTensors};

}  // namespace kinglet
