// ModelSpec: what a model computes, as plain data. A family's data file turns metadata into one of these; nn/ runs it
// and knows no family. Everything a layer may differ in is stated a layer, so that mixed recipes (local and global
// attention, dense then expert layers, linear attention) need no special case.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kinglet {

// Rotary embedding of one kind of layer. Heads are held half-split (pairs p and p + rotated/2) whatever the file's
// order.
struct RopeSpec {
  int64_t rotated = 0;  // rotated dimensions of a head; 0: none (NoPE layers)
  double theta = 10000.0;
  enum class Scaling { kNone, kLinear, kLlama3, kYarn, kFactors } scaling = Scaling::kNone;
  double factor = 1.0;                       // kLinear, kLlama3, kYarn
  double low_freq_factor = 1.0;              // kLlama3
  double high_freq_factor = 4.0;             // kLlama3
  int64_t original_context = 0;              // kLlama3, kYarn
  double beta_fast = 32.0, beta_slow = 1.0;  // kYarn
  double magnitude = 0.0;  // multiplies cos and sin; 0: what the scaling defines (kYarn: 0.1 ln factor + 1, else 1)
  std::vector<double> factors;  // kFactors: divisors of the inverse frequencies, one a pair (GGUF rope_freqs)
  bool operator==(const RopeSpec&) const = default;
};

struct AttentionSpec {
  int64_t heads = 0, kv_heads = 0, head_dim = 0, value_dim = 0;
  RopeSpec rope;
  double scale = 0.0;     // on q·k
  double soft_cap = 0.0;  // 0: none
  int64_t window = 0;     // 0: none; else tokens a position sees, itself included
  bool qk_norm = false;   // RMS norm of each head of q and k before rope
};

enum class FfnActivation { kSilu, kGeluTanh, kGeluErf };

struct FfnSpec {
  int64_t hidden = 0;  // width of gate and up
  FfnActivation activation = FfnActivation::kSilu;
};

struct LayerSpec {
  AttentionSpec attention;
  FfnSpec ffn;
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
  std::vector<LayerSpec> layers;
};

// Weights a model may have, by what they are for. A slot's tensors are found by the family's name table.
enum class Slot : uint8_t {
  kEmbedding,
  kOutputNorm,
  kOutput,
  kRopeFactors,
  kAttentionNorm,
  kQ,
  kK,
  kV,
  kQBias,
  kKBias,
  kVBias,
  kQNorm,
  kKNorm,
  kAttentionOutput,
  kAttentionOutputBias,
  kPostAttentionNorm,
  kFfnNorm,
  kGate,
  kUp,
  kDown,
  kGateBias,
  kUpBias,
  kDownBias,
  kPostFfnNorm,
  kCount
};
std::string_view slot_name(Slot slot);

// What has to be done to a tensor's values or rows to bring it into the form nn/ computes with.
enum class Transform : uint8_t {
  kNone,
  kHalfSplitQ,  // rows of each query head stand interleaved (p, p+1): bring them to half-split order
  kHalfSplitK,  // the same for key heads
  kAddOne,      // norm weights stored as w - 1
};

// One line of a family's name table. "{}" in a name stands for the layer's number.
struct TensorRule {
  Slot slot;
  std::string_view gguf_name;  // "blk.{}.attn_q.weight"; empty: never in GGUF
  std::string_view hf_name;    // "model.layers.{}.self_attn.q_proj.weight"; empty: never in Hugging Face folders
  bool required = true;
  Transform gguf_transform = Transform::kNone;
  Transform hf_transform = Transform::kNone;
};

}  // namespace kinglet
