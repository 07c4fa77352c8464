#include "families/spec_check.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <iterator>
#include <string_view>

#include "families/common.h"

namespace kinglet {
namespace {

// a * b for non-negative numbers, or `most + 1` where that is more than `most`.
int64_t bounded_product(int64_t a, int64_t b, int64_t most) {
  return b != 0 && a > most / b ? most + 1 : a * b;
}

class SpecCheck {
 public:
  SpecCheck(const ModelSpec& spec, const std::string& source) : spec_(spec), source_(source) {}

  Status run() {
    within("layers", std::ssize(spec_.layers), 1, kMaxLayers);
    within("vocabulary", spec_.vocabulary, 1, kMaxDimension);
    within("width", spec_.width, 1, kMaxDimension);
    within("context", spec_.context, 1, kMaxContext);
    within("prediction layers", spec_.prediction_layers, 0, kMaxLayers);
    finite("norm epsilon", spec_.norm_epsilon);
    check_streams();
    within("labels of the classification head", spec_.labels, 0, kMaxDimension);
    if (spec_.is_encoder()) check_encoder(spec_.encoder);
    if (status_.ok() && spec_.layers[0].input_dim != 0)
      product("floats of the layers' inputs", std::ssize(spec_.layers), spec_.layers[0].input_dim, kMaxRows);
    for (layer_ = 0; status_.ok() && layer_ < std::ssize(spec_.layers); layer_++) {
      const LayerSpec& layer = spec_.layers[static_cast<size_t>(layer_)];
      if (layer_ == 0 || !(layer == spec_.layers[static_cast<size_t>(layer_) - 1])) check_layer(layer);
      if (!status_.ok()) break;
      rows_ += layer_rows_;
      values_ += layer_values_;
      within("rows of all weights up to here", rows_, 1, kMaxModelRows);
      within("values of all weights up to here", values_, 1, kMaxModelValues);
    }
    return status_;
  }

 private:
  void fail(std::string_view what, const std::string& found, const std::string& expected) {
    if (!status_.ok()) return;
    const std::string where = layer_ < 0 ? "" : "layer " + std::to_string(layer_) + ": ";
    status_ = Error{ErrorCode::kInvalid, source_ + ": " + where + std::string(what) + ": the configuration makes it " +
                                             found + ", expected " + expected};
  }
  void within(std::string_view what, int64_t value, int64_t least, int64_t most) {
    if (value < least || value > most)
      fail(what, value == most + 1 && most >= kMaxRows ? "more" : std::to_string(value),
           std::to_string(least) + " to " + std::to_string(most));
  }
  void finite(std::string_view what, double value) {
    if (!std::isfinite(value)) fail(what, std::to_string(value), "a finite number");
  }
  void product(std::string_view what, int64_t a, int64_t b, int64_t most) {
    within(what, bounded_product(a, b, most), 1, most);
  }
  void rows(std::string_view what, int64_t heads, int64_t dim) { product(what, heads, dim, kMaxRows); }

  void check_streams() {
    within("residual streams", spec_.streams, 1, kMostResidualStreams);
    within("iterations over the streams' weights", spec_.stream_iterations, 1, kMaxLayers);
    finite("epsilon of the streams' weights", spec_.stream_epsilon);
    if (!(spec_.stream_epsilon >= 0.0))
      fail("epsilon of the streams' weights", std::to_string(spec_.stream_epsilon), "zero or more");
    product("floats of all streams", spec_.streams, spec_.width, kMaxRows);
  }

  // What is not written down for a residual stream of several copies.
  void check_layer_of_streams(const LayerSpec& layer) {
    if (layer.residual_of_normed || layer.input_dim != 0 || layer.scaled || layer.ffn.moe.beside_dense)
      fail("residual streams", std::to_string(spec_.streams), "1 in a model with layers like this");
  }

  void check_layer(const LayerSpec& layer) {
    if (spec_.streams > 1) check_layer_of_streams(layer);
    if (layer.recurs())
      check_recurrent(layer.recurrent);
    else
      check_attention(layer);
    check_ffn(layer.ffn);
    if (layer.input_dim != spec_.layers[0].input_dim)
      fail("floats of the layer's input", std::to_string(layer.input_dim),
           std::to_string(spec_.layers[0].input_dim) + " as in the first layer");
    for (const double factor : {layer.mixer_alpha, layer.mixer_beta, layer.ffn_alpha, layer.ffn_beta})
      finite("factor of the residual", factor);
    if (status_.ok()) count_values(layer);
  }

