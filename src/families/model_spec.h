// ModelSpec: what a model computes, as plain data. A family's data file turns metadata into one of these; nn/ runs it
// and knows no family. Everything a layer may differ in is stated a layer, so that mixed recipes (local and global
// attention, dense then expert layers, linear attention) need no special case.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kinglet {

// Rotary embedding of one kind of layer. Heads are held half-split (pairs p and p + rotated/2) whatever the file's
// order.
struct RopeSpec {
  int64_t rotated = 0;  // rotated dimensions of a head; 0: none (NoPE layers)
  double theta = 10000.0;
  enum class Scaling { kNone, kLinear, kLlama3, kYarn, kFactors } scaling = Scaling::kNone;
  double factor = 1.0;                       // kLinear, kLlama3, kYarn, LongRoPE
  double low_freq_factor = 1.0;              // kLlama3
  double high_freq_factor = 4.0;             // kLlama3
  int64_t original_context = 0;              // kLlama3, kYarn; kFactors with `long_factors`
  double beta_fast = 32.0, beta_slow = 1.0;  // kYarn
  bool whole_pairs = true;                   // kYarn: the ramp begins and ends at whole pairs (gpt-oss: no)
  // Multiplies cos and sin; 0: what the scaling defines (kYarn: 0.1 ln factor + 1, or from the two below where both are
  // given; LongRoPE: sqrt(1 + ln factor / ln original_context); else 1).
  double magnitude = 0.0;
  double magnitude_scale = 0.0,
         magnitude_scale_all = 0.0;  // kYarn: (0.1 m ln factor + 1) of one over that of the other
  double base_factor = 0.0;  // NTK: theta is multiplied by this ^ (rotated / (rotated - 2)); 0: not (Hunyuan's alpha)
  std::vector<double> factors;       // kFactors: divisors of the inverse frequencies, one a pair (GGUF rope_freqs)
  std::vector<double> long_factors;  // kFactors: those for contexts beyond original_context, if they differ (LongRoPE)
  // Pairs that belong to time, height, width (Qwen3.5): of a text all three are its position. Kept for GGUF files.
  std::vector<int64_t> sections;
  bool operator==(const RopeSpec&) const = default;
};

// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): keys and values are stored as one latent vector a token,
// beside one rotated key that all heads share. Heads are [nope | shared] wide.
struct LatentSpec {
  int64_t q_rank = 0;          // queries come through a bottleneck of this width; 0: straight from the residual stream
  int64_t kv_rank = 0;         // width of the latent
  int64_t nope_dim = 0;        // of a head, not rotated
  int64_t shared_dim = 0;      // of a head, against the key that all heads share; rotated, but in Kimi Linear
  bool interleaved = true;     // rotary pairs stand interleaved in the file
  double norm_epsilon = 1e-6;  // of the norms over the bottlenecks
  bool operator==(const LatentSpec&) const = default;
};

// The lightning indexer: small heads beside attention score every position; attention reads the best ones alone. The
// first rope.rotated dimensions of its queries and keys are rotated. In DeepSeek-V3.2 all heads together score
// positions for latent attention; in MiniMax-M3 each head scores blocks for the key/value head of its number; in
// DeepSeek-V4 all heads together score entries by keys that are compressed as entries are.
struct IndexerSpec {
  int64_t heads = 0, key_dim = 0;  // heads 0: none, attention reads everything
  int64_t top_k = 0;               // positions, or blocks, that a token reads
  int64_t block = 0;               // positions of a block, which counts as much as its best one; 0: no blocks
  int64_t local_blocks = 0;        // so many blocks that end with the token's own are among the best always
  bool shared = false;             // no indexer of its own: the choice of the nearest earlier layer that has one
  bool interleaved = false;        // rotary pairs stand interleaved in the file

  bool chooses() const { return heads > 0 && !shared; }
  bool operator==(const IndexerSpec&) const = default;
};

