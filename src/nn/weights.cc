#include "nn/weights.h"

#include <cstring>
#include <numeric>
#include <set>

#include "formats/decode.h"
#include "kernels/math.h"
#include "kernels/packing_arena.h"

namespace kinglet {
namespace {

// The slot that holds the output head: its own, or the embedding.
Slot head_slot(const BoundModel& model) {
  return model.find(Slot::kOutput) ? Slot::kOutput : Slot::kEmbedding;
}

bool is_packed_slot(const BoundModel& model, Slot slot) {
  if (slot == Slot::kEmbedding) return head_slot(model) == slot && model.has_head();
  if (slot == Slot::kOutput) return model.has_head();
  if (slot == Slot::kPooler) return model.spec.labels > 0;  // else nothing reads it
  const SlotKind kind = slot_kind(slot);
  return (kind == SlotKind::kMatrix || kind == SlotKind::kStack) && slot != Slot::kLayerEmbedding &&
         slot != Slot::kPositionEmbedding && slot != Slot::kTokenTypes;
}

// Values of a slice whose columns are moved, as floats of a type that holds them exactly.
struct MovedSlice {
  DType dtype = DType::kF32;
  int64_t rows = 0, columns = 0;
  std::vector<std::byte> bytes;
};

bool moves_columns(const StoredLayout& stored) {
  return stored.transposed || !stored.column_order.empty();
}

template <class T>
void move_values(const T* from, int64_t rows, int64_t columns, const StoredLayout& stored, T* to) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++) {
      if (stored.transposed)
        to[c * rows + r] = from[r * columns + c];
      else
        to[r * columns + c] = from[r * columns + stored.column_order[static_cast<size_t>(c)]];
    }
}

MovedSlice moved_slice(const TensorView& slice, const StoredLayout& stored) {
  const int64_t rows = slice.rows(), columns = slice.columns();
  MovedSlice moved;
  moved.rows = stored.transposed ? columns : rows;
  moved.columns = stored.transposed ? rows : columns;
  if (slice.dtype == DType::kF16 || slice.dtype == DType::kBF16) {
    moved.dtype = slice.dtype;
    moved.bytes.resize(static_cast<size_t>(rows * columns) * 2);
    std::vector<uint16_t> values(static_cast<size_t>(rows * columns));
    std::memcpy(values.data(), slice.data.data(), moved.bytes.size());
    move_values(values.data(), rows, columns, stored, reinterpret_cast<uint16_t*>(moved.bytes.data()));
    return moved;
  }
  std::vector<float> values(static_cast<size_t>(rows * columns));
  decode_tensor(slice, values);
  moved.bytes.resize(values.size() * sizeof(float));
  move_values(values.data(), rows, columns, stored, reinterpret_cast<float*>(moved.bytes.data()));
  return moved;
}

class Packer {
 public:
  Packer(const Compute& compute, const Checkpoint& checkpoint, const BoundModel& model,
         const std::function<void(double)>& progress, std::vector<std::string>& notes)
      : compute_(compute),
        checkpoint_(checkpoint),
        model_(model),
        progress_(progress),
        notes_(notes),
        total_(packed_weight_bytes(model)),
        arena_(total_) {}

