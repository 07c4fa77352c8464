// What each block takes of the scratch, a token. The blocks are in forward*.cc; Scratch::take checks that they agree.
#include "nn/scratch.h"

#include <algorithm>

namespace kinglet {
namespace {

constexpr int64_t kMostTakes = 24;  // of a block; each may be rounded up to 16 floats

int64_t attention_columns(const AttentionSpec& a) {
  return a.heads * (a.head_dim + 2 * a.value_dim) + a.kv_heads * (a.head_dim + a.value_dim);
}

int64_t latent_columns(const AttentionSpec& a) {
  const LatentSpec& l = a.latent;
  const int64_t key = l.kv_rank + l.shared_dim;
  return l.q_rank + a.heads * a.head_dim + key + a.heads * (key + l.kv_rank + a.value_dim);
}

int64_t index_columns(const IndexerSpec& x) {
  return x.heads * x.key_dim + x.key_dim + x.heads;
}

int64_t compression_columns(const AttentionSpec& a) {
  const CompressionSpec& c = a.compression;
  const int64_t series = c.ratio == 0 ? 0 : c.overlaps ? 2 : 1;
  const int64_t entries = 2 * series * (a.head_dim + a.indexer.key_dim) + a.head_dim + a.indexer.key_dim;
  return a.latent.q_rank + a.heads * (a.head_dim + a.value_dim) + a.head_dim + c.output_groups * c.output_rank +
         entries + (a.indexer.heads * (a.indexer.key_dim + 1));
}

// What a block of hyper-connections takes before all else: the streams normed, their weights, their mixture.
int64_t stream_columns(const ModelSpec& spec) {
  if (spec.streams == 1) return 0;
  return (spec.streams + 1) * spec.width + (2 + spec.streams) * spec.streams;
}

int64_t recurrent_columns(const LayerSpec& layer) {
  const RecurrentSpec& r = layer.recurrent;
  const int64_t keys = r.key_heads * r.key_dim, values = r.value_heads * r.value_dim;
  const int64_t decay = layer.mixer == Mixer::kKimiDelta ? keys + 2 * r.key_dim : r.value_heads;
  return 2 * keys + values + 2 * values + r.value_heads + decay;
}

int64_t ffn_columns(const FfnSpec& f, int64_t width) {
  const MoeSpec& m = f.moe;
  if (m.experts == 0) return 2 * f.hidden;
  const int64_t beside = m.beside_dense ? 2 * f.hidden + 2 * width : 0;
  return beside + m.experts + 2 * m.used + m.used * (2 * width + 2 * m.hidden) + 2 * m.shared_hidden + width + 1;
}

}  // namespace

int64_t scratch_floats(const ModelSpec& spec, int64_t tokens) {
  int64_t columns = std::ssize(spec.layers) * spec.layers[0].input_dim;  // the second embedding
  for (const LayerSpec& layer : spec.layers) {
    const AttentionSpec& a = layer.attention;
    const int64_t attention = layer.mixer == Mixer::kLatentAttention       ? latent_columns(a)
                              : layer.mixer == Mixer::kCompressedAttention ? compression_columns(a)
                                                                           : attention_columns(a);
    const int64_t mixer = layer.recurs() ? recurrent_columns(layer) : attention + index_columns(a.indexer);
    columns = std::max({columns, mixer, ffn_columns(layer.ffn, spec.width), layer.input_dim});
  }
  if (spec.reads_states) columns = std::max(columns, 2 * spec.width);
  return (columns + stream_columns(spec)) * tokens + kMostTakes * 16;
}

}  // namespace kinglet
