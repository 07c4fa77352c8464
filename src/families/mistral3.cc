// Mistral Small 3 and Ministral 3, the text parts of multimodal checkpoints: Mistral's block; Ministral 3 stretches its
// context by YaRN and lets queries grow with their position. Sources: transformers models/mistral3, ministral3.
#include "families/common.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kGguf[] = {"mistral3"};
constexpr std::string_view kHf[] = {"Mistral3ForConditionalGeneration", "Ministral3ForCausalLM"};
constexpr auto kTensors = join_rules(kCommonMatrices, kPreNorms, kGgufInterleavedQk, kRopeFactorsTensor);

void grow_queries(ModelSpec& spec, double growth, int64_t span) {
  for (LayerSpec& layer : spec.layers) {
    layer.attention.query_growth = growth;
    layer.attention.growth_span = growth == 0.0 ? 0 : span;
  }
}

Result<ModelSpec> from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  FieldReader r(checkpoint.metadata, "mistral3.");
  // As llama.cpp reads them: YaRN's magnitude is that of 1 over that of the multiplier, where the file has one.
  const double magnitude_scale_all = r.number_or("rope.scaling.yarn_log_multiplier", 0.0);
  const double growth = r.number_or("attention.temperature_scale", 0.0);
  const int64_t span = growth == 0.0 ? 0 : r.integer("rope.scaling.original_context_length", 1, kMaxContext);
  KL_RETURN_IF_ERROR(r.status());
  for (LayerSpec& layer : spec.layers) {
    RopeSpec& rope = layer.attention.rope;
    if (rope.scaling != RopeSpec::Scaling::kYarn || magnitude_scale_all == 0.0) continue;
    rope.magnitude_scale = 1.0;
    rope.magnitude_scale_all = magnitude_scale_all;
  }
  grow_queries(spec, growth, span);
  return spec;
}

Result<ModelSpec> from_config(const Checkpoint& checkpoint) {
  const std::string prefix = text_prefix(checkpoint);
  FieldReader r(checkpoint.metadata, prefix), whole(checkpoint.metadata, "");
  const std::string type = r.string_or("model_type", "mistral");
  if (type != "mistral" && type != "ministral3") r.unknown("model_type", type, {"mistral", "ministral3"});
  KL_RETURN_IF_ERROR(r.status());
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint, prefix));
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", whole.boolean_or("tie_word_embeddings", false));
  use_window_everywhere(r, "sliding_window", spec);
  if (type == "ministral3") {
    const double growth = r.number_or("rope_parameters.llama_4_scaling_beta", 0.0);
    grow_queries(spec, growth, spec.layers[0].attention.rope.original_context);
  }
  KL_RETURN_IF_ERROR(whole.status());
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

}  // namespace

const Family kMistral3 = {"mistral3", kGguf, kHf, from_gguf, from_config, kTensors};

}  // namespace kinglet