  Result<ModelWeights> run() {
    ModelWeights weights;
    weights.embedding = model_.find(Slot::kEmbedding)->tensor;
    if (const BoundTensor* bound = model_.find(Slot::kLayerEmbedding)) weights.layer_embedding = bound->tensor;
    if (const BoundTensor* bound = model_.find(Slot::kPositionEmbedding)) weights.positions = bound->tensor;
    if (const BoundTensor* bound = model_.find(Slot::kTokenTypes)) weights.token_types = bound->tensor;
    weights.layers.resize(model_.spec.layers.size());
    for (size_t at = 0; at < model_.tensors.size(); at++) {
      const BoundTensor& bound = model_.tensors[at];
      SlotWeights& to = bound.layer < 0 ? weights.model : weights.layers[static_cast<size_t>(bound.layer)];
      if (slot_kind(bound.slot) == SlotKind::kTable) {
        KL_TRY(to.table_to_fill(), table(bound));
        continue;
      }
      if (!can_decode(bound.tensor->dtype)) return not_a_weight(bound);
      if (slot_kind(bound.slot) == SlotKind::kVector) {
        to.vector_to_fill(bound.slot) = vector(bound);
      } else if (is_packed_slot(model_, bound.slot)) {
        size_t end = at + 1;  // experts of tensors of their own stand one after the other
        while (end < model_.tensors.size() && model_.tensors[end].expert > bound.expert &&
               model_.tensors[end].slot == bound.slot && model_.tensors[end].layer == bound.layer)
          end++;
        const Slot slot = bound.slot == Slot::kEmbedding ? Slot::kOutput : bound.slot;
        KL_RETURN_IF_ERROR(matrices(std::span(model_.tensors).subspan(at, end - at), to.matrices_to_fill(slot)));
        at = end - 1;
      }
    }
    for (const std::string& type : widened_)
      notes_.push_back("weights of type " + type + " have no packed kernels and are held as F32");
    return weights;
  }

 private:
  Error not_a_weight(const BoundTensor& bound) const {
    return {ErrorCode::kUnsupported, "tensor " + bound.tensor->name + " (" + std::string(slot_name(bound.slot)) +
                                         ") has type " + std::string(dtype_info(bound.tensor->dtype).name) +
                                         ", which holds no weights"};
  }

  StoredLayout layout(const BoundTensor& bound) const {
    return stored_layout(bound.transform, bound.slot, model_.spec, model_.layer_of(bound));
  }
  int64_t matrices_in(const BoundTensor& bound) const {
    return bound.expert >= 0 ? 1 : slot_shape(bound.slot, model_.spec, model_.layer_of(bound)).count;
  }

  std::vector<float> vector(const BoundTensor& bound) const {
    std::vector<float> values(static_cast<size_t>(bound.tensor->elements()));
    decode_tensor(*bound.tensor, values);
    if (bound.transform == Transform::kAddOne)
      for (float& value : values) value += 1.0f;
    if (bound.transform == Transform::kNegativeExp || bound.transform == Transform::kTiledNegativeExp) {
      // In double, as the converter computes what GGUF files hold.
      for (float& value : values) value = static_cast<float>(-exp_f64(static_cast<double>(value)));
    }
    const StoredLayout stored = layout(bound);
    if (stored.order.empty() && stored.rows == stored.stride) return values;
    std::vector<float> taken;
    for (int64_t i = 0; i < matrices_in(bound); i++) {
      const int64_t first = (i * stored.stride + stored.offset) * stored.columns;
      const auto count = static_cast<int64_t>(stored.order.empty() ? stored.rows : std::ssize(stored.order));
      for (int64_t r = 0; r < count; r++) {
        const int64_t row = stored.order.empty() ? r : stored.order[static_cast<size_t>(r)];
        const auto at = values.begin() + first + row * stored.columns;
        taken.insert(taken.end(), at, at + stored.columns);
      }
    }
    return taken;
  }

  // Numbers of experts, which index without being looked at again.
  Result<std::vector<int32_t>> table(const BoundTensor& bound) const {
    return decode_indices(*bound.tensor, model_.layer_of(bound)->ffn.moe.experts);
  }