// Compressed keys and values (DeepSeek-V4): beside a window every token attends to entries, one for each block of
// `ratio` tokens behind it. The one key/value head's keys are its values; queries come through a bottleneck
// (LatentSpec::q_rank), and results go through one a group of heads. Rotated are the last rope.rotated dimensions of a
// head, of index heads too, and those of a result back again.
struct CompressionSpec {
  int64_t ratio = 0;      // 0: the window alone
  bool overlaps = false;  // an entry is made of two blocks' tokens
  int64_t output_groups = 1, output_rank = 0;
  bool operator==(const CompressionSpec&) const = default;
};

struct AttentionSpec {
  int64_t heads = 0, kv_heads = 0, head_dim = 0, value_dim = 0;
  RopeSpec rope;
  double scale = 0.0;                // on q·k
  double yarn_log_multiplier = 0.0;  // scale is multiplied by (1 + this * ln(rope.factor))^2 (DeepSeek)
  double soft_cap = 0.0;             // 0: none
  int64_t window = 0;                // 0: none; else tokens a position sees, itself included
  enum class QkNorm : uint8_t { kNone, kPerHead, kWhole } qk_norm = QkNorm::kNone;  // RMS norm of q and k
  bool norm_after_rope = false;
  bool sinks = false;  // a learned logit a head that takes part in the softmax and has no value
  bool gated = false;  // results are multiplied by the sigmoid of a projection of the same width
  // Ministral 3: queries are multiplied by 1 + query_growth * ln(1 + floor(position / growth_span)); 0: not.
  double query_growth = 0.0;
  int64_t growth_span = 0;
  bool causal = true;  // false: a token sees the whole text
  // Gemma 4: the keys and values of an earlier layer of the same shape are read, and this layer stores none; -1: its
  // own.
  int64_t kv_layer = -1;
  bool value_norm = false;      // RMS norm of each value head, without weights
  bool keys_as_values = false;  // values are the keys before norm and rotation; needs value_norm
  LatentSpec latent;            // of Mixer::kLatentAttention
  IndexerSpec indexer;
  CompressionSpec compression;  // of Mixer::kCompressedAttention

  bool shares_kv() const { return kv_layer >= 0; }
  bool operator==(const AttentionSpec&) const = default;
};

// Layers whose memory is a matrix a head instead of a cache: S = decay * S + what the token adds; read out by q.
struct RecurrentSpec {
  int64_t key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0;
  int64_t conv_kernel = 0;       // causal convolution over q, k and v before; 0: none
  bool heads_by_modulo = false;  // value head i reads key head i % key_heads, instead of neighbours sharing one
  double slope_factor = 0.0;     // kLightning: of the heads' slopes 2^(-8 (h + 1) / heads), in this layer
  double norm_epsilon = 1e-6;    // of the norm over the results
  bool operator==(const RecurrentSpec&) const = default;
};

enum class Mixer : uint8_t { kAttention, kLatentAttention, kCompressedAttention, kGatedDelta, kKimiDelta, kLightning };

enum class FfnActivation : uint8_t { kSilu, kGeluTanh, kGeluErf, kSiluClamped, kSwigluOai };

// Mixture of experts: a router picks `used` of `experts` small networks a token; shared ones run for every token.
struct MoeSpec {
  int64_t experts = 0;  // 0: the layer is dense
  int64_t used = 0, hidden = 0;
  enum class Scoring : uint8_t { kSoftmax, kSigmoid, kSoftmaxSelected, kSqrtSoftplus } scoring = Scoring::kSoftmax;
  int64_t groups = 1, groups_used = 1;  // only experts of the best groups can be picked
  bool group_by_top2 = false;           // a group's score: the sum of its two best, instead of its best
  bool masked_as_zero = false;          // experts of other groups score 0 instead of minus infinity
  bool normalise = false;               // weights are divided by their sum (+ normalise_epsilon)
  double normalise_epsilon = 0.0;
  double scale = 1.0;         // on the weights
  int64_t shared_hidden = 0;  // width of the shared experts together; 0: none
  bool shared_gated = false;  // their result is multiplied by the sigmoid of a projection to one number
  // Gemma 4: the experts run beside the layer's dense network on the residual stream under a norm of their own; both
  // results are normed and added. The router reads the stream under a third norm and the result divided by
  // sqrt(width); each expert has a learned factor on its weight.
  bool beside_dense = false;
  bool by_token = false;  // a table says which experts each token of the vocabulary uses (DeepSeek-V4)
  bool operator==(const MoeSpec&) const = default;
};