  void check_encoder(const EncoderSpec& e) {
    within("rows of the position embedding", e.positions, 1, kMaxContext);
    within("row of the first position", e.position_offset, 0, e.positions - 1);
    within("token types", e.token_types, 1, kMaxDimension);
    within("context", spec_.context, 1, e.positions - e.position_offset);
    product("values of the position embedding", e.positions, spec_.width, kMaxSlotValues);
    product("values of the token types", e.token_types, spec_.width, kMaxSlotValues);
  }

  void check_attention(const LayerSpec& layer) {
    const AttentionSpec& a = layer.attention;
    for (const int64_t n : {a.heads, a.kv_heads, a.head_dim, a.value_dim})
      within("heads and their sizes", n, 1, kMaxDimension);
    rows("rows of queries", a.heads, a.head_dim);
    rows("rows of attention results", a.heads, a.value_dim);
    within("window", a.window, 0, kMaxContext);
    finite("scale of scores", a.scale);
    finite("soft cap of scores", a.soft_cap);
    finite("growth of queries", a.query_growth);
    if (a.query_growth != 0.0)
      within("positions between two steps of the queries' growth", a.growth_span, 1, kMaxContext);
    if (a.kv_heads > 0 && a.heads % a.kv_heads != 0)
      fail("key/value heads", std::to_string(a.kv_heads), "a divisor of the " + std::to_string(a.heads) + " heads");
    check_rope(a);
    check_values(layer);
    if (layer.mixer == Mixer::kCompressedAttention) return check_compression(a);
    if (a.indexer.heads != 0) check_indexer(a);
    if (layer.mixer != Mixer::kLatentAttention) return;
    const LatentSpec& l = a.latent;
    within("width of the queries' latent", l.q_rank, 0, kMaxDimension);
    within("width of the latent", l.kv_rank, 1, kMaxDimension);
    within("dimensions of a head against its own keys", l.nope_dim, 1, a.head_dim);
    within("dimensions of a head against the shared key", l.shared_dim, a.rope.rotated, a.head_dim - l.nope_dim);
    product("floats of all heads' latents", a.heads, 2 * l.kv_rank + l.shared_dim, kMaxFloats);
  }

  void check_compression(const AttentionSpec& a) {
    const CompressionSpec& c = a.compression;
    within("key/value heads of compressed attention", a.kv_heads, 1, 1);
    within("dimensions of a value, which is a key", a.value_dim, a.head_dim, a.head_dim);
    within("width of the queries' latent", a.latent.q_rank, 1, kMaxDimension);
    within("positions of a compressed entry", c.ratio, 0, kMaxCompression);
    within("groups of heads", c.output_groups, 1, a.heads);
    within("width of a group's result", c.output_rank, 1, kMaxDimension);
    rows("rows of the groups' results", c.output_groups, c.output_rank);
    if (a.heads % c.output_groups != 0)
      fail("groups of heads", std::to_string(c.output_groups),
           "a divisor of the " + std::to_string(a.heads) + " heads");
    if (a.indexer.heads == 0) return;
    if (c.ratio == 0) fail("an indexer", "one", "none in a layer without compressed entries");
    check_indexer(a);
  }

  // Keys and values that come from elsewhere.
  void check_values(const LayerSpec& layer) {
    const AttentionSpec& a = layer.attention;
    if (a.keys_as_values && (!a.value_norm || a.value_dim != a.head_dim))
      fail("values", "the keys", "values of their own where they are not normed or have another size");
    if (!a.shares_kv()) return;
    if (layer.mixer != Mixer::kAttention || a.kv_layer >= layer_)
      return fail("layer whose keys and values are read", std::to_string(a.kv_layer), "an earlier one");
    const LayerSpec& source = spec_.layers[static_cast<size_t>(a.kv_layer)];
    const AttentionSpec& b = source.attention;
    if (source.mixer != Mixer::kAttention || b.shares_kv() || a.kv_heads != b.kv_heads || a.head_dim != b.head_dim ||
        a.value_dim != b.value_dim)
      fail("layer whose keys and values are read", std::to_string(a.kv_layer),
           "one that has its own, and heads of the same number and sizes");
  }

