// StepModel: what the engine needs of a model, so that tests can put a fake one in its place.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "nn/model.h"

namespace kinglet {

class StepModel {
 public:
  virtual ~StepModel() = default;
  virtual int64_t vocabulary() const = 0;
  virtual int64_t context() const = 0;         // positions of the longest sequence
  virtual int64_t page_positions() const = 0;  // of a KV page
  virtual uint64_t page_bytes() const = 0;     // of a KV page, all layers
  virtual uint64_t state_bytes() const = 0;    // of a sequence's recurrent state; 0: the model has none
  virtual int64_t max_step_tokens() const = 0;
  // As Model::forward.
  virtual std::span<const float> forward(std::span<const StepSlice> slices) = 0;
  // As Model::last_states; empty for a model that keeps none.
  virtual std::span<const float> last_states() const { return {}; }
  virtual Compute compute() const = 0;
  // As Model::intact: asked after a step.
  virtual Status intact() const { return {}; }
  // The model behind it; nullptr for a fake one.
  virtual const Model* model() const { return nullptr; }
};

std::unique_ptr<StepModel> make_step_model(std::unique_ptr<Model> model);

}  // namespace kinglet
