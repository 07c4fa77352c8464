// What only encoders of text have before the layers (transformers models/bert): learned places and token types.
#include "formats/decode.h"
#include "nn/forward_pass.h"

namespace kinglet {

// residual = norm((word + type) + place)
void ForwardPass::add_places_and_types() {
  const ModelWeights& w = model_.weights;
  const int64_t n = spec_.width;
  const auto add_rows = [&](const TensorView& table, auto&& row_of) {
    float* to = branch();
    for (const StepSlice& slice : slices_)
      for (size_t i = 0; i < slice.tokens.size(); i++, to += n)
        decode_row(table, row_of(slice, i), {to, static_cast<size_t>(n)});
    add(compute_, residual(), n, branch(), n, tokens_, n);
  };
  add_rows(*w.token_types, [&](const StepSlice& slice, size_t i) {
    const int64_t type = slice.types.empty() ? 0 : slice.types[i];
    KL_CHECK(type >= 0 && type < spec_.encoder.token_types, "a token type that the model does not have");
    return type;
  });
  add_rows(*w.positions, [&](const StepSlice& slice, size_t i) {
    return spec_.encoder.position_offset + slice.first_position + static_cast<int64_t>(i);
  });
  layer_norm(compute_, residual(), n, w.model.vector(Slot::kEmbeddingNorm).data(),
             w.model.vector(Slot::kEmbeddingNormBias).data(), epsilon(), tokens_, n, residual(), n);
}

}  // namespace kinglet
