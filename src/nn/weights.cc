#include "nn/weights.h"

#include <set>

#include "formats/decode.h"

namespace kinglet {
namespace {

// Packed row -> tensor row, where a head's rotary pairs stand interleaved in the file: half-split row (s, p) of a head
// is interleaved row 2p + s.
std::vector<int32_t> half_split_rows(int64_t heads, int64_t head_dim, int64_t rotated) {
  std::vector<int32_t> order(static_cast<size_t>(heads * head_dim));
  for (int64_t h = 0; h < heads; h++)
    for (int64_t i = 0; i < head_dim; i++) {
      const int64_t half = rotated / 2;
      const int64_t source = i >= rotated ? i : i < half ? 2 * i : 2 * (i - half) + 1;
      order[static_cast<size_t>(h * head_dim + i)] = static_cast<int32_t>(h * head_dim + source);
    }
  return order;
}

std::vector<int32_t> row_order(Transform transform, const AttentionSpec& attention) {
  switch (transform) {
    // The converter permutes whole heads, layers without rotary embedding too.
    case Transform::kHalfSplitQ:
      return half_split_rows(attention.heads, attention.head_dim, attention.head_dim);
    case Transform::kHalfSplitK:
      return half_split_rows(attention.kv_heads, attention.head_dim, attention.head_dim);
    case Transform::kNone:
    case Transform::kAddOne:
      break;
  }
  return {};
}

class Packer {
 public:
  Packer(const Compute& compute, const BoundModel& model, const std::function<void(double)>& progress,
         std::vector<std::string>& notes)
      : compute_(compute), model_(model), progress_(progress), notes_(notes), total_(packed_weight_bytes(model)) {}

  Result<ModelWeights> run() {
    ModelWeights weights;
    const BoundTensor* embedding = model_.find(Slot::kEmbedding);
    weights.embedding = embedding->tensor;
    if (!can_decode(weights.embedding->dtype)) return not_a_weight(*embedding);
    KL_RETURN_IF_ERROR(vector(Slot::kOutputNorm, -1, weights.output_norm));
    KL_RETURN_IF_ERROR(matrix(model_.find(Slot::kOutput) ? Slot::kOutput : Slot::kEmbedding, -1, weights.output));
    weights.layers.resize(model_.spec.layers.size());
    for (size_t i = 0; i < weights.layers.size(); i++)
      KL_RETURN_IF_ERROR(layer(static_cast<int>(i), weights.layers[i]));
    for (const std::string& type : widened_)
      notes_.push_back("weights of type " + type + " have no packed kernels yet and are held as F32");
    return weights;
  }

 private:
  Status layer(int i, LayerWeights& w) {
    struct {
      Slot slot;
      std::vector<float>& to;
    } const vectors[] = {{Slot::kAttentionNorm, w.attention_norm},
                         {Slot::kPostAttentionNorm, w.post_attention_norm},
                         {Slot::kFfnNorm, w.ffn_norm},
                         {Slot::kPostFfnNorm, w.post_ffn_norm},
                         {Slot::kQNorm, w.q_norm},
                         {Slot::kKNorm, w.k_norm},
                         {Slot::kQBias, w.q_bias},
                         {Slot::kKBias, w.k_bias},
                         {Slot::kVBias, w.v_bias},
                         {Slot::kAttentionOutputBias, w.attention_output_bias},
                         {Slot::kGateBias, w.gate_bias},
                         {Slot::kUpBias, w.up_bias},
                         {Slot::kDownBias, w.down_bias}};
    for (const auto& v : vectors) KL_RETURN_IF_ERROR(vector(v.slot, i, v.to));
    struct {
      Slot slot;
      PackedMatrix& to;
    } const matrices[] = {
        {Slot::kQ, w.q},       {Slot::kK, w.k},   {Slot::kV, w.v},      {Slot::kAttentionOutput, w.attention_output},
        {Slot::kGate, w.gate}, {Slot::kUp, w.up}, {Slot::kDown, w.down}};
    for (const auto& m : matrices) KL_RETURN_IF_ERROR(matrix(m.slot, i, m.to));
    return {};
  }