struct FfnSpec {
  int64_t hidden = 0;  // width of gate and up of a dense layer
  bool gated = true;   // false: there is no gate, the activation is on up
  FfnActivation activation = FfnActivation::kSilu;
  double limit = 7.0;    // kSiluClamped, kSwigluOai: bound of gate and up
  double alpha = 1.702;  // kSwigluOai: factor in the sigmoid
  MoeSpec moe;
  bool operator==(const FfnSpec&) const = default;
};

struct LayerSpec {
  Mixer mixer = Mixer::kAttention;
  AttentionSpec attention;  // kAttention, kLatentAttention, kCompressedAttention
  RecurrentSpec recurrent;  // the other mixers
  FfnSpec ffn;
  // MiniMax-01: x = alpha * norm(x) + beta * branch(norm(x)) instead of x + branch(norm(x)).
  bool residual_of_normed = false;
  double mixer_alpha = 1.0, mixer_beta = 1.0, ffn_alpha = 1.0, ffn_beta = 1.0;
  // Gemma 4 (per-layer embeddings): a second embedding holds so many numbers for each layer of the model, to which a
  // normed projection of the first is added before the layers run; 0: none. A third block reads the layer's share x:
  // residual += norm(up · (act(gate · residual) * x)). The same number in every layer.
  int64_t input_dim = 0;
  bool scaled = false;  // the residual stream is multiplied by a learned number behind the layer
  // BERT: a block reads the residual stream as it is, which is normed behind it: mean taken out, with a bias.
  bool norms_behind = false;

  bool recurs() const { return mixer > Mixer::kCompressedAttention; }
  bool operator==(const LayerSpec&) const = default;
};

// Encoders of text (BERT, arXiv 1810.04805): the residual stream begins with the sum of a token's, its position's and
// its type's embedding, normed. They have no output head.
struct EncoderSpec {
  int64_t positions = 0;        // rows of the position embedding; 0: no encoder
  int64_t position_offset = 0;  // row of position 0
  int64_t token_types = 0;
  bool pooler = false;  // a dense layer and tanh over the first token, before a classification head
  bool operator==(const EncoderSpec&) const = default;
};

struct ModelSpec {
  std::string family;                              // "llama", "qwen3", …
  std::string architecture;                        // as the file calls it
  int64_t vocabulary = 0, width = 0, context = 0;  // width: of the residual stream; context: positions trained for
  double norm_epsilon = 1e-5;
  double embedding_scale = 1.0;
  double final_soft_cap = 0.0;
  double logit_scale = 1.0;
  bool tied_embeddings = false;  // the output head is the embedding
  EncoderSpec encoder;
  int64_t labels = 0;  // of a classification head over one token's state; 0: there is none
  std::vector<LayerSpec> layers;
  // Hyper-connections (DeepSeek-V4): the residual stream is so many copies wide; learned weights, normalised in so many
  // iterations, say how they are mixed into a block's input, and with its result. 1: an ordinary stream.
  int64_t streams = 1, stream_iterations = 1;
  double stream_epsilon = 0.0;
  // Layers that predict further tokens (MTP) stand behind the others in a checkpoint. They are kept for speculation.
  int64_t prediction_layers = 0;
  // This is such a layer as a model of its own: it reads, beside a token, another model's state one position before.
  bool reads_states = false;

  bool is_encoder() const { return encoder.positions > 0; }
};

}  // namespace kinglet
