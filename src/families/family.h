// A model family: how its metadata becomes a ModelSpec, and what its tensors are called. One data file a family; the
// list is in families.cc. Adding a family is a data file, a line there, and golden values.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "families/slots.h"
#include "formats/checkpoint.h"

namespace kinglet {

struct Family {
  std::string_view name;                                 // "qwen2"
  std::span<const std::string_view> gguf_architectures;  // values of general.architecture
  std::span<const std::string_view> hf_architectures;    // entries of config.json's `architectures`
  Result<ModelSpec> (*spec_from_gguf)(const Checkpoint& checkpoint);
  Result<ModelSpec> (*spec_from_config)(const Checkpoint& checkpoint);
  std::span<const TensorRule> tensors;
};

std::span<const Family* const> all_families();

// The family of a checkpoint. kUnsupported names the architecture found and the ones supported, nearest first.
Result<const Family*> find_family(const Checkpoint& checkpoint);

// Where a slot's weights lie in a checkpoint, and what has to be done to them.
struct BoundTensor {
  Slot slot = Slot::kCount;
  int layer = -1;  // -1: of the whole model
  const TensorView* tensor = nullptr;
  Transform transform = Transform::kNone;
  int expert = -1;  // -1: the tensor holds all matrices of the slot; else this one of a stack
};

struct BoundModel {
  const Family* family = nullptr;
  ModelSpec spec;
  std::vector<BoundTensor> tensors;  // by slot and layer as the family's table lists them; experts ascending
  std::vector<std::string> kept;     // tensors of layers that predict further tokens: for speculation
  std::vector<std::string> ignored;  // tensors of the file that nothing uses, by name

  bool headless = false;  // the output head, if there is one, is not to be used

  const BoundTensor* find(Slot slot, int layer = -1) const;  // the first; nullptr when absent
  // Whether logits are computed: encoders, embedding models and classifiers have no output head.
  bool has_head() const {
    return !headless && !spec.is_encoder() && spec.labels == 0 &&
           (spec.tied_embeddings || find(Slot::kOutput) != nullptr);
  }
  void add(const BoundTensor& tensor);
  const LayerSpec* layer_of(const BoundTensor& tensor) const {
    return tensor.layer < 0 ? nullptr : &spec.layers[static_cast<size_t>(tensor.layer)];
  }

 private:
  std::map<std::pair<Slot, int>, size_t> first_;  // position in `tensors`
};

// Spec and tensors of a checkpoint, complete and with every shape checked against the spec.
Result<BoundModel> bind_model(const Checkpoint& checkpoint);

// `model`, of a Hugging Face folder, with the layers that predict further tokens as more layers behind its own: like
// the last of its attention layers that their tensors fit, bound by the same table. What lies beside those layers stays
// in `kept` (PredictionTensor names it). Nothing where the folder has none, or not in that form.
std::optional<BoundModel> bind_prediction_layers(const Checkpoint& checkpoint, const BoundModel& model);

// The first prediction layer of `model`, from a folder or a GGUF file, as a model of its own (ModelSpec::reads_states):
// with the embedding of the other, whose output head it shares, and so without one. Nothing where there is none, or not
// in a form that is understood.
std::optional<BoundModel> bind_predictor(const Checkpoint& checkpoint, const BoundModel& model);

// What a prediction layer has besides: norms of the token's embedding and of the state, which go through one matrix
// into the layer; a norm and a head behind it. By the ends of their names.
struct PredictionTensor {
  Slot slot;                                  // kCount: the same as the model's, which is read instead
  std::string_view gguf_name;                 // "blk.{}.nextn.…"
  std::string_view hf_name, hf_beside_model;  // behind "layers.{}.", and behind "mtp." as Qwen has it
  bool required;
  bool adds_one;  // Qwen's norms
};
std::span<const PredictionTensor> prediction_tensors();

}  // namespace kinglet
