#include "families/outline.h"

#include <string>
#include <string_view>
#include <unordered_map>

#include "families/common.h"

namespace kinglet {
namespace {

// How GGUF files hold a slot: by a line of the family's own table, or of another's where it has no GGUF form of its
// own.
const TensorRule* gguf_rule(const Family& family, Slot slot) {
  for (const TensorRule& rule : family.tensors)
    if (rule.slot == slot && !rule.gguf_name.empty()) return &rule;
  for (const Family* other : all_families())
    for (const TensorRule& rule : other->tensors)
      if (rule.slot == slot && !rule.gguf_name.empty()) return &rule;
  return nullptr;
}

class Outliner {
 public:
  Outliner(const Checkpoint& configuration, Outline& outline)
      : outline_(outline), model_(outline.bound), biases_(configuration.metadata, text_prefix(configuration)) {}

  Status run() {
    // Qwen2's mixtures and gpt-oss have biases unless they say otherwise.
    const bool usual = model_.family->name == "gpt-oss" || model_.family->name == "qwen2-moe";
    attention_bias_ = biases_.boolean_or("attention_bias", biases_.boolean_or("qkv_bias", usual));
    ffn_bias_ = biases_.boolean_or("mlp_bias", false);
    KL_RETURN_IF_ERROR(biases_.status());
    for (const TensorRule& rule : model_.family->tensors) {
      if (rule.hf_name.empty()) continue;
      const bool per_layer = rule.hf_name.find("{}") != std::string_view::npos;
      const int count = per_layer ? static_cast<int>(model_.spec.layers.size()) : 1;
      for (int i = 0; i < count; i++) add(rule, per_layer ? i : -1);
    }
    return {};
  }

 private:
  const LayerSpec* layer(int i) const { return i < 0 ? nullptr : &model_.spec.layers[static_cast<size_t>(i)]; }

  // Of the slots that a checkpoint may lack, those that this one has.
  bool present(const TensorRule& rule, int i) const {
    if (rule.slot == Slot::kOutput) return !model_.spec.tied_embeddings;
    if (rule.required) return true;
    switch (rule.slot) {
      case Slot::kQBias:
      case Slot::kKBias:
      case Slot::kVBias:
      case Slot::kAttentionOutputBias:
        return attention_bias_;
      case Slot::kGateBias:
      case Slot::kUpBias:
      case Slot::kDownBias:
        return ffn_bias_;
      case Slot::kPooler:
      case Slot::kPoolerBias:
        return true;  // where it applies
      case Slot::kSelectionBias:
        return layer(i)->ffn.moe.scoring == MoeSpec::Scoring::kSigmoid ||
               layer(i)->ffn.moe.scoring == MoeSpec::Scoring::kSqrtSoftplus;
      default:
        return false;  // another spelling of a slot that some line requires
    }
  }

  void add(const TensorRule& rule, int i) {
    if (!slot_applies(rule.slot, model_.spec, layer(i))) return;
    if (!present(rule, i) || model_.find(rule.slot, i)) return;
    const TensorRule* gguf = gguf_rule(*model_.family, rule.slot);
    const Transform transform = gguf ? gguf->gguf_transform : rule.hf_transform;
    std::string name(gguf ? gguf->gguf_name : rule.hf_name);
    if (const size_t at = name.find("{}"); at != std::string::npos) name.replace(at, 2, std::to_string(i));
    model_.add({rule.slot, i, &tensor(name, rule.slot, transform, i), transform, -1});
  }

  // Slots that share a tensor find the one made for the first of them.
  const TensorView& tensor(const std::string& name, Slot slot, Transform transform, int i) {
    if (const auto known = by_name_.find(name); known != by_name_.end()) return *known->second;
    const int64_t count = slot_shape(slot, model_.spec, layer(i)).count;
    const StoredLayout stored = stored_layout(transform, slot, model_.spec, layer(i));
    TensorView& view = outline_.tensors.emplace_back();
    view.name = name;
    if (slot_kind(slot) == SlotKind::kVector)
      view.shape = {count * stored.stride * stored.columns};
    else if (slot_kind(slot) != SlotKind::kStack)
      view.shape = {stored.stride, stored.columns};
    else
      view.shape = {count, stored.stride, stored.columns};
    by_name_.emplace(name, &view);
    return view;
  }

  Outline& outline_;
  BoundModel& model_;
  FieldReader biases_;
  bool attention_bias_ = false, ffn_bias_ = false;
  std::unordered_map<std::string, const TensorView*> by_name_;
};

bool of_experts(Slot slot) {
  return slot >= Slot::kExpertGate && slot <= Slot::kExpertDownBias;
}

}  // namespace

Result<Outline> outline_model(const Checkpoint& configuration) {
  Outline outline;
  KL_TRY(outline.bound, derive_spec(configuration));
  KL_RETURN_IF_ERROR(Outliner(configuration, outline).run());
  return outline;
}

ParameterCount count_parameters(const BoundModel& model) {
  ParameterCount count;
  const int last = static_cast<int>(model.spec.layers.size()) - 1;
  int64_t last_layer = 0;
  for (const BoundTensor& bound : model.tensors) {
    if (bound.slot == Slot::kRopeFactors || bound.slot == Slot::kRopeFactorsLong) continue;  // computed, not trained
    const LayerSpec* layer = model.layer_of(bound);
    const SlotShape shape = slot_shape(bound.slot, model.spec, layer);
    const int64_t values = (bound.expert >= 0 ? 1 : shape.count) * shape.rows * shape.columns;
    if (bound.slot == Slot::kSelectionBias || bound.slot == Slot::kLayerScale || bound.slot == Slot::kExpertTable) {
      count.buffers += values;
      continue;
    }
    count.parameters += values;
    const int64_t used = of_experts(bound.slot) ? layer->ffn.moe.used : 1;
    const int64_t of = of_experts(bound.slot) ? layer->ffn.moe.experts : 1;
    count.active += bound.expert >= 0 ? (bound.expert < used ? values : 0) : values / of * used;
    if (bound.layer == last) last_layer += values;
  }
  const int64_t width = model.spec.width;
  count.prediction = model.spec.prediction_layers * (last_layer + 2 * width * width + 3 * width);
  return count;
}

}  // namespace kinglet
