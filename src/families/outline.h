// A model of which only config.json is there: the tensors that a checkpoint of it would hold, and how many parameters
// they make.
#pragma once

#include <deque>

#include "families/family.h"

namespace kinglet {

// The family and the spec of a checkpoint, checked; no tensors (bind.cc).
Result<BoundModel> derive_spec(const Checkpoint& checkpoint);

struct Outline {
  BoundModel bound;                // to `tensors`
  std::deque<TensorView> tensors;  // as a GGUF file names and stacks them; F32, and without values
};

// `configuration` is a Hugging Face folder's without tensors.
Result<Outline> outline_model(const Checkpoint& configuration);

struct ParameterCount {
  int64_t parameters = 0;  // values of all weights of the model's own layers; a head tied to the embedding counts once
  int64_t active = 0;   // parameters without those of the experts that a token does not use; the embedding is in whole
  int64_t buffers = 0;  // biases for the selection of experts and tables of it, which training does not count
  int64_t prediction = 0;  // of the layers that predict further tokens: each a last layer, two norms of its inputs, one
                           // of its output, and the projection that joins the inputs
};
ParameterCount count_parameters(const BoundModel& model);

}  // namespace kinglet
