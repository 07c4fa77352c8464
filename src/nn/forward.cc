// The forward pass: tokens in, logits out, as named steps. Every step is an operation of kernels/ops.h; what is
// computed follows from the ModelSpec alone.
#include <cstring>

#include "formats/decode.h"
#include "nn/state.h"

namespace kinglet {
namespace {

class Forward {
 public:
  Forward(Model::State& model, std::span<const StepSlice> slices)
      : model_(model), compute_(model.compute), spec_(model.bound.spec), work_(model.work), slices_(slices) {
    for (const StepSlice& slice : slices) tokens_ += static_cast<int64_t>(slice.tokens.size());
    KL_CHECK(tokens_ > 0 && tokens_ <= Model::kMaxStepTokens, "a step has 1 to kMaxStepTokens tokens");
  }

  std::span<const float> run() {
    number_positions();
    embed();
    for (size_t layer = 0; layer < spec_.layers.size(); layer++) {
      attention_block(layer);
      ffn_block(layer);
    }
    const int64_t rows = select_rows();
    if (rows > 0) output_head(rows);
    return {work_.logits.as<float>(), static_cast<size_t>(rows * spec_.vocabulary)};
  }

 private:
  // ---- before the layers

  void number_positions() {
    work_.positions.clear();
    for (const StepSlice& slice : slices_)
      for (size_t i = 0; i < slice.tokens.size(); i++)
        work_.positions.push_back(static_cast<int32_t>(slice.first_position + static_cast<int64_t>(i)));
  }

  void embed() {
    const TensorView& table = *model_.weights.embedding;
    float* row = work_.residual.as<float>();
    for (const StepSlice& slice : slices_)
      for (int32_t token : slice.tokens) {
        KL_CHECK(token >= 0 && token < spec_.vocabulary, "a token id outside the vocabulary");
        decode_row(table.dtype, table.row(token), spec_.width, row);
        row += spec_.width;
      }
    if (spec_.embedding_scale != 1.0)
      scale(compute_, work_.residual.as<float>(), spec_.width, static_cast<float>(spec_.embedding_scale), tokens_,
            spec_.width);
  }

  // ---- a layer's two blocks: residual += branch(norm(residual))

  void attention_block(size_t layer) {
    const LayerWeights& w = model_.weights.layers[layer];
    const AttentionSpec& a = spec_.layers[layer].attention;
    const int64_t q_width = a.heads * a.head_dim, k_width = a.kv_heads * a.head_dim, v_width = a.kv_heads * a.value_dim;
    float *q = work_.q.as<float>(), *k = work_.k.as<float>(), *v = work_.v.as<float>();

    norm(work_.residual.as<float>(), w.attention_norm, work_.normed.as<float>());
    set_input(work_.normed, spec_.width);
    product(w.q, w.q_bias, q);
    product(w.k, w.k_bias, k);
    product(w.v, w.v_bias, v);
    if (a.qk_norm) {
      norm_heads(q, w.q_norm, a.heads, a.head_dim);
      norm_heads(k, w.k_norm, a.kv_heads, a.head_dim);
    }
    if (const int rope = model_.rope_of_layer[layer]; rope >= 0) {
      const RopeTable& table = model_.rope_tables[static_cast<size_t>(rope)];
      rope_half_split(compute_, table, work_.positions.data(), q, q_width, tokens_, a.heads, a.head_dim);
      rope_half_split(compute_, table, work_.positions.data(), k, k_width, tokens_, a.kv_heads, a.head_dim);
    }
    locate_pages(layer);
    const KvLayout& layout = model_.kv_layouts[layer];
    kv_store(compute_, layout, work_.sequences, k, k_width, v, v_width);
    const AttentionParams params = {a.heads, static_cast<float>(a.scale), static_cast<float>(a.soft_cap), a.window};
    attention(compute_, layout, params, work_.sequences, q, q_width, work_.attended.as<float>(), a.heads * a.value_dim);

    set_input(work_.attended, a.heads * a.value_dim);
    product(w.attention_output, w.attention_output_bias, work_.branch.as<float>());
    add_branch(w.post_attention_norm);
  }

  void ffn_block(size_t layer) {
    const LayerWeights& w = model_.weights.layers[layer];
    const FfnSpec& f = spec_.layers[layer].ffn;
    float *gate = work_.gate.as<float>(), *up = work_.up.as<float>();

    norm(work_.residual.as<float>(), w.ffn_norm, work_.normed.as<float>());
    set_input(work_.normed, spec_.width);
    product(w.gate, w.gate_bias, gate);
    product(w.up, w.up_bias, up);
    gated_activation(compute_, activation(f.activation), gate, f.hidden, up, f.hidden, tokens_, f.hidden);

    set_input(work_.gate, f.hidden);
    product(w.down, w.down_bias, work_.branch.as<float>());
    add_branch(w.post_ffn_norm);
  }

