// The forward pass: tokens in, logits out, as named steps. Every step is an operation of kernels/; what is computed
// follows from the ModelSpec alone.
#include <cstring>
#include <utility>

#include "formats/decode.h"
#include "nn/forward_pass.h"
#include "nn/rope.h"

namespace kinglet {
namespace {

Activation activation_of(FfnActivation activation) {
  switch (activation) {
    case FfnActivation::kSilu:
      break;
    case FfnActivation::kGeluTanh:
      return Activation::kGeluTanh;
    case FfnActivation::kGeluErf:
      return Activation::kGeluErf;
    case FfnActivation::kSiluClamped:
      return Activation::kClampedSilu;
    case FfnActivation::kSwigluOai:
      return Activation::kClampedSwiglu;
  }
  return Activation::kSilu;
}

}  // namespace

ForwardPass::ForwardPass(Model::State& model, std::span<const StepSlice> slices)
    : model_(model), compute_(model.compute), spec_(model.bound.spec), work_(model.work), slices_(slices) {
  for (const StepSlice& slice : slices) tokens_ += static_cast<int64_t>(slice.tokens.size());
  KL_CHECK(tokens_ > 0 && tokens_ <= model.step_tokens, "a step has 1 to max_step_tokens() tokens");
}

std::span<const float> ForwardPass::run() {
  const int64_t rows = run_layers();
  if (model_.options.keep_states) keep_states();
  if (rows > 0) output_head(rows);
  return {work_.logits.as<float>(), static_cast<size_t>(rows * spec_.vocabulary)};
}

std::span<const float> ForwardPass::run_to_states() {
  const int64_t rows = run_layers();
  if (rows > 0) norm_selected(rows);
  return {work_.selected.as<float>(), static_cast<size_t>(rows * spec_.width)};
}

int64_t ForwardPass::run_layers() {
  number_positions();
  embed();
  if (spec_.layers[0].input_dim > 0) make_layer_inputs();
  for (size_t layer = 0; layer < spec_.layers.size(); layer++) {
    mixer_block(layer);
    ffn_block(layer);
    if (spec_.layers[layer].input_dim > 0) input_block(layer);
    if (spec_.layers[layer].scaled)
      scale(compute_, residual(), spec_.width, weights(layer).vector(Slot::kLayerScale).front(), tokens_, spec_.width);
  }
  return select_rows();
}

// ---- before the layers

void ForwardPass::number_positions() {
  work_.positions.clear();
  for (const StepSlice& slice : slices_)
    for (size_t i = 0; i < slice.tokens.size(); i++)
      work_.positions.push_back(static_cast<int32_t>(slice.first_position + static_cast<int64_t>(i)));
}

void ForwardPass::embed() {
  decode_tokens(*model_.weights.embedding, residual());
  if (spec_.embedding_scale != 1.0)
    scale(compute_, residual(), spec_.width, static_cast<float>(spec_.embedding_scale), tokens_, spec_.width);
  if (spec_.streams > 1) spread_streams();
  if (spec_.is_encoder()) add_places_and_types();
  if (spec_.reads_states) join_states();
}

void ForwardPass::decode_tokens(const TensorView& table, float* rows) {
  const int64_t columns = table.columns();
  for (const StepSlice& slice : slices_)
    for (int32_t token : slice.tokens) {
      KL_CHECK(token >= 0 && token < spec_.vocabulary, "a token id outside the vocabulary");
      decode_row(table, token, {rows, static_cast<size_t>(columns)});
      rows += columns;
    }
}

// ---- a layer's blocks

void ForwardPass::begin_block(size_t layer, Slot streams, Slot slot) {
  work_.scratch.clear();
  if (spec_.layers[layer].norms_behind) return set_input(residual(), spec_.width);
  norm(block_input(layer, streams), weights(layer).vector(slot), spec_.width, normed());
  set_input(normed(), spec_.width);
}

void ForwardPass::end_block(size_t layer, Slot slot, Slot bias) {
  if (!spec_.layers[layer].norms_behind) return;
  const SlotWeights& w = weights(layer);
  layer_norm(compute_, residual(), spec_.width, w.vector(slot).data(), w.vector(bias).data(), epsilon(), tokens_,
             spec_.width, residual(), spec_.width);
}

void ForwardPass::mixer_block(size_t layer) {
  const LayerSpec& l = spec_.layers[layer];
  begin_block(layer, Slot::kMixerStreams, Slot::kAttentionNorm);
  switch (l.mixer) {
    case Mixer::kAttention:
      attention_mixer(layer);
      break;
    case Mixer::kLatentAttention:
      latent_attention_mixer(layer);
      break;
    case Mixer::kCompressedAttention:
      compressed_attention_mixer(layer);
      break;
    case Mixer::kGatedDelta:
      gated_delta_mixer(layer);
      break;
    case Mixer::kKimiDelta:
      kimi_delta_mixer(layer);
      break;
    case Mixer::kLightning:
      lightning_mixer(layer);
      break;
  }
  add_branch(weights(layer).vector(Slot::kPostAttentionNorm), l, l.mixer_alpha, l.mixer_beta);
  end_block(layer, Slot::kAttentionNorm, Slot::kAttentionNormBias);
}

void ForwardPass::ffn_block(size_t layer) {
  const LayerSpec& l = spec_.layers[layer];
  begin_block(layer, Slot::kFfnStreams, Slot::kFfnNorm);
  if (l.ffn.moe.beside_dense)
    dense_and_expert_ffn(layer);
  else if (l.ffn.moe.experts > 0)
    expert_ffn(layer);
  else
    dense_ffn(layer);
  add_branch(weights(layer).vector(Slot::kPostFfnNorm), l, l.ffn_alpha, l.ffn_beta);
  end_block(layer, Slot::kFfnNorm, Slot::kFfnNormBias);
}

void ForwardPass::attention_mixer(size_t layer) {
  const SlotWeights& w = weights(layer);
  const AttentionSpec& a = spec_.layers[layer].attention;
  const int64_t q_width = a.heads * a.head_dim, out_width = a.heads * a.value_dim;
  float* q = work_.scratch.take(tokens_, q_width);
  float* attended = work_.scratch.take(tokens_, out_width);
  product(w.matrix(Slot::kQ), w.vector(Slot::kQBias), q);
  norm_and_rotate(layer, q, a.heads, w.vector(Slot::kQNorm));
  if (a.query_growth != 0.0) grow_queries(a, q, q_width);
  if (a.indexer.chooses()) choose_blocks(layer);
  locate_pages(model_.kv_offsets[layer]);
  if (!a.shares_kv()) store_kv(layer);
  AttentionParams params;
  params.heads = a.heads;
  params.scale = attention_scale(a);
  params.soft_cap = static_cast<float>(a.soft_cap);
  params.window = a.window;
  params.causal = a.causal;
  params.sinks = a.sinks ? w.vector(Slot::kSinks).data() : nullptr;
  read_chosen(a.indexer, params);
  attention(compute_, model_.kv_layouts[layer], params, work_.sequences, q, q_width, attended, out_width);

  if (a.gated) {
    float* gate = work_.scratch.take(tokens_, out_width);
    product(w.matrix(Slot::kAttentionGate), gate);  // the input is the normed residual stream still
    gated_activation(compute_, Activation::kSigmoid, gate, out_width, attended, out_width, tokens_, out_width);
    attended = gate;
  }
  set_input(attended, out_width);
  product(w.matrix(Slot::kAttentionOutput), w.vector(Slot::kAttentionOutputBias), branch());
}

// Each token's query by the factor of its position, which neighbours mostly share.
void ForwardPass::grow_queries(const AttentionSpec& a, float* q, int64_t width) {
  for (int64_t begin = 0, end = 0; begin < tokens_; begin = end) {
    const float factor = query_factor(a, work_.positions[static_cast<size_t>(begin)]);
    while (end < tokens_ && query_factor(a, work_.positions[static_cast<size_t>(end)]) == factor) end++;
    if (factor != 1.0f) scale(compute_, q + begin * width, width, factor, end - begin, width);
  }
}

// The keys and values of the step's tokens, into the pages located.
void ForwardPass::store_kv(size_t layer) {
  const SlotWeights& w = weights(layer);
  const AttentionSpec& a = spec_.layers[layer].attention;
  const int64_t k_width = a.kv_heads * a.head_dim, v_width = a.kv_heads * a.value_dim;
  float* k = work_.scratch.take(tokens_, k_width);
  float* v = work_.scratch.take(tokens_, v_width);
  product(w.matrix(Slot::kK), w.vector(Slot::kKBias), k);
  if (!a.keys_as_values) product(w.matrix(Slot::kV), w.vector(Slot::kVBias), v);
  if (a.value_norm)
    rms_norm(compute_, a.keys_as_values ? k : v, a.value_dim, nullptr, epsilon(), tokens_ * a.kv_heads, a.value_dim, v,
             a.value_dim);
  norm_and_rotate(layer, k, a.kv_heads, w.vector(Slot::kKNorm));
  kv_store(compute_, model_.kv_layouts[layer], work_.sequences, k, k_width, v, v_width);
}

// Queries or keys.
void ForwardPass::norm_and_rotate(size_t layer, float* x, int64_t heads, const std::vector<float>& weight) {
  using QkNorm = AttentionSpec::QkNorm;
  const AttentionSpec& a = spec_.layers[layer].attention;
  const int64_t width = heads * a.head_dim;
  if (a.norm_after_rope) rotate(layer, x, width, heads, a.head_dim);
  if (a.qk_norm == QkNorm::kPerHead)
    norm_heads(x, weight, heads, a.head_dim);
  else if (a.qk_norm == QkNorm::kWhole)
    norm(x, weight, width, x);
  if (!a.norm_after_rope) rotate(layer, x, width, heads, a.head_dim);
}

void ForwardPass::dense_ffn(size_t layer) {
  const SlotWeights& w = weights(layer);
  const FfnSpec& f = spec_.layers[layer].ffn;
  float* up = work_.scratch.take(tokens_, f.hidden);
  product(w.matrix(Slot::kUp), w.vector(Slot::kUpBias), up);
  if (f.gated) {
    float* gate = work_.scratch.take(tokens_, f.hidden);
    product(w.matrix(Slot::kGate), w.vector(Slot::kGateBias), gate);
    activate(f, gate, up, f.hidden, tokens_, f.hidden);
    set_input(gate, f.hidden);
  } else {
    kinglet::activate(compute_, activation_of(f.activation), up, f.hidden, tokens_, f.hidden);
    set_input(up, f.hidden);
  }
  product(w.matrix(Slot::kDown), w.vector(Slot::kDownBias), branch());
}

// ---- after the layers

// Gathers the rows whose logits are wanted; returns their number.
int64_t ForwardPass::select_rows() {
  const float* row = residual();
  float* to = work_.selected.as<float>();
  int64_t rows = 0;
  const int64_t width = spec_.streams * spec_.width;
  for (const StepSlice& slice : slices_)
    for (size_t i = 0; i < slice.tokens.size(); i++, row += width) {
      const bool last = i + static_cast<size_t>(slice.last_rows) >= slice.tokens.size();
      if (slice.logits == LogitRows::kNone || (slice.logits == LogitRows::kLast && !last)) continue;
      std::memcpy(to + rows * width, row, static_cast<size_t>(width) * sizeof(float));
      rows++;
    }
  return rows;
}

void ForwardPass::norm_selected(int64_t rows) {
  if (spec_.is_encoder()) return;  // the last block's norm is behind it
  if (spec_.streams > 1) collapse_selected(rows);
  float* x = work_.selected.as<float>();
  rms_norm(compute_, x, spec_.width, model_.weights.model.vector(Slot::kOutputNorm).data(), epsilon(), rows,
           spec_.width, x, spec_.width);
}

void ForwardPass::output_head(int64_t rows) {
  float *x = work_.selected.as<float>(), *logits = work_.logits.as<float>();
  const SlotWeights& w = model_.weights.model;
  norm_selected(rows);
  work_.input.set(x, rows, spec_.width, spec_.width);
  linear(compute_, model_.options.compute, w.matrix(Slot::kOutput), work_.input, logits, spec_.vocabulary);
  if (spec_.logit_scale != 1.0)
    scale(compute_, logits, spec_.vocabulary, static_cast<float>(spec_.logit_scale), rows, spec_.vocabulary);
  if (spec_.final_soft_cap != 0.0)
    soft_cap(compute_, logits, spec_.vocabulary, static_cast<float>(spec_.final_soft_cap), rows, spec_.vocabulary);
}

// ---- the small steps

void ForwardPass::rotate(size_t layer, float* x, int64_t ld, int64_t heads, int64_t head_dim) {
  const int rope = model_.rope_of_layer[layer];
  if (rope < 0) return;
  rope_half_split(compute_, model_.rope_tables[static_cast<size_t>(rope)], work_.positions.data(), x, ld, tokens_,
                  heads, head_dim);
}

void ForwardPass::activate(const FfnSpec& ffn, float* gate, const float* up, int64_t ldu, int64_t rows, int64_t n) {
  ActivationParams params;
  params.limit = static_cast<float>(ffn.limit);
  params.alpha = static_cast<float>(ffn.alpha);
  gated_activation(compute_, activation_of(ffn.activation), gate, n, up, ldu, rows, n, params);
}

void ForwardPass::add_branch(const std::vector<float>& post_norm, const LayerSpec& layer, double alpha, double beta) {
  if (!post_norm.empty()) norm(branch(), post_norm, spec_.width, branch());
  if (spec_.streams > 1) return mix_into_streams();
  if (layer.residual_of_normed) {
    std::swap(work_.residual, work_.normed);
    residual_mix(compute_, static_cast<float>(alpha), residual(), spec_.width, static_cast<float>(beta), branch(),
                 spec_.width, tokens_, spec_.width);
    return;
  }
  add(compute_, residual(), spec_.width, branch(), spec_.width, tokens_, spec_.width);
}

void ForwardPass::locate_pages(uint64_t offset) {
  work_.layer_pages.clear();
  work_.sequences.clear();
  for (const StepSlice& slice : slices_)
    for (std::byte* page : slice.pages) work_.layer_pages.push_back(page + offset);
  int64_t token = 0;
  size_t page = 0;
  for (const StepSlice& slice : slices_) {
    const auto count = static_cast<int64_t>(slice.tokens.size());
    work_.sequences.push_back({token, count, slice.first_position, work_.layer_pages.data() + page});
    token += count;
    page += slice.pages.size();
  }
}

std::span<const float> Model::forward(std::span<const StepSlice> slices) {
  KL_CHECK(state_->weights.model.has_matrices(Slot::kOutput), "logits of a model without an output head");
  return ForwardPass(*state_, slices).run();
}

std::span<const float> Model::states(std::span<const StepSlice> slices) {
  return ForwardPass(*state_, slices).run_to_states();
}

}  // namespace kinglet
