// Binding: every slot of the spec to the tensors of the checkpoint that hold it, every shape checked.
#include <algorithm>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/check.h"
#include "families/family.h"
#include "families/outline.h"
#include "families/pooling.h"
#include "families/spec_check.h"

namespace kinglet {
namespace {

// Names under which multimodal checkpoints hold the same text model.
std::vector<std::string> hf_spellings(const std::string& name) {
  std::vector<std::string> spellings = {name, "language_model." + name};
  if (name.starts_with("model.")) {
    spellings.push_back("model.language_model." + name.substr(6));
    spellings.push_back(name.substr(6));  // DeepSeek-V4 as it is published, decoders saved without their heads
  }
  // Encoders under a head have a name in front of theirs.
  for (const char* owner : {"bert.", "roberta."}) spellings.push_back(owner + name);
  return spellings;
}

std::string replaced(std::string text, std::string_view what, int number) {
  const size_t at = text.find(what);
  if (at != std::string::npos) text.replace(at, what.size(), std::to_string(number));
  return text;
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
      const bool per_layer = pattern.find("{}") != std::string_view::npos;
      const int count = per_layer ? static_cast<int>(model_.spec.layers.size()) : 1;
      for (int i = 0; i < count; i++) KL_RETURN_IF_ERROR(bind(rule, pattern, per_layer ? i : -1));
    }
    KL_RETURN_IF_ERROR(check_complete());
    sort_the_rest();
    return {};
  }

  // Layers from `first` on, which stand under names of their own where they are `beside` the model.
  Status run_predictions(size_t first, bool beside) {
    for (const TensorRule& rule : model_.family->tensors) {
      std::string pattern(gguf() ? rule.gguf_name : rule.hf_name);
      if (pattern.find("{}") == std::string::npos) continue;
      if (beside && pattern.starts_with("model.layers.")) pattern.replace(0, 5, "mtp");
      for (size_t i = first; i < model_.spec.layers.size(); i++)
        KL_RETURN_IF_ERROR(bind(rule, pattern, static_cast<int>(i), static_cast<int>(beside ? i - first : i)));
    }
    KL_RETURN_IF_ERROR(check_complete());
    std::erase_if(model_.kept, [&](const std::string& name) { return used_.contains(checkpoint_.find(name)); });
    return {};
  }

  // What stands before and behind prediction layer `number`: into the whole model's slots.
  Status run_prediction_ends(size_t number, bool beside) {
    for (const PredictionTensor& wanted : prediction_tensors()) {
      if (wanted.slot == Slot::kCount) continue;
      const std::string layer = std::to_string(number);
      const std::string name = gguf()   ? replaced(std::string(wanted.gguf_name), "{}", static_cast<int>(number))
                               : beside ? "mtp." + std::string(wanted.hf_beside_model)
                                        : "model.layers." + layer + "." + std::string(wanted.hf_name);
      const TensorView* tensor = lookup(name);
      if (!tensor) return missing(wanted.slot, name);
      const bool adds_one = beside && wanted.adds_one;
      const TensorRule rule = {
          wanted.slot, {}, {}, true, Transform::kNone, adds_one ? Transform::kAddOne : Transform::kNone};
      KL_RETURN_IF_ERROR(bind_tensor(rule, *tensor, -1, -1));
    }
    return {};
  }

 private:
  bool gguf() const { return checkpoint_.format == CheckpointFormat::kGguf; }
  const LayerSpec* layer(int i) const { return i < 0 ? nullptr : &model_.spec.layers[static_cast<size_t>(i)]; }

  const TensorView* lookup(const std::string& name) const {
    if (gguf()) return checkpoint_.find(name);
    for (const std::string& spelling : hf_spellings(name))
      if (const TensorView* tensor = checkpoint_.find(spelling)) return tensor;
    return nullptr;
  }

  Status bind(const TensorRule& rule, std::string_view pattern, int i) { return bind(rule, pattern, i, i); }
  // Layer i, under the number that its names have.
  Status bind(const TensorRule& rule, std::string_view pattern, int i, int number) {
    // A tied head that the file stores all the same is the embedding once more.
    if (rule.slot == Slot::kOutput && model_.spec.tied_embeddings) {
      if (const TensorView* tensor = lookup(std::string(pattern))) used_.insert(tensor);
      return {};
    }
    if (!slot_applies(rule.slot, model_.spec, layer(i))) return {};
    if (model_.find(rule.slot, i)) return {};  // by an earlier line
    const std::string name = replaced(std::string(pattern), "{}", number);
    if (name.find("{e}") != std::string::npos) return bind_experts(rule, name, i);
    const TensorView* tensor = lookup(name);
    return tensor ? bind_tensor(rule, *tensor, i, -1) : Status{};
  }

