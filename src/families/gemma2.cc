// Gemma 2: scaled embeddings, norms around attention and FFN on both sides (stored as w - 1 in Hugging Face folders),
// soft-capped scores and logits, a window in every other layer. Source: transformers models/gemma2.
#include <cmath>

#include "families/families.h"
#include "families/gemma.h"

namespace kinglet {
namespace {

constexpr std::string_view kGguf[] = {"gemma2"};
constexpr std::string_view kHf[] = {"Gemma2ForCausalLM"};
constexpr auto kTensors = join_rules(kCommonMatrices, kHalfSplitQk, kGemmaNorms);
constexpr size_t kLayersOf27B = 46;  // the one size whose score scale is not that of its head size
constexpr int64_t kWindow = 4096;

void common_facts(ModelSpec& spec) {
  spec.embedding_scale = std::sqrt(static_cast<double>(spec.width));
  for (LayerSpec& layer : spec.layers) layer.ffn.activation = FfnActivation::kGeluTanh;
}

Result<ModelSpec> from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  common_facts(spec);
  FieldReader r(checkpoint.metadata, "gemma2.");
  const int64_t window = r.integer_or("attention.sliding_window", 0, kMaxContext, kWindow);
  const double soft_cap = r.number_or("attn_logit_softcapping", 50.0);
  spec.final_soft_cap = r.number_or("final_logit_softcapping", 30.0);
  KL_RETURN_IF_ERROR(r.status());
  for (size_t i = 0; i < spec.layers.size(); i++) {
    AttentionSpec& attention = spec.layers[i].attention;
    attention.soft_cap = soft_cap;
    attention.window = i % 2 == 0 ? window : 0;
    if (spec.layers.size() == kLayersOf27B)
      attention.scale = 1.0 / std::sqrt(static_cast<double>(spec.width) / static_cast<double>(attention.heads));
  }
  return spec;
}

Result<ModelSpec> from_config(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint));
  common_facts(spec);
  FieldReader r(checkpoint.metadata, "");
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", true);
  spec.final_soft_cap = r.number_or("final_logit_softcapping", r.has("final_logit_softcapping") ? 0.0 : 30.0);
  const double soft_cap = r.number_or("attn_logit_softcapping", 50.0);
  const double scale = 1.0 / std::sqrt(r.number_or("query_pre_attn_scalar", 256.0));
  const int64_t window = r.integer_or("sliding_window", 0, kMaxContext, kWindow);
  const std::vector<bool> windowed = layers_of_kind(r, spec, "sliding_attention", [](size_t i) { return i % 2 == 0; });
  KL_RETURN_IF_ERROR(r.status());
  for (size_t i = 0; i < spec.layers.size(); i++) {
    AttentionSpec& attention = spec.layers[i].attention;
    attention.scale = scale;
    attention.soft_cap = soft_cap;
    attention.window = windowed[i] ? window : 0;
  }
  return spec;
}

}  // namespace

const Family kGemma2 = {"gemma2", kGguf, kHf, from_gguf, from_config, kTensors};

}  // namespace kinglet