  // ---- after the layers

  // Gathers the rows whose logits are wanted; returns their number.
  int64_t select_rows() {
    const float* row = work_.residual.as<float>();
    float* to = work_.selected.as<float>();
    int64_t rows = 0;
    const size_t bytes = static_cast<size_t>(spec_.width) * sizeof(float);
    for (const StepSlice& slice : slices_)
      for (size_t i = 0; i < slice.tokens.size(); i++, row += spec_.width) {
        const bool last = i + 1 == slice.tokens.size();
        if (slice.logits == LogitRows::kNone || (slice.logits == LogitRows::kLast && !last)) continue;
        std::memcpy(to + rows * spec_.width, row, bytes);
        rows++;
      }
    return rows;
  }

  void output_head(int64_t rows) {
    float *x = work_.selected.as<float>(), *logits = work_.logits.as<float>();
    rms_norm(compute_, x, spec_.width, model_.weights.output_norm.data(), epsilon(), rows, spec_.width, x, spec_.width);
    work_.input.set(x, rows, spec_.width, spec_.width);
    linear(compute_, model_.options.compute, model_.weights.output, work_.input, logits, spec_.vocabulary);
    if (spec_.logit_scale != 1.0)
      scale(compute_, logits, spec_.vocabulary, static_cast<float>(spec_.logit_scale), rows, spec_.vocabulary);
    if (spec_.final_soft_cap != 0.0)
      soft_cap(compute_, logits, spec_.vocabulary, static_cast<float>(spec_.final_soft_cap), rows, spec_.vocabulary);
  }

  // ---- the small steps

  float epsilon() const { return static_cast<float>(spec_.norm_epsilon); }

  void norm(const float* x, const std::vector<float>& weight, float* y) {
    rms_norm(compute_, x, spec_.width, weight.data(), epsilon(), tokens_, spec_.width, y, spec_.width);
  }
  void norm_heads(float* x, const std::vector<float>& weight, int64_t heads, int64_t head_dim) {
    rms_norm(compute_, x, head_dim, weight.data(), epsilon(), tokens_ * heads, head_dim, x, head_dim);
  }
  void set_input(const AlignedBuffer& x, int64_t columns) { work_.input.set(x.as<float>(), tokens_, columns, columns); }
  // y = w · input (+ bias)
  void product(const PackedMatrix& w, const std::vector<float>& bias, float* y) {
    linear(compute_, model_.options.compute, w, work_.input, y, w.rows());
    if (!bias.empty()) add_bias(compute_, y, w.rows(), bias.data(), tokens_, w.rows());
  }
  // residual += branch, normed first where the family does so
  void add_branch(const std::vector<float>& post_norm) {
    float* branch = work_.branch.as<float>();
    if (!post_norm.empty()) norm(branch, post_norm, branch);
    add(compute_, work_.residual.as<float>(), spec_.width, branch, spec_.width, tokens_, spec_.width);
  }
  static Activation activation(FfnActivation a) {
    switch (a) {
      case FfnActivation::kSilu:
        return Activation::kSilu;
      case FfnActivation::kGeluTanh:
        return Activation::kGeluTanh;
      case FfnActivation::kGeluErf:
        return Activation::kGeluErf;
    }
    return Activation::kSilu;
  }
  // Points work_.sequences at this layer's part of every page.
  void locate_pages(size_t layer) {
    work_.layer_pages.clear();
    work_.sequences.clear();
    for (const StepSlice& slice : slices_)
      for (std::byte* page : slice.pages) work_.layer_pages.push_back(page + model_.kv_offsets[layer]);
    int64_t token = 0;
    size_t page = 0;
    for (const StepSlice& slice : slices_) {
      const auto count = static_cast<int64_t>(slice.tokens.size());
      work_.sequences.push_back({token, count, slice.first_position, work_.layer_pages.data() + page});
      token += count;
      page += slice.pages.size();
    }
  }

  Model::State& model_;
  const Compute& compute_;
  const ModelSpec& spec_;
  Workspace& work_;
  std::span<const StepSlice> slices_;
  int64_t tokens_ = 0;
};

}  // namespace

std::span<const float> Model::forward(std::span<const StepSlice> slices) {
  return Forward(*state_, slices).run();
}

}  // namespace kinglet