  // One tensor an expert: all of them, or the line does not speak of this checkpoint.
  Status bind_experts(const TensorRule& rule, const std::string& pattern, int i) {
    const auto experts = static_cast<int>(slot_shape(rule.slot, model_.spec, layer(i)).count);
    if (!lookup(replaced(pattern, "{e}", 0))) return {};
    for (int e = 0; e < experts; e++) {
      const TensorView* tensor = lookup(replaced(pattern, "{e}", e));
      if (!tensor) return missing(rule.slot, replaced(pattern, "{e}", e));
      KL_RETURN_IF_ERROR(bind_tensor(rule, *tensor, i, e));
    }
    return {};
  }

  Status bind_tensor(const TensorRule& rule, const TensorView& tensor, int i, int expert) {
    const Transform transform = gguf() ? rule.gguf_transform : rule.hf_transform;
    const SlotShape shape = slot_shape(rule.slot, model_.spec, layer(i));
    const StoredLayout stored = stored_layout(transform, rule.slot, model_.spec, layer(i));
    const int64_t rows = stored.stride * (expert >= 0 ? 1 : shape.count);
    const bool vector = slot_kind(rule.slot) == SlotKind::kVector;
    const bool fits = vector ? tensor.elements() == rows * stored.columns
                             : tensor.rows() == rows && tensor.columns() == stored.columns;
    if (!fits)
      return Error{ErrorCode::kInvalid,
                   checkpoint_.path + ": tensor " + tensor.name + " (" + std::string(slot_name(rule.slot)) +
                       "): found shape " + shape_text(tensor.shape) + ", expected " +
                       (vector ? shape_text({rows * stored.columns}) : shape_text({rows, stored.columns})) +
                       " (leading dimensions folded) by the configuration"};
    used_.insert(&tensor);
    model_.add({rule.slot, i, &tensor, transform, expert});
    return {};
  }

  Error missing(Slot slot, const std::string& name) const {
    return {ErrorCode::kInvalid, checkpoint_.path + ": tensor " + name + " (" + std::string(slot_name(slot)) +
                                     ") is missing; the configuration says " + model_.spec.family + " with " +
                                     std::to_string(model_.spec.layers.size()) + " layers"};
  }

  // Every slot that some line requires was found by one of its lines.
  Status check_complete() const {
    for (const TensorRule& rule : model_.family->tensors) {
      const std::string_view pattern = gguf() ? rule.gguf_name : rule.hf_name;
      if (!rule.required || pattern.empty()) continue;
      const bool per_layer = pattern.find("{}") != std::string_view::npos;
      const int count = per_layer ? static_cast<int>(model_.spec.layers.size()) : 1;
      for (int i = 0; i < count; i++) {
        const int at = per_layer ? i : -1;
        if (!slot_applies(rule.slot, model_.spec, layer(at))) continue;
        if (!model_.find(rule.slot, at)) return missing(rule.slot, replaced(std::string(pattern), "{}", at));
      }
    }
    KL_TRY(const bool head, needs_head());
    if (head && !model_.find(Slot::kOutput))
      return Error{ErrorCode::kInvalid, checkpoint_.path + ": the output head (" +
                                            (gguf() ? "output.weight" : "lm_head.weight") +
                                            ") is missing, and the configuration does not tie it to the embedding"};
    if (!head && !model_.spec.is_encoder() && model_.spec.labels == 0 && !model_.spec.tied_embeddings) {
      model_.headless = true;
      model_.spec.tied_embeddings = true;  // as GGUF files without a head are read
    }
    if (model_.spec.labels > 0 && model_.spec.encoder.pooler && !model_.find(Slot::kPooler))
      return missing(Slot::kPooler, gguf() ? "cls.weight" : "pooler.dense.weight");
    return {};
  }

  // Embedding models made of decoders often lack the head that they don't use.
  Result<bool> needs_head() const {
    const ModelSpec& spec = model_.spec;
    if (spec.is_encoder() || spec.tied_embeddings || spec.labels > 0) return false;
    KL_TRY(const auto pooling, stated_pooling(checkpoint_));
    return !pooling;
  }

  // What stands behind the last layer predicts further tokens; the rest has no use.
  void sort_the_rest() {
    const auto first = static_cast<int64_t>(model_.spec.layers.size());
    for (const TensorView& tensor : checkpoint_.tensors) {
      if (used_.contains(&tensor) || tensor.name.ends_with("embeddings.position_ids")) continue;  // 0, 1, 2, …
      bool predicts = tensor.name.starts_with("mtp.");
      for (int64_t i = first; i < first + model_.spec.prediction_layers && !predicts; i++)
        predicts = tensor.name.find((gguf() ? "blk." : "layers.") + std::to_string(i) + ".") != std::string::npos;
      (predicts ? model_.kept : model_.ignored).push_back(tensor.name);
    }
  }

  const Checkpoint& checkpoint_;
  BoundModel& model_;
  std::unordered_set<const TensorView*> used_;
};

// How many layers stand beside the model; not every config.json says it.
int64_t layers_beside(const std::vector<std::string>& names) {
  constexpr int64_t kMost = 64;  // names are a file's to choose
  for (int64_t count = 0;; count++) {
    const std::string layer = "mtp.layers." + std::to_string(count) + ".";
    const auto of_layer = [&](const std::string& name) { return name.starts_with(layer); };
    if (count == kMost || std::none_of(names.begin(), names.end(), of_layer)) return count;
  }
}

