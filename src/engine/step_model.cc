#include "engine/step_model.h"

#include <utility>

namespace kinglet {

namespace {

class NnStepModel final : public StepModel {
 public:
  explicit NnStepModel(std::unique_ptr<Model> model) : model_(std::move(model)) {}
  int64_t vocabulary() const override { return model_->spec().vocabulary; }
  int64_t context() const override { return model_->context(); }
  int64_t page_positions() const override { return model_->options().page_positions; }
  uint64_t page_bytes() const override { return model_->plan().page_bytes; }
  uint64_t state_bytes() const override { return model_->state_bytes(); }
  int64_t max_step_tokens() const override { return model_->max_step_tokens(); }
  std::span<const float> forward(std::span<const StepSlice> slices) override { return model_->forward(slices); }
  std::span<const float> last_states() const override { return model_->last_states(); }
  Compute compute() const override { return model_->compute(); }
  Status intact() const override { return model_->intact(); }
  const Model* model() const override { return model_.get(); }

 private:
  std::unique_ptr<Model> model_;
};

}  // namespace

std::unique_ptr<StepModel> make_step_model(std::unique_ptr<Model> model) {
  return std::make_unique<NnStepModel>(std::move(model));
}

}  // namespace kinglet