  void check_indexer(const AttentionSpec& a) {
    const IndexerSpec& x = a.indexer;
    within("index heads", x.heads, 1, kMaxDimension);
    within("dimensions of an index key", x.key_dim, std::max<int64_t>(a.rope.rotated, 1), kMaxDimension);
    within("positions that the indexer chooses", x.top_k, 1, kMaxContext);
    rows("rows of index queries", x.heads, x.key_dim);
    if (x.block == 0)
      return within("width of the queries' latent, which the indexer reads", a.latent.q_rank, 1, kMaxDimension);
    within("positions of a block of the indexer", x.block, 1, kMaxContext);
    within("blocks that are always read", x.local_blocks, 0, x.top_k);
    within("index heads, one a key/value head", x.heads, a.kv_heads, a.kv_heads);
  }

  void check_rope(const AttentionSpec& a) {
    const RopeSpec& rope = a.rope;
    within("rotary dimensions", rope.rotated, 0, std::min(a.head_dim, kMaxRotated));
    if (rope.rotated % 2 != 0) fail("rotary dimensions", std::to_string(rope.rotated), "an even number");
    if (rope.rotated > 0 && !(rope.theta > 0.0 && std::isfinite(rope.theta)))
      fail("rotary base", std::to_string(rope.theta), "a number above zero");
    for (const double n : {rope.factor, rope.magnitude, rope.beta_fast, rope.beta_slow, a.yarn_log_multiplier})
      finite("numbers of the rope scaling", n);
  }

  void check_recurrent(const RecurrentSpec& r) {
    for (const int64_t n : {r.key_heads, r.value_heads, r.key_dim, r.value_dim})
      within("recurrent heads and their sizes", n, 1, kMaxDimension);
    within("kernel of the convolution", r.conv_kernel, 0, kMaxLayers);
    rows("rows of recurrent keys", r.key_heads, r.key_dim);
    rows("rows of recurrent values", r.value_heads, r.value_dim);
    if (r.key_heads > 0 && r.value_heads % r.key_heads != 0)
      fail("recurrent value heads", std::to_string(r.value_heads),
           "a multiple of the " + std::to_string(r.key_heads) + " key heads");
    if (!status_.ok()) return;
    product("floats of the recurrent state", r.value_heads, bounded_product(r.key_dim, r.value_dim, kMaxFloats),
            kMaxFloats);
  }

  void check_ffn(const FfnSpec& f) {
    const MoeSpec& m = f.moe;
    finite("limit of the activation", f.limit);
    finite("factor of the activation", f.alpha);
    within("experts", m.experts, 0, kMaxExperts);
    if (m.experts == 0 || m.beside_dense) within("ffn width", f.hidden, 1, kMaxDimension);
    if (m.experts == 0) return;
    within("experts used", m.used, 1, m.experts);
    within("width of an expert", m.hidden, 1, kMaxDimension);
    within("width of the shared experts", m.shared_hidden, 0, kMaxDimension);
    within("groups of experts", m.groups, 1, m.experts);
    within("groups of experts used", m.groups_used, 1, m.groups);
    if (m.groups > 0 && m.experts % m.groups != 0)
      fail("groups of experts", std::to_string(m.groups), "a divisor of the " + std::to_string(m.experts) + " experts");
    product("floats of the experts used", m.used, 2 * (spec_.width + m.hidden), kMaxFloats);
    finite("scale of the experts", m.scale);
  }

  // By the slots, whose shapes can be asked for now that their factors are bounded.
  void count_values(const LayerSpec& layer) {
    layer_rows_ = layer_values_ = 0;
    for (size_t s = static_cast<size_t>(Slot::kAttentionNorm); s < kSlotCount; s++) {
      const Slot slot = static_cast<Slot>(s);
      if (!slot_applies(slot, spec_, &layer)) continue;
      const SlotShape shape = slot_shape(slot, spec_, &layer);
      const int64_t matrix = bounded_product(shape.rows, shape.columns, kMaxSlotValues);
      const int64_t values = bounded_product(shape.count, matrix, kMaxSlotValues);
      within("values of " + std::string(slot_name(slot)), values, 1, kMaxSlotValues);
      layer_rows_ += shape.rows;
      layer_values_ += values;
    }
  }

  const ModelSpec& spec_;
  const std::string& source_;
  int64_t layer_ = -1;
  int64_t layer_rows_ = 0, layer_values_ = 0, rows_ = 0, values_ = 0;
  Status status_;
};

}  // namespace

Status check_spec(const ModelSpec& spec, const std::string& source) {
  return SpecCheck(spec, source).run();
}

}  // namespace kinglet
