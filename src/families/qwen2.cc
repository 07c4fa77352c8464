// Qwen2 and Qwen2.5 (Coder and the R1 distillations of it too): Llama's block with biases on q, k and v.
// Source: transformers models/qwen2. Releases set use_sliding_window to false.
#include "families/common.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kGguf[] = {"qwen2"};
constexpr std::string_view kHf[] = {"Qwen2ForCausalLM"};
constexpr std::array<TensorRule, 3> kBiases = {{
    {Slot::kQBias, "blk.{}.attn_q.bias", "model.layers.{}.self_attn.q_proj.bias"},
    {Slot::kKBias, "blk.{}.attn_k.bias", "model.layers.{}.self_attn.k_proj.bias"},
    {Slot::kVBias, "blk.{}.attn_v.bias", "model.layers.{}.self_attn.v_proj.bias"},
}};
constexpr auto kTensors = join_rules(kCommonMatrices, kPreNorms, kHalfSplitQk, kBiases, kRopeFactorsTensor);

Result<ModelSpec> from_config(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", false);
  use_windows_past_the_first_layers(r, spec);
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

}  // namespace

const Family kQwen2 = {"qwen2", kGguf, kHf, baseline_from_gguf, from_config, kTensors};

}  // namespace kinglet