  Error not_a_weight(const BoundTensor& bound) const {
    return {ErrorCode::kUnsupported, "tensor " + bound.tensor->name + " (" + std::string(slot_name(bound.slot)) +
                                         ") has type " + std::string(dtype_info(bound.tensor->dtype).name) +
                                         ", which holds no weights"};
  }

  // Leaves `to` empty when the model has no such tensor.
  Status vector(Slot slot, int layer, std::vector<float>& to) {
    const BoundTensor* bound = model_.find(slot, layer);
    if (!bound) return {};
    if (!can_decode(bound->tensor->dtype)) return not_a_weight(*bound);
    std::vector<float> values(static_cast<size_t>(bound->tensor->elements()));
    decode_tensor(*bound->tensor, values);
    if (bound->transform == Transform::kAddOne)
      for (float& value : values) value += 1.0f;
    const std::vector<int32_t> order = order_of(*bound);
    if (!order.empty()) {
      std::vector<float> sorted(values.size());
      for (size_t i = 0; i < sorted.size(); i++) sorted[i] = values[static_cast<size_t>(order[i])];
      values = std::move(sorted);
    }
    to = std::move(values);
    return {};
  }

  Status matrix(Slot slot, int layer, PackedMatrix& to) {
    const BoundTensor* bound = model_.find(slot, layer);
    KL_CHECK(bound != nullptr, "binding left out a matrix");
    if (!can_decode(bound->tensor->dtype)) return not_a_weight(*bound);
    KL_TRY(to, pack_matrix(compute_, *bound->tensor, decode_row, order_of(*bound)));
    if (to.widened()) widened_.insert(std::string(dtype_info(bound->tensor->dtype).name));
    done_ += to.bytes();
    if (progress_) progress_(static_cast<double>(done_) / static_cast<double>(total_));
    return {};
  }

  std::vector<int32_t> order_of(const BoundTensor& bound) const {
    return bound.layer < 0 ? std::vector<int32_t>{}
                           : row_order(bound.transform, model_.spec.layers[static_cast<size_t>(bound.layer)].attention);
  }

  const Compute& compute_;
  const BoundModel& model_;
  const std::function<void(double)>& progress_;
  std::vector<std::string>& notes_;
  std::set<std::string> widened_;
  uint64_t total_, done_ = 0;
};

bool is_matrix(Slot slot) {
  switch (slot) {
    case Slot::kOutput:
    case Slot::kQ:
    case Slot::kK:
    case Slot::kV:
    case Slot::kAttentionOutput:
    case Slot::kGate:
    case Slot::kUp:
    case Slot::kDown:
      return true;
    default:
      return false;
  }
}

}  // namespace

uint64_t ModelWeights::bytes() const {
  uint64_t sum = output.bytes();
  for (const LayerWeights& w : layers)
    for (const PackedMatrix* m : {&w.q, &w.k, &w.v, &w.attention_output, &w.gate, &w.up, &w.down}) sum += m->bytes();
  return sum;
}

Result<ModelWeights> pack_weights(const Compute& compute, const BoundModel& model,
                                  const std::function<void(double)>& progress, std::vector<std::string>& notes) {
  return Packer(compute, model, progress, notes).run();
}

uint64_t packed_weight_bytes(const BoundModel& model) {
  uint64_t sum = 0;
  const bool own_head = model.find(Slot::kOutput) != nullptr;
  for (const BoundTensor& bound : model.tensors)
    if (is_matrix(bound.slot) || (bound.slot == Slot::kEmbedding && !own_head))
      sum += packed_matrix_bytes(bound.tensor->dtype, bound.tensor->rows(), bound.tensor->columns());
  return sum;
}

}  // namespace kinglet
