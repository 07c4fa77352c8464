// Mixtral: Mistral's block with a mixture of experts in every layer. Its GGUF files call themselves "llama" and are
// read by llama.cc. Source: transformers models/mixtral.
#include "families/experts.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kHf[] = {"MixtralForCausalLM"};
constexpr auto kTensors = join_rules(kCommonMatrices, kPreNorms, kHalfSplitQk, kHfSparseBlock);

Result<ModelSpec> from_config(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", false);
  use_window_everywhere(r, "sliding_window", spec);
  MoeSpec moe = experts_from_config(r, {"num_local_experts", "num_experts_per_tok", "intermediate_size"});
  moe.normalise = true;
  use_experts_from(spec, 0, moe);
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

}  // namespace

const Family kMixtral = {"mixtral", {}, kHf, nullptr, from_config, kTensors};

}  // namespace kinglet
