// Binding: every slot of the spec to a tensor of the checkpoint, every shape checked.
#include <string>
#include <unordered_set>
#include <vector>

#include "families/family.h"

namespace kinglet {
namespace {

// Names under which multimodal checkpoints hold the same text model.
std::vector<std::string> hf_spellings(const std::string& name) {
  std::vector<std::string> spellings = {name, "language_model." + name};
  if (name.starts_with("model.")) spellings.push_back("model.language_model." + name.substr(6));
  return spellings;
}

std::string instantiate(std::string_view pattern, int layer) {
  std::string name(pattern);
  const size_t at = name.find("{}");
  if (at != std::string::npos) name.replace(at, 2, std::to_string(layer));
  return name;
}

// The shape a slot must have: {rows, columns}, or {1, n} for vectors.
struct Expected {
  int64_t rows, columns;
};
Expected expected_shape(Slot slot, const ModelSpec& spec, const LayerSpec* layer) {
  const AttentionSpec a = layer ? layer->attention : AttentionSpec{};
  const int64_t ffn = layer ? layer->ffn.hidden : 0;
  switch (slot) {
    case Slot::kEmbedding:
    case Slot::kOutput:
      return {spec.vocabulary, spec.width};
    case Slot::kRopeFactors:
      return {1, spec.layers[0].attention.rope.rotated / 2};
    case Slot::kOutputNorm:
    case Slot::kAttentionNorm:
    case Slot::kPostAttentionNorm:
    case Slot::kFfnNorm:
    case Slot::kPostFfnNorm:
    case Slot::kAttentionOutputBias:
    case Slot::kDownBias:
      return {1, spec.width};
    case Slot::kQ:
      return {a.heads * a.head_dim, spec.width};
    case Slot::kK:
      return {a.kv_heads * a.head_dim, spec.width};
    case Slot::kV:
      return {a.kv_heads * a.value_dim, spec.width};
    case Slot::kQBias:
      return {1, a.heads * a.head_dim};
    case Slot::kKBias:
      return {1, a.kv_heads * a.head_dim};
    case Slot::kVBias:
      return {1, a.kv_heads * a.value_dim};
    case Slot::kQNorm:
    case Slot::kKNorm:
      return {1, a.head_dim};
    case Slot::kAttentionOutput:
      return {spec.width, a.heads * a.value_dim};
    case Slot::kGate:
    case Slot::kUp:
      return {ffn, spec.width};
    case Slot::kGateBias:
    case Slot::kUpBias:
      return {1, ffn};
    case Slot::kDown:
      return {spec.width, ffn};
    case Slot::kCount:
      break;
  }
  KL_CHECK(false, "a slot without a shape");
  return {0, 0};
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); i++) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

class Binder {
 public:
  Binder(const Checkpoint& checkpoint, BoundModel& model) : checkpoint_(checkpoint), model_(model) {}

  Status run() {
    for (const TensorRule& rule : model_.family->tensors) {
      const std::string_view pattern = gguf() ? rule.gguf_name : rule.hf_name;
      if (pattern.empty()) continue;
      // A tied head that the file stores all the same is the embedding once more.
      if (rule.slot == Slot::kOutput && model_.spec.tied_embeddings) {
        note_used(pattern, -1);
        continue;
      }
      const bool per_layer = pattern.find("{}") != std::string_view::npos;
      const int count = per_layer ? static_cast<int>(model_.spec.layers.size()) : 1;
      for (int i = 0; i < count; i++) KL_RETURN_IF_ERROR(bind(rule, pattern, per_layer ? i : -1));
    }
    if (!model_.spec.tied_embeddings && !model_.find(Slot::kOutput))
      return Error{ErrorCode::kInvalid, checkpoint_.path + ": the output head (" +
                                            (gguf() ? "output.weight" : "lm_head.weight") +
                                            ") is missing, and the configuration does not tie it to the embedding"};
    for (const TensorView& tensor : checkpoint_.tensors)
      if (!used_.contains(&tensor)) model_.ignored.push_back(tensor.name);
    return {};
  }

 private:
  bool gguf() const { return checkpoint_.format == CheckpointFormat::kGguf; }

  const TensorView* lookup(const std::string& name) const {
    if (gguf()) return checkpoint_.find(name);
    for (const std::string& spelling : hf_spellings(name))
      if (const TensorView* tensor = checkpoint_.find(spelling)) return tensor;
    return nullptr;
  }
  void note_used(std::string_view pattern, int layer) {
    if (const TensorView* tensor = lookup(instantiate(pattern, layer))) used_.insert(tensor);
  }

  Status bind(const TensorRule& rule, std::string_view pattern, int layer) {
    const std::string name = instantiate(pattern, layer);
    const TensorView* tensor = lookup(name);
    if (!tensor) {
      if (!rule.required) return {};
      return Error{ErrorCode::kInvalid, checkpoint_.path + ": tensor " + name + " (" +
                                            std::string(slot_name(rule.slot)) +
                                            ") is missing; the configuration says " + model_.spec.family + " with " +
                                            std::to_string(model_.spec.layers.size()) + " layers"};
    }
    const Expected want =
        expected_shape(rule.slot, model_.spec, layer >= 0 ? &model_.spec.layers[static_cast<size_t>(layer)] : nullptr);
    if (tensor->columns() != want.columns || tensor->rows() != want.rows)
      return Error{ErrorCode::kInvalid,
                   checkpoint_.path + ": tensor " + tensor->name + ": found shape " + shape_text(tensor->shape) +
                       ", expected " +
                       (want.rows == 1 ? shape_text({want.columns}) : shape_text({want.rows, want.columns})) +
                       " by the configuration"};
    used_.insert(tensor);
    model_.tensors.push_back({rule.slot, layer, tensor, gguf() ? rule.gguf_transform : rule.hf_transform});
    return {};
  }

  const Checkpoint& checkpoint_;
  BoundModel& model_;
  std::unordered_set<const TensorView*> used_;
};

}  // namespace

std::string_view slot_name(Slot slot) {
  static constexpr std::string_view kNames[] = {"embedding",
                                                "output norm",
                                                "output head",
                                                "rope factors",
                                                "attention norm",
                                                "query",
                                                "key",
                                                "value",
                                                "query bias",
                                                "key bias",
                                                "value bias",
                                                "query norm",
                                                "key norm",
                                                "attention output",
                                                "attention output bias",
                                                "post-attention norm",
                                                "ffn norm",
                                                "ffn gate",
                                                "ffn up",
                                                "ffn down",
                                                "ffn gate bias",
                                                "ffn up bias",
                                                "ffn down bias",
                                                "post-ffn norm"};
  static_assert(std::size(kNames) == static_cast<size_t>(Slot::kCount));
  return kNames[static_cast<size_t>(slot)];
}

const BoundTensor* BoundModel::find(Slot slot, int layer) const {
  for (const BoundTensor& tensor : tensors)
    if (tensor.slot == slot && tensor.layer == layer) return &tensor;
  return nullptr;
}

Result<BoundModel> bind_model(const Checkpoint& checkpoint) {
  BoundModel model;
  KL_TRY(model.family, find_family(checkpoint));
  const auto read =
      checkpoint.format == CheckpointFormat::kGguf ? model.family->spec_from_gguf : model.family->spec_from_config;
  KL_TRY(model.spec, read(checkpoint));
  model.spec.family = model.family->name;
  if (model.spec.architecture.empty()) model.spec.architecture = model.family->name;
  KL_RETURN_IF_ERROR(Binder(checkpoint, model).run());
  return model;
}

}  // namespace kinglet
