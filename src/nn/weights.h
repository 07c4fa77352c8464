// A model's weights in the form the forward pass reads: matrices packed for the kernels, vectors as floats.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "families/family.h"
#include "kernels/ops.h"

namespace kinglet {

struct LayerWeights {
  std::vector<float> attention_norm, post_attention_norm, ffn_norm, post_ffn_norm;  // [width]; empty: none
  std::vector<float> q_norm, k_norm;                                                // [head_dim]; empty: none
  std::vector<float> q_bias, k_bias, v_bias, attention_output_bias;                 // empty: none
  std::vector<float> gate_bias, up_bias, down_bias;                                 // empty: none
  PackedMatrix q, k, v, attention_output;
  PackedMatrix gate, up, down;
};

struct ModelWeights {
  const TensorView* embedding = nullptr;  // read row by row from the file's map
  std::vector<float> output_norm;
  PackedMatrix output;
  std::vector<LayerWeights> layers;

  uint64_t bytes() const;  // of the packed matrices
};

// `progress` is told the share of the bytes packed so far.
Result<ModelWeights> pack_weights(const Compute& compute, const BoundModel& model,
                                  const std::function<void(double)>& progress, std::vector<std::string>& notes);

// Bytes that pack_weights will allocate.
uint64_t packed_weight_bytes(const BoundModel& model);

}  // namespace kinglet
