// One step of a model: private to nn/. forward.cc is the page that tells the whole; latent_attention.cc,
// compressed_attention.cc, indexer.cc, recurrent.cc, experts.cc, streams.cc, layer_inputs.cc and prediction.cc hold
// the blocks that only some families have.
#pragma once

#include <span>
#include <vector>

#include "kernels/ops_streams.h"
#include "nn/state.h"

namespace kinglet {

class ForwardPass {
 public:
  ForwardPass(Model::State& model, std::span<const StepSlice> slices);
  std::span<const float> run();
  std::span<const float> run_to_states();

 private:
  // Before the layers.
  void number_positions();
  void embed();
  void add_places_and_types();                               // encoder.cc
  void decode_tokens(const TensorView& table, float* rows);  // a row of the table for each token
  void make_layer_inputs();                                  // layer_inputs.cc
  void join_states();                                        // prediction.cc

  // A layer: residual += branch(norm(residual)), twice; an encoder's: residual = norm(residual + branch(residual)). A
  // mixer or ffn reads the product's input and writes work_.branch.
  void begin_block(size_t layer, Slot streams, Slot norm);
  void end_block(size_t layer, Slot norm, Slot bias);
  void mixer_block(size_t layer);
  void ffn_block(size_t layer);
  void input_block(size_t layer);  // layer_inputs.cc
  void attention_mixer(size_t layer);
  void latent_attention_mixer(size_t layer);      // latent_attention.cc
  void compressed_attention_mixer(size_t layer);  // compressed_attention.cc
  void gated_delta_mixer(size_t layer);           // recurrent.cc
  void kimi_delta_mixer(size_t layer);
  void lightning_mixer(size_t layer);
  void dense_ffn(size_t layer);
  void expert_ffn(size_t layer);  // experts.cc
  void dense_and_expert_ffn(size_t layer);

  // After the layers.
  int64_t run_layers();  // returns the rows selected
  int64_t select_rows();
  void norm_selected(int64_t rows);
  void output_head(int64_t rows);
  void keep_states();  // prediction.cc

  // ---- the small steps

  float epsilon() const { return static_cast<float>(spec_.norm_epsilon); }
  const SlotWeights& weights(size_t layer) const { return model_.weights.layers[layer]; }
  // y = norm(x) * weight, rows of `n`.
  void norm(const float* x, const std::vector<float>& weight, int64_t n, float* y) {
    rms_norm(compute_, x, n, weight.data(), epsilon(), tokens_, n, y, n);
  }
  void norm_heads(float* x, const std::vector<float>& weight, int64_t heads, int64_t head_dim) {
    rms_norm(compute_, x, head_dim, weight.data(), epsilon(), tokens_ * heads, head_dim, x, head_dim);
  }
  void norm_and_rotate(size_t layer, float* x, int64_t heads, const std::vector<float>& weight);
  void rotate(size_t layer, float* x, int64_t ld, int64_t heads, int64_t head_dim);
  // What the products that follow read: [tokens][columns].
  void set_input(const float* x, int64_t columns) {
    input_ = x;
    work_.input.set(x, tokens_, columns, columns);
  }
  // Shows a product to the observer, if there is one.
  void observe(const PackedMatrix& w, const float* x, int64_t ldx, int64_t rows) const {
    if (observer_ == nullptr) return;
    if (model_.places.empty()) model_.places = places_of(model_.weights);
    observer_->on_product(model_.places.at(&w), x, ldx, rows, w.columns());
  }
  // y = w · input (+ bias)
  void product(const PackedMatrix& w, const std::vector<float>& bias, float* y) {
    observe(w, input_, w.columns(), tokens_);
    linear(compute_, model_.options.compute, w, work_.input, y, w.rows());
    if (!bias.empty()) add_bias(compute_, y, w.rows(), bias.data(), tokens_, w.rows());
  }
  void product(const PackedMatrix& w, float* y) { product(w, {}, y); }
  // gate = act(gate) * up, rows of `n`, those of `up` ldu floats apart.
  void activate(const FfnSpec& ffn, float* gate, const float* up, int64_t ldu, int64_t rows, int64_t n);
  // What a block reads: the residual stream, or a mixture of its streams, whose weights stay until add_branch().
  const float* block_input(size_t layer, Slot streams);
  // residual += branch, normed first where the family does so.
  void add_branch(const std::vector<float>& post_norm, const LayerSpec& layer, double alpha, double beta);
  // Points work_.sequences at a layer's part of every page.
  void locate_pages(uint64_t offset);

  // ---- parts of attention, of recurrent layers and of experts

  void grow_queries(const AttentionSpec& a, float* q, int64_t width);
  void store_kv(size_t layer);
  void latent_queries(size_t layer, float* q);
  void choose_positions(size_t layer);  // indexer.cc
  void choose_blocks(size_t layer);
  void store_index_keys(size_t layer, const float* k);
  void read_chosen(const IndexerSpec& indexer, AttentionParams& params);
  // Compressed attention (compressed_attention.cc).
  void make_entries(size_t layer);
  void pool_entries(size_t layer, const PoolParams& pool, uint64_t state, uint64_t offset, const EntryLayout& layout,
                    const Slot (&slots)[4]);
  void attend_with_entries(size_t layer, size_t first, size_t count, const float* q, const float* index_q,
                           const float* index_weights, float* attended);
  std::span<std::byte* const* const> entry_pages(const EntryLayout& layout, uint64_t offset, size_t first, size_t count,
                                                 AlignedBuffer& copies);
  void choose_entries(size_t layer, size_t first, size_t count, const float* q, const float* head_weights);
  void rotate_last(size_t layer, Rotation rotation, float* x, int64_t ld, int64_t heads, int64_t head_dim);
  // Hyper-connections (streams.cc).
  void spread_streams();
  void mix_into_streams();
  void collapse_selected(int64_t rows);
  void per_head_products(const std::vector<PackedMatrix>& stack, const float* x, int64_t ldx, int64_t x_step, float* y,
                         int64_t ldy, int64_t y_step);
  void copy_shared_parts(const AttentionSpec& a, const float* q, float* latent_q);
  void locate_states(uint64_t offset);
  void convolve(size_t layer, int64_t part, Slot weights, float* x, int64_t ld);
  void through_bottleneck(const PackedMatrix& down, const PackedMatrix& up, float* y);
  void recur(size_t layer, const float* qkv, const float* decay, int64_t ld_decay, const float* beta, float* results);
  void score_experts(size_t layer, float* logits);
  void look_up_experts(size_t layer, int32_t* chosen);
  void expert_products(const std::vector<PackedMatrix>& stack, const std::vector<float>& bias, const float* x,
                       float* y);
  void run_expert_products();
  void add_shared_expert(size_t layer);

  float* residual() { return work_.residual.as<float>(); }
  float* normed() { return work_.normed.as<float>(); }
  float* branch() { return work_.branch.as<float>(); }

  Model::State& model_;
  const Compute& compute_;
  const ModelSpec& spec_;
  Workspace& work_;
  std::span<const StepSlice> slices_;
  ProductObserver* observer_ = observer_of_this_thread();
  const float* input_ = nullptr;           // of the product at hand
  const float* stream_weights_ = nullptr;  // of the block at hand, with hyper-connections
  int64_t tokens_ = 0;
};

}  // namespace kinglet
