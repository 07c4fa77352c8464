// Llama 1 to 3.3 and what shares its block: SmolLM2, Mistral and Mixtral in GGUF form, R1 distillations of Llama.
// Source: transformers models/llama; the GGUF converter stores q and k with interleaved rotary pairs.
#include "families/experts.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kGguf[] = {"llama"};
constexpr std::string_view kHf[] = {"LlamaForCausalLM"};
constexpr auto kTensors = join_rules(kCommonMatrices, kPreNorms, kGgufInterleavedQk, kOptionalBiasesGgufInterleaved,
                                     kRopeFactorsTensor, kGgufExperts);

Result<ModelSpec> from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  FieldReader r(checkpoint.metadata, "llama.");
  const int64_t window = r.integer_or("attention.sliding_window", 0, kMaxContext, 0);
  MoeSpec mixtral;
  mixtral.normalise = true;
  experts_from_gguf(r, spec, mixtral);
  KL_RETURN_IF_ERROR(r.status());
  for (LayerSpec& layer : spec.layers) layer.attention.window = window;
  return spec;
}

Result<ModelSpec> from_config(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", false);
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

}  // namespace

const Family kLlama = {"llama", kGguf, kHf, from_gguf, from_config, kTensors};

}  // namespace kinglet
