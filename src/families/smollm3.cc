// SmolLM3: Llama's block, every fourth layer without rotary embedding. Source: transformers models/smollm3.
#include "families/common.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kGguf[] = {"smollm3"};
constexpr std::string_view kHf[] = {"SmolLM3ForCausalLM"};
constexpr auto kTensors =
    join_rules(kCommonMatrices, kPreNorms, kGgufInterleavedQk, kOptionalBiasesGgufInterleaved, kRopeFactorsTensor);
constexpr size_t kRopeInterval = 4;  // layers 3, 7, 11, … have none; GGUF has no key for it

Result<ModelSpec> from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  for (size_t i = 0; i < spec.layers.size(); i++)
    if ((i + 1) % kRopeInterval == 0) spec.layers[i].attention.rope.rotated = 0;
  return spec;
}

Result<ModelSpec> from_config(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", true);
  const int64_t interval = r.integer_or("no_rope_layer_interval", 1, kMaxLayers, kRopeInterval);
  std::vector<int64_t> use_rope;  // one a layer, 1: rotary
  if (r.has("no_rope_layers")) {
    use_rope = r.integers("no_rope_layers");
    if (use_rope.size() != spec.layers.size())
      r.fail("no_rope_layers", "found " + std::to_string(use_rope.size()) +
                                   " entries, expected one a layer: " + std::to_string(spec.layers.size()));
  }
  const bool windowed = r.boolean_or("use_sliding_window", false);
  const int64_t window = windowed ? r.integer_or("sliding_window", 0, kMaxContext, 0) : 0;
  KL_RETURN_IF_ERROR(r.status());
  for (size_t i = 0; i < spec.layers.size(); i++) {
    const bool rotary = use_rope.empty() ? (static_cast<int64_t>(i) + 1) % interval != 0 : use_rope[i] != 0;
    if (!rotary) spec.layers[i].attention.rope.rotated = 0;
    spec.layers[i].attention.window = rotary ? window : 0;
  }
  return spec;
}

}  // namespace

const Family kSmolLM3 = {"smollm3", kGguf, kHf, from_gguf, from_config, kTensors};

}  // namespace kinglet
