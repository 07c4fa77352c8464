#include "convert/input_squares.h"

#include <set>

#include "families/gguf_names.h"

namespace kinglet::convert {

Result<InputSquares> InputSquares::create(const BoundModel& model) {
  KL_TRY(const GgufForm form, gguf_form(*model.family, model.spec));
  InputSquares squares;
  std::set<std::string> taken;
  for (const BoundTensor& bound : model.tensors) {
    const SlotKind kind = slot_kind(bound.slot);
    if (kind == SlotKind::kVector || kind == SlotKind::kTable || bound.layer < 0) continue;
    const TensorRule* rule = gguf_rule(*form.family, bound);
    if (rule == nullptr) continue;
    // A matrix that the pass uses turned has inputs along the rows that files store: no columns to weigh.
    if (stored_layout(rule->gguf_transform, bound.slot, model.spec, model.layer_of(bound)).transposed) continue;
    const std::string name = tensor_name(rule->gguf_name, bound.layer);
    if (taken.insert(name).second) squares.names_[{bound.slot, bound.layer}] = name;
  }
  return squares;
}

void InputSquares::on_product(const MatrixPlace& place, const float* x, int64_t ldx, int64_t rows, int64_t columns) {
  const auto name = names_.find({place.slot, place.layer});
  if (name == names_.end()) return;
  MeasuredInputs& inputs = measured_[name->second];
  if (inputs.counts.empty()) {
    inputs.counts.resize(static_cast<size_t>(place.parts));
    inputs.sums.resize(static_cast<size_t>(place.parts * columns));
  }
  inputs.counts[static_cast<size_t>(place.part)] += rows;
  double* sums = inputs.sums.data() + place.part * columns;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < columns; ++i) {
      const auto value = static_cast<double>(x[row * ldx + i]);
      sums[i] += value * value;
    }
}

}  // namespace kinglet::convert
