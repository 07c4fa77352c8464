// Slots: the weights that a model may have, by what they are for; their shapes; and how a file may hold them. A
// family's name table is made of TensorRules.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "families/model_spec.h"

namespace kinglet {

enum class Slot : uint8_t {
  kEmbedding,
  kOutputNorm,
  kOutput,
  kRopeFactors,
  kRopeFactorsLong,
  kLayerEmbedding,   // of the inputs that layers have of their own, all layers' behind each other
  kLayerProjection,  // of the residual stream to them
  kLayerProjectionNorm,
  kHeadStreams,  // hyper-connections: the logits of a mixture of the streams, here of the last one before the head
  kHeadStreamsBase,
  kHeadStreamsScale,
  kPositionEmbedding,  // of an encoder
  kTokenTypes,
  kEmbeddingNorm,
  kEmbeddingNormBias,
  kPooler,
  kPoolerBias,
  kClassifier,
  kClassifierBias,
  kPredictEmbeddingNorm,  // of a prediction layer: over the token's embedding,
  kPredictStateNorm,      // over the state before it,
  kPredictInput,          // and [embedding | state] to the residual stream
  kAttentionNorm,
  kQ,
  kK,
  kV,
  kQBias,
  kKBias,
  kVBias,
  kQNorm,
  kKNorm,
  kSinks,
  kAttentionGate,
  kAttentionOutput,
  kAttentionOutputBias,
  kPostAttentionNorm,
  // latent attention
  kQDown,
  kQDownNorm,
  kKvDown,
  kKvDownNorm,
  kKeyUp,    // a matrix a head: what a query's unrotated part is multiplied by to meet latents, [kv_rank][nope_dim]
  kValueUp,  // a matrix a head: latents to values, [value_dim][kv_rank]
  // the indexer of sparse attention
  kIndexQ,  // from the queries' bottleneck, if there is one
  kIndexK,
  kIndexQNorm,
  kIndexKNorm,
  kIndexKNormBias,
  kIndexWeights,  // of its heads
  // compressed attention
  kOutputDown,  // a matrix a group of heads
  kCompressValue,
  kCompressGate,
  kCompressBias,  // on the gates, a place in the block
  kCompressNorm,
  kIndexCompressValue,
  kIndexCompressGate,
  kIndexCompressBias,
  kIndexCompressNorm,
  // hyper-connections of a layer's two blocks
  kMixerStreams,
  kMixerStreamsBase,
  kMixerStreamsScale,  // of the logits of input, result and streams
  kFfnStreams,
  kFfnStreamsBase,
  kFfnStreamsScale,
  // recurrent layers
  kRecurrentQkv,
  kConvolution,
  kRecurrentGate,
  kRecurrentBeta,
  kRecurrentAlpha,
  kDecayRate,  // -exp(A), a value head
  kDecayBias,  // a value head, or one of its key channels (Kimi Linear)
  kDeltaQ,     // Kimi Linear has a projection and a convolution for each of q, k and v
  kDeltaK,
  kDeltaV,
  kConvolutionQ,
  kConvolutionK,
  kConvolutionV,
  kDecayDown,  // decay and gate come through bottlenecks
  kDecayUp,
  kGateDown,
  kGateUp,
  kRecurrentNorm,
  kRecurrentOutput,
  // feed-forward
  kFfnNorm,
  kGate,
  kUp,
  kDown,
  kGateBias,
  kUpBias,
  kDownBias,
  kRouter,
  kRouterBias,     // added to the router's logits
  kSelectionBias,  // added to the scores for choosing only
  kRouterNorm,     // over the residual stream, where experts stand beside a dense network
  kExpertScale,    // a factor on the weight of each expert
  kExpertTable,    // of each token of the vocabulary
  kExpertGate,
  kExpertUp,
  kExpertDown,
  kExpertGateBias,
  kExpertUpBias,
  kExpertDownBias,
  kSharedGate,
  kSharedUp,
  kSharedDown,
  kSharedRouter,
  kPostFfnNorm,
  kDensePostNorm,   // where experts stand beside a dense network: over its result,
  kExpertNorm,      // over what they read
  kExpertPostNorm,  // and over their result
  // the block that reads a layer's own input
  kInputGate,
  kInputUp,
  kPostInputNorm,
  kLayerScale,
  // of norms behind a block
  kAttentionNormBias,
  kFfnNormBias,
  kCount
};
inline constexpr size_t kSlotCount = static_cast<size_t>(Slot::kCount);

std::string_view slot_name(Slot slot);  // "expert gate", for messages

enum class SlotKind : uint8_t {
  kVector,  // floats
  kMatrix,  // a product's weights
  kStack,   // as many matrices as there are experts or heads
  kTable,   // integers, a row a token of the vocabulary
};
SlotKind slot_kind(Slot slot);

// Shape of a slot's weights as nn/ computes with them: `count` matrices [rows][columns]; vectors mostly have one
// column.
struct SlotShape {
  int64_t count = 1, rows = 0, columns = 0;
};
// `layer` is null for slots of the whole model.
SlotShape slot_shape(Slot slot, const ModelSpec& spec, const LayerSpec* layer);

// Whether a layer of this recipe, or the model where `layer` is null, computes with the slot at all (a dense layer has
// no router, …).
bool slot_applies(Slot slot, const ModelSpec& spec, const LayerSpec* layer);

// How the stored tensor differs from the slot's weights.
enum class Transform : uint8_t {
  kNone,
  kHalfSplitQ,  // rows of each query head stand interleaved (p, p+1): bring them to half-split order
  kHalfSplitK,  // the same for key heads
  kRotatedQ,    // the same in the rotated dimensions only
  kRotatedK,
  kAddOne,       // norm weights stored as w - 1
  kNegativeExp,  // stored as log: -exp(x) is wanted
  kPackedQ,      // rows [q | k | v] in one tensor
  kPackedK,
  kPackedV,
  kPackedRotatedQ,  // the same, rotary pairs interleaved in the rotated dimensions
  kPackedRotatedK,
  kPackedGate,  // rows [gate | up] in one tensor, of each expert where there are some
  kPackedUp,
  kPairedGate,  // rows gate 0, up 0, gate 1, up 1, … of each expert
  kPairedUp,
  kTransposed,  // of each matrix of a stack
  kTransposedPairedGate,
  kTransposedPairedUp,
  kGatedQ,  // rows [q | gate] of each head
  kGatedGate,
  kLatentQ,      // rows [nope | rope] of each head, rotary pairs interleaved where LatentSpec says so
  kLatentKv,     // rows [latent | rope], the same
  kLatentKeyUp,  // rows [key | value] of each head; keys transposed
  kLatentValueUp,
  kIndexRows,   // rows [rope | nope] of each index head, rotary pairs interleaved where IndexerSpec says so
  kPerHeadQkv,  // rows [q | k | v] of each head: bring them to all q, all k, all v
  kGroupedQkv,  // Qwen3-Next: rows [q | k | v… | z…] of each key head
  kGroupedGate,
  kGroupedBeta,  // Qwen3-Next: rows [beta… | alpha…] of each key head
  kGroupedAlpha,
  // Qwen3.5: the value heads of a key head stand together (grouped), and are wanted i, i + key heads, … (tiled).
  kTiled,             // rows of value heads
  kTiledNegativeExp,  // and kNegativeExp
  kTiledQkv,          // rows [q | k | v]
  kTiledColumns,
};

// One line of a family's name table. "{}" in a name stands for the layer's number, "{e}" for an expert's. Several lines
// may name the same slot: the first that a checkpoint has is taken.
struct TensorRule {
  Slot slot;
  std::string_view gguf_name;  // "blk.{}.attn_q.weight"; empty: never in GGUF
  std::string_view hf_name;    // "model.layers.{}.self_attn.q_proj.weight"; empty: never in Hugging Face folders
  bool required = true;        // where the layer computes with the slot
  Transform gguf_transform = Transform::kNone;
  Transform hf_transform = Transform::kNone;
};

// Where the matrices of a slot lie in the tensor that holds them: matrix i in rows [i * stride + offset, … + rows) of
// `columns` values (leading dimensions folded into rows), transposed or not; `order`, if not empty, gives the rows of
// the (turned) slice to take, and `column_order` the columns. A tensor of one expert alone holds matrix 0.
struct StoredLayout {
  int64_t stride = 0, offset = 0, rows = 0, columns = 0;
  bool transposed = false;
  std::vector<int32_t> order, column_order;
};
StoredLayout stored_layout(Transform transform, Slot slot, const ModelSpec& spec, const LayerSpec* layer);

}  // namespace kinglet
