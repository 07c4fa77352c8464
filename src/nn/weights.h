// A model's weights in the form the forward pass reads, by slot: matrices packed for the kernels, vectors as floats.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/result.h"
#include "families/family.h"
#include "kernels/ops.h"

namespace kinglet {

// The weights of a layer, or of the whole model.
class SlotWeights {
 public:
  const PackedMatrix& matrix(Slot slot) const { return stack(slot).front(); }
  const std::vector<PackedMatrix>& stack(Slot slot) const {  // one an expert or head
    const auto& matrices = matrices_[static_cast<size_t>(slot)];
    KL_CHECK(!matrices.empty(), "a step reads weights that were not bound");
    return matrices;
  }
  bool has_matrices(Slot slot) const { return !matrices_[static_cast<size_t>(slot)].empty(); }
  const std::vector<float>& vector(Slot slot) const { return vectors_[static_cast<size_t>(slot)]; }  // empty: none

  std::vector<PackedMatrix>& matrices_to_fill(Slot slot) { return matrices_[static_cast<size_t>(slot)]; }
  std::vector<float>& vector_to_fill(Slot slot) { return vectors_[static_cast<size_t>(slot)]; }
  const std::vector<int32_t>& table() const { return table_; }  // kExpertTable's: [vocabulary][used]
  std::vector<int32_t>& table_to_fill() { return table_; }
  uint64_t bytes(Slot slot) const;  // of the packed matrices

 private:
  std::array<std::vector<PackedMatrix>, kSlotCount> matrices_;
  std::array<std::vector<float>, kSlotCount> vectors_;
  std::vector<int32_t> table_;
};

struct ModelWeights {
  const TensorView* embedding = nullptr;        // read row by row from the file's map
  const TensorView* layer_embedding = nullptr;  // the same; null: layers have no inputs of their own
  const TensorView* positions = nullptr;        // of an encoder
  const TensorView* token_types = nullptr;
  SlotWeights model;  // output norm and head, what makes the layers' inputs, stream weights
  std::vector<SlotWeights> layers;
};

// `progress` is told the share of the bytes packed so far.
Result<ModelWeights> pack_weights(const Compute& compute, const Checkpoint& checkpoint, const BoundModel& model,
                                  const std::function<void(double)>& progress, std::vector<std::string>& notes);

// Bytes that pack_weights will allocate for matrices.
uint64_t packed_weight_bytes(const BoundModel& model);

// Bytes of matrices that one token's pass reads: of a stack of experts, those that are used.
uint64_t weight_bytes_a_token(const BoundModel& model, const ModelWeights& weights);

}  // namespace kinglet
