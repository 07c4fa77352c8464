// Measuring importance: the sums of squares of what a model's matrices are multiplied with, by their GGUF names.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "convert/importance.h"
#include "families/family.h"
#include "nn/observer.h"

namespace kinglet::convert {

class InputSquares final : public ProductObserver {
 public:
  // kUnsupported where the family has no GGUF form.
  static Result<InputSquares> create(const BoundModel& model);

  void on_product(const MatrixPlace& place, const float* x, int64_t ldx, int64_t rows, int64_t columns) override;

  // Only matrices that met an input are here. Sums are exact to double precision and don't depend on how a text was
  // cut into steps.
  const std::map<std::string, MeasuredInputs>& measured() const { return measured_; }

 private:
  InputSquares() = default;
  // One slot a tensor: those that share one (fused matrices) read the same inputs.
  std::map<std::pair<Slot, int>, std::string> names_;
  std::map<std::string, MeasuredInputs> measured_;
};

}  // namespace kinglet::convert