  // All matrices of a slot, the experts of tensors of their own too, into one allocation.
  Status matrices(std::span<const BoundTensor> bounds, std::vector<PackedMatrix>& to) {
    const StoredLayout stored = layout(bounds.front());
    std::vector<TensorView> slices;
    std::vector<MovedSlice> moved;  // what the views of such slices point into
    moved.reserve(
        static_cast<size_t>(slot_shape(bounds.front().slot, model_.spec, model_.layer_of(bounds.front())).count));
    for (const BoundTensor& bound : bounds) {
      if (!can_decode(bound.tensor->dtype)) return not_a_weight(bound);
      for (int64_t i = 0; i < matrices_in(bound); i++) {
        KL_TRY(TensorView slice, slice_rows(*bound.tensor, i * stored.stride + stored.offset, stored.rows));
        if (moves_columns(stored)) {
          const MovedSlice& m = moved.emplace_back(moved_slice(slice, stored));
          slice = TensorView{slice.name, m.dtype, {m.rows, m.columns}, m.bytes};
        }
        slices.push_back(std::move(slice));
      }
    }
    KL_TRY(to, pack_matrices(compute_, slices, decode_row, stored.order, &arena_));
    for (const BoundTensor& bound : bounds) checkpoint_.release(bound.tensor->data);  // no second copy stays resident
    for (const PackedMatrix& matrix : to) done_ += matrix.bytes();
    if (to.front().widened()) widened_.insert(std::string(dtype_info(bounds.front().tensor->dtype).name));
    if (progress_) progress_(static_cast<double>(done_) / static_cast<double>(total_));
    return {};
  }

  const Compute& compute_;
  const Checkpoint& checkpoint_;
  const BoundModel& model_;
  const std::function<void(double)>& progress_;
  std::vector<std::string>& notes_;
  std::set<std::string> widened_;
  uint64_t total_, done_ = 0;
  PackingArena arena_;
};

}  // namespace

uint64_t SlotWeights::bytes(Slot slot) const {
  uint64_t sum = 0;
  for (const PackedMatrix& m : matrices_[static_cast<size_t>(slot)]) sum += m.bytes();
  return sum;
}

Result<ModelWeights> pack_weights(const Compute& compute, const Checkpoint& checkpoint, const BoundModel& model,
                                  const std::function<void(double)>& progress, std::vector<std::string>& notes) {
  return Packer(compute, checkpoint, model, progress, notes).run();
}

uint64_t packed_weight_bytes(const BoundModel& model) {
  uint64_t sum = 0;
  for (const BoundTensor& bound : model.tensors) {
    if (!is_packed_slot(model, bound.slot)) continue;
    const LayerSpec* layer = model.layer_of(bound);
    const SlotShape shape = slot_shape(bound.slot, model.spec, layer);
    const bool moved = moves_columns(stored_layout(bound.transform, bound.slot, model.spec, layer));
    TensorView matrix = *bound.tensor;
    matrix.shape = {shape.rows, shape.columns};
    const DType type = matrix.dtype == DType::kF16 || matrix.dtype == DType::kBF16 ? matrix.dtype : DType::kF32;
    sum += static_cast<uint64_t>(bound.expert >= 0 ? 1 : shape.count) *
           (moved ? packed_matrix_bytes(type, shape.rows, shape.columns) : packed_matrix_bytes(matrix));
  }
  return sum;
}

uint64_t weight_bytes_a_token(const BoundModel& model, const ModelWeights& weights) {
  uint64_t sum = weights.model.bytes(Slot::kOutput) + weights.model.bytes(Slot::kLayerProjection) +
                 weights.model.bytes(Slot::kHeadStreams);
  for (size_t i = 0; i < weights.layers.size(); i++) {
    const MoeSpec& moe = model.spec.layers[i].ffn.moe;
    for (size_t s = 0; s < kSlotCount; s++) {
      const Slot slot = static_cast<Slot>(s);
      const uint64_t bytes = weights.layers[i].bytes(slot);
      const bool experts = slot == Slot::kExpertGate || slot == Slot::kExpertUp || slot == Slot::kExpertDown;
      sum +=
          experts && bytes > 0 ? bytes / static_cast<uint64_t>(moe.experts) * static_cast<uint64_t>(moe.used) : bytes;
    }
  }
  return sum;
}

}  // namespace kinglet
