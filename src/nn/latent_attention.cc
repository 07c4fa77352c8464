// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434) in its absorbed form, for prompts and decoding alike: the
// cache holds one latent and one rotated key a token; queries are brought to the latent's space head by head, and what
// attention gathers there is brought back to values.
#include <cstring>

#include "kernels/ops_experts.h"
#include "nn/forward_pass.h"
#include "nn/rope.h"

namespace kinglet {

void ForwardPass::latent_attention_mixer(size_t layer) {
  const SlotWeights& w = weights(layer);
  const AttentionSpec& a = spec_.layers[layer].attention;
  const LatentSpec& l = a.latent;
  const int64_t q_width = a.heads * a.head_dim, key = l.kv_rank + l.shared_dim, out_width = a.heads * a.value_dim;
  float* q = work_.scratch.take(tokens_, q_width);
  float* kv = work_.scratch.take(tokens_, key);
  float* latent_q = work_.scratch.take(tokens_, a.heads * key);
  float* gathered = work_.scratch.take(tokens_, a.heads * l.kv_rank);
  float* attended = work_.scratch.take(tokens_, out_width);

  product(w.matrix(Slot::kKvDown), kv);
  latent_queries(layer, q);
  if (a.indexer.chooses()) choose_positions(layer);
  rms_norm(compute_, kv, key, w.vector(Slot::kKvDownNorm).data(), static_cast<float>(l.norm_epsilon), tokens_,
           l.kv_rank, kv, key);
  rotate(layer, kv + l.kv_rank, key, 1, l.shared_dim);
  rotate(layer, q + l.nope_dim, q_width, a.heads, a.head_dim);

  // [heads][latent | shared]: one part through the head's matrix, the other as it is.
  per_head_products(w.stack(Slot::kKeyUp), q, q_width, a.head_dim, latent_q, a.heads * key, key);
  copy_shared_parts(a, q, latent_q);

  locate_pages(model_.kv_offsets[layer]);
  const KvLayout& layout = model_.kv_layouts[layer];
  kv_store(compute_, layout, work_.sequences, kv, key, nullptr, 0);
  AttentionParams params;
  params.heads = a.heads;
  params.scale = attention_scale(a);
  read_chosen(a.indexer, params);
  attention(compute_, layout, params, work_.sequences, latent_q, a.heads * key, gathered, a.heads * l.kv_rank);

  per_head_products(w.stack(Slot::kValueUp), gathered, a.heads * l.kv_rank, l.kv_rank, attended, out_width,
                    a.value_dim);
  set_input(attended, out_width);
  product(w.matrix(Slot::kAttentionOutput), w.vector(Slot::kAttentionOutputBias), branch());
}

// Queries straight from the input, or through a normed bottleneck, which is the input afterwards.
void ForwardPass::latent_queries(size_t layer, float* q) {
  const SlotWeights& w = weights(layer);
  const LatentSpec& l = spec_.layers[layer].attention.latent;
  if (l.q_rank > 0) {
    float* down = work_.scratch.take(tokens_, l.q_rank);
    product(w.matrix(Slot::kQDown), down);
    rms_norm(compute_, down, l.q_rank, w.vector(Slot::kQDownNorm).data(), static_cast<float>(l.norm_epsilon), tokens_,
             l.q_rank, down, l.q_rank);
    set_input(down, l.q_rank);
  }
  product(w.matrix(Slot::kQ), q);
}

// y[t][h] = stack[h] · x[t][h]; rows of x and y are ld floats apart, heads `step` floats.
void ForwardPass::per_head_products(const std::vector<PackedMatrix>& stack, const float* x, int64_t ldx, int64_t x_step,
                                    float* y, int64_t ldy, int64_t y_step) {
  work_.products.clear();
  for (size_t h = 0; h < stack.size(); h++) {
    const auto head = static_cast<int64_t>(h);
    work_.products.push_back({&stack[h], x + head * x_step, ldx, tokens_, y + head * y_step, ldy});
  }
  for (const Product& p : work_.products) observe(*p.w, p.x, p.ldx, p.tokens);
  linear_many(compute_, model_.options.compute, work_.products, work_.product_scratch);
  work_.products.clear();
}

// The part of every head of q that meets the shared key goes behind the head's latent query.
void ForwardPass::copy_shared_parts(const AttentionSpec& a, const float* q, float* latent_q) {
  const int64_t key = a.latent.kv_rank + a.latent.shared_dim;
  const size_t bytes = static_cast<size_t>(a.latent.shared_dim) * sizeof(float);
  for (int64_t row = 0; row < tokens_ * a.heads; row++)
    std::memcpy(latent_q + row * key + a.latent.kv_rank, q + row * a.head_dim + a.latent.nope_dim, bytes);
}

}  // namespace kinglet