constexpr PredictionTensor kPredictionTensors[] = {
    {Slot::kPredictInput, "blk.{}.nextn.eh_proj.weight", "eh_proj.weight", "fc.weight", true, false},
    {Slot::kPredictEmbeddingNorm, "blk.{}.nextn.enorm.weight", "enorm.weight", "pre_fc_norm_embedding.weight", true,
     true},
    {Slot::kPredictStateNorm, "blk.{}.nextn.hnorm.weight", "hnorm.weight", "pre_fc_norm_hidden.weight", true, true},
    {Slot::kOutputNorm, "blk.{}.nextn.shared_head_norm.weight", "shared_head.norm.weight", "norm.weight", true, true},
    {Slot::kCount, "blk.{}.nextn.embed_tokens.weight", "embed_tokens.weight", "embed_tokens.weight", false, false},
    {Slot::kCount, "blk.{}.nextn.shared_head_head.weight", "shared_head.head.weight", "lm_head.weight", false, false},
};

}  // namespace

std::span<const PredictionTensor> prediction_tensors() {
  return kPredictionTensors;
}

const BoundTensor* BoundModel::find(Slot slot, int layer) const {
  const auto found = first_.find({slot, layer});
  return found == first_.end() ? nullptr : &tensors[found->second];
}

void BoundModel::add(const BoundTensor& tensor) {
  first_.try_emplace({tensor.slot, tensor.layer}, tensors.size());
  tensors.push_back(tensor);
}

Result<BoundModel> derive_spec(const Checkpoint& checkpoint) {
  BoundModel model;
  KL_TRY(model.family, find_family(checkpoint));
  const auto read =
      checkpoint.format == CheckpointFormat::kGguf ? model.family->spec_from_gguf : model.family->spec_from_config;
  KL_TRY(model.spec, read(checkpoint));
  model.spec.family = model.family->name;
  if (model.spec.architecture.empty()) model.spec.architecture = model.family->name;
  KL_RETURN_IF_ERROR(check_spec(model.spec, checkpoint.metadata.source()));
  return model;
}

Result<BoundModel> bind_model(const Checkpoint& checkpoint) {
  KL_TRY(BoundModel model, derive_spec(checkpoint));
  KL_RETURN_IF_ERROR(Binder(checkpoint, model).run());
  return model;
}

namespace {

bool all_beside(const BoundModel& model) {
  return std::all_of(model.kept.begin(), model.kept.end(),
                     [](const std::string& name) { return name.starts_with("mtp."); });
}

// `model` with `count` layers more: copies of the last one that their tensors fit.
std::optional<BoundModel> bind_behind(const Checkpoint& checkpoint, const BoundModel& model, int64_t count) {
  const std::vector<LayerSpec>& own = model.spec.layers;
  for (auto like = own.rbegin(); like != own.rend(); ++like) {
    if (like->recurs()) continue;
    BoundModel longer = model;
    longer.spec.layers.resize(own.size() + static_cast<size_t>(count), *like);
    if (Binder(checkpoint, longer).run_predictions(own.size(), all_beside(model)).ok()) return longer;
  }
  return {};
}

}  // namespace

std::optional<BoundModel> bind_prediction_layers(const Checkpoint& checkpoint, const BoundModel& model) {
  if (checkpoint.format != CheckpointFormat::kHuggingFace || model.kept.empty()) return {};
  const int64_t count = all_beside(model) ? layers_beside(model.kept) : model.spec.prediction_layers;
  if (count == 0) return {};
  return bind_behind(checkpoint, model, count);
}

std::optional<BoundModel> bind_predictor(const Checkpoint& checkpoint, const BoundModel& model) {
  const ModelSpec& spec = model.spec;
  // Hyper-connected streams, learned places and inputs of layers would have to come from the other model, too.
  if (model.kept.empty() || spec.streams > 1 || spec.is_encoder() || spec.layers[0].input_dim > 0) return {};
  const size_t first = spec.layers.size();
  const std::optional<BoundModel> longer = bind_behind(checkpoint, model, 1);
  if (!longer) return {};
  BoundModel predictor;
  predictor.family = model.family;
  predictor.headless = true;
  predictor.spec = spec;
  predictor.spec.reads_states = true;
  predictor.spec.layers.assign(1, longer->spec.layers[first]);
  AttentionSpec& attention = predictor.spec.layers[0].attention;
  if (attention.shares_kv()) return {};
  if (attention.indexer.shared) attention.indexer = {};  // there is nobody's choice to share: all positions are read
  predictor.add(*model.find(Slot::kEmbedding));
  for (BoundTensor tensor : longer->tensors) {
    if (tensor.layer != static_cast<int>(first)) continue;
    tensor.layer = 0;
    predictor.add(tensor);
  }
  if (!Binder(checkpoint, predictor).run_prediction_ends(first, all_beside(model)).ok()) return {};
  return predictor;
}

}  // namespace kinglet
