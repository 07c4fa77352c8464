// Mistral (dense): Llama's block with a sliding window in some releases. Source: transformers models/mistral. Its GGUF
// files call themselves "llama" and are read by llama.cc.
#include "families/common.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kHf[] = {"MistralForCausalLM"};
constexpr auto kTensors = join_rules(kCommonMatrices, kPreNorms, kHalfSplitQk);

Result<ModelSpec> from_config(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", false);
  use_window_everywhere(r, "sliding_window", spec);
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

}  // namespace

const Family kMistral = {"mistral", {}, kHf, nullptr, from_config, kTensors};

}  // namespace kinglet
