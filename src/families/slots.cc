// What each slot is called, what shape it has, and which layers compute with it.
#include "families/slots.h"

#include <iterator>

#include "base/check.h"

namespace kinglet {
namespace {

struct SlotInfo {
  std::string_view name;
  SlotKind kind;
};

constexpr SlotInfo kSlots[] = {
    {"embedding", SlotKind::kMatrix},
    {"output norm", SlotKind::kVector},
    {"output head", SlotKind::kMatrix},
    {"rope factors", SlotKind::kVector},
    {"rope factors of long contexts", SlotKind::kVector},
    {"per-layer embedding", SlotKind::kMatrix},
    {"per-layer projection", SlotKind::kMatrix},
    {"per-layer projection norm", SlotKind::kVector},
    {"stream weights of the head", SlotKind::kMatrix},
    {"stream base of the head", SlotKind::kVector},
    {"stream scale of the head", SlotKind::kVector},
    {"position embedding", SlotKind::kMatrix},
    {"token type embedding", SlotKind::kMatrix},
    {"embedding norm", SlotKind::kVector},
    {"embedding norm bias", SlotKind::kVector},
    {"pooler", SlotKind::kMatrix},
    {"pooler bias", SlotKind::kVector},
    {"classification head", SlotKind::kMatrix},
    {"classification bias", SlotKind::kVector},
    {"prediction embedding norm", SlotKind::kVector},
    {"prediction state norm", SlotKind::kVector},
    {"prediction input", SlotKind::kMatrix},
    {"attention norm", SlotKind::kVector},
    {"query", SlotKind::kMatrix},
    {"key", SlotKind::kMatrix},
    {"value", SlotKind::kMatrix},
    {"query bias", SlotKind::kVector},
    {"key bias", SlotKind::kVector},
    {"value bias", SlotKind::kVector},
    {"query norm", SlotKind::kVector},
    {"key norm", SlotKind::kVector},
    {"attention sinks", SlotKind::kVector},
    {"attention gate", SlotKind::kMatrix},
    {"attention output", SlotKind::kMatrix},
    {"attention output bias", SlotKind::kVector},
    {"post-attention norm", SlotKind::kVector},
    {"query down-projection", SlotKind::kMatrix},
    {"query latent norm", SlotKind::kVector},
    {"key/value down-projection", SlotKind::kMatrix},
    {"key/value latent norm", SlotKind::kVector},
    {"key up-projection", SlotKind::kStack},
    {"value up-projection", SlotKind::kStack},
    {"index query", SlotKind::kMatrix},
    {"index key", SlotKind::kMatrix},
    {"index query norm", SlotKind::kVector},
    {"index key norm", SlotKind::kVector},
    {"index key norm bias", SlotKind::kVector},
    {"index weights", SlotKind::kMatrix},
    {"attention output down-projection", SlotKind::kStack},
    {"compressed value", SlotKind::kMatrix},
    {"compressor gate", SlotKind::kMatrix},
    {"compressor bias", SlotKind::kVector},
    {"compressor norm", SlotKind::kVector},
    {"compressed index key", SlotKind::kMatrix},
    {"index compressor gate", SlotKind::kMatrix},
    {"index compressor bias", SlotKind::kVector},
    {"index compressor norm", SlotKind::kVector},
    {"stream weights of the attention", SlotKind::kMatrix},
    {"stream base of the attention", SlotKind::kVector},
    {"stream scale of the attention", SlotKind::kVector},
    {"stream weights of the ffn", SlotKind::kMatrix},
    {"stream base of the ffn", SlotKind::kVector},
    {"stream scale of the ffn", SlotKind::kVector},
    {"recurrent query/key/value", SlotKind::kMatrix},
    {"convolution", SlotKind::kVector},
    {"recurrent gate", SlotKind::kMatrix},
    {"recurrent beta", SlotKind::kMatrix},
    {"recurrent alpha", SlotKind::kMatrix},
    {"decay rate", SlotKind::kVector},
    {"decay bias", SlotKind::kVector},
    {"delta query", SlotKind::kMatrix},
    {"delta key", SlotKind::kMatrix},
    {"delta value", SlotKind::kMatrix},
    {"query convolution", SlotKind::kVector},
    {"key convolution", SlotKind::kVector},
    {"value convolution", SlotKind::kVector},
    {"decay down-projection", SlotKind::kMatrix},
    {"decay up-projection", SlotKind::kMatrix},
    {"gate down-projection", SlotKind::kMatrix},
    {"gate up-projection", SlotKind::kMatrix},
    {"recurrent norm", SlotKind::kVector},
    {"recurrent output", SlotKind::kMatrix},
    {"ffn norm", SlotKind::kVector},
    {"ffn gate", SlotKind::kMatrix},
    {"ffn up", SlotKind::kMatrix},
    {"ffn down", SlotKind::kMatrix},
    {"ffn gate bias", SlotKind::kVector},
    {"ffn up bias", SlotKind::kVector},
    {"ffn down bias", SlotKind::kVector},
    {"router", SlotKind::kMatrix},
    {"router bias", SlotKind::kVector},
    {"expert selection bias", SlotKind::kVector},
    {"router norm", SlotKind::kVector},
    {"expert scale", SlotKind::kVector},
    {"experts of tokens", SlotKind::kTable},
    {"expert gate", SlotKind::kStack},
    {"expert up", SlotKind::kStack},
    {"expert down", SlotKind::kStack},
    {"expert gate bias", SlotKind::kVector},
    {"expert up bias", SlotKind::kVector},
    {"expert down bias", SlotKind::kVector},
    {"shared expert gate", SlotKind::kMatrix},
    {"shared expert up", SlotKind::kMatrix},
    {"shared expert down", SlotKind::kMatrix},
    {"shared expert router", SlotKind::kMatrix},
    {"post-ffn norm", SlotKind::kVector},
    {"norm behind the dense ffn", SlotKind::kVector},
    {"norm before the experts", SlotKind::kVector},
    {"norm behind the experts", SlotKind::kVector},
    {"layer input gate", SlotKind::kMatrix},
    {"layer input up-projection", SlotKind::kMatrix},
    {"norm behind the layer input", SlotKind::kVector},
    {"layer scale", SlotKind::kVector},
    {"attention norm bias", SlotKind::kVector},
    {"ffn norm bias", SlotKind::kVector},
};
static_assert(std::size(kSlots) == kSlotCount);

SlotShape vector_of(int64_t n) {
  return {1, n, 1};
}

// The first rotary embedding that has factors, or else the first of all.
const RopeSpec& stretched_rope(const ModelSpec& spec) {
  for (const LayerSpec& layer : spec.layers)
    if (layer.attention.rope.scaling == RopeSpec::Scaling::kFactors) return layer.attention.rope;
  return spec.layers[0].attention.rope;
}

SlotShape model_shape(Slot slot, const ModelSpec& spec) {
  const int64_t input_dim = spec.layers[0].input_dim;
  switch (slot) {
    case Slot::kEmbedding:
    case Slot::kOutput:
      return {1, spec.vocabulary, spec.width};
    case Slot::kRopeFactors:
    case Slot::kRopeFactorsLong:
      return vector_of(stretched_rope(spec).rotated / 2);
    case Slot::kLayerEmbedding:
      return {1, spec.vocabulary, std::ssize(spec.layers) * input_dim};
    case Slot::kLayerProjection:
      return {1, std::ssize(spec.layers) * input_dim, spec.width};
    case Slot::kLayerProjectionNorm:
      return vector_of(input_dim);
    case Slot::kHeadStreams:
      return {1, spec.streams, spec.streams * spec.width};
    case Slot::kHeadStreamsBase:
      return vector_of(spec.streams);
    case Slot::kHeadStreamsScale:
      return vector_of(1);
    case Slot::kPositionEmbedding:
      return {1, spec.encoder.positions, spec.width};
    case Slot::kTokenTypes:
      return {1, spec.encoder.token_types, spec.width};
    case Slot::kPooler:
      return {1, spec.width, spec.width};
    case Slot::kClassifier:
      return {1, spec.labels, spec.width};
    case Slot::kClassifierBias:
      return vector_of(spec.labels);
    case Slot::kPredictInput:
      return {1, spec.width, 2 * spec.width};
    default:
      return vector_of(spec.width);
  }
}

SlotShape latent_shape(Slot slot, int64_t width, const AttentionSpec& a) {
  const LatentSpec& l = a.latent;
  switch (slot) {
    case Slot::kQDown:
      return {1, l.q_rank, width};
    case Slot::kQDownNorm:
      return vector_of(l.q_rank);
    case Slot::kKvDown:
      return {1, l.kv_rank + l.shared_dim, width};
    case Slot::kKvDownNorm:
      return vector_of(l.kv_rank);
    case Slot::kKeyUp:
      return {a.heads, l.kv_rank, l.nope_dim};
    default:
      return {a.heads, a.value_dim, l.kv_rank};  // kValueUp
  }
}

SlotShape index_shape(Slot slot, int64_t width, const AttentionSpec& a) {
  const IndexerSpec& x = a.indexer;
  switch (slot) {
    case Slot::kIndexQ:
      return {1, x.heads * x.key_dim, a.latent.q_rank > 0 ? a.latent.q_rank : width};
    case Slot::kIndexK:
      return {1, x.key_dim, width};
    case Slot::kIndexWeights:
      return {1, x.heads, width};
    default:
      return vector_of(x.key_dim);  // of the norms
  }
}

SlotShape compression_shape(Slot slot, int64_t width, const AttentionSpec& a) {
  const int64_t series = a.compression.overlaps ? 2 : 1;
  switch (slot) {
    case Slot::kOutputDown:
      return {a.compression.output_groups, a.compression.output_rank,
              a.heads * a.value_dim / a.compression.output_groups};
    case Slot::kCompressValue:
    case Slot::kCompressGate:
      return {1, series * a.head_dim, width};
    case Slot::kCompressBias:
      return {1, a.compression.ratio, series * a.head_dim};
    case Slot::kCompressNorm:
      return vector_of(a.head_dim);
    case Slot::kIndexCompressValue:
    case Slot::kIndexCompressGate:
      return {1, series * a.indexer.key_dim, width};
    case Slot::kIndexCompressBias:
      return {1, a.compression.ratio, series * a.indexer.key_dim};
    default:
      return vector_of(a.indexer.key_dim);  // kIndexCompressNorm
  }
}

// Of the hyper-connections of one block.
SlotShape stream_shape(Slot slot, const ModelSpec& spec) {
  const int64_t n = spec.streams, logits = (2 + n) * n;
  if (slot == Slot::kMixerStreams || slot == Slot::kFfnStreams) return {1, logits, n * spec.width};
  return vector_of(slot == Slot::kMixerStreamsBase || slot == Slot::kFfnStreamsBase ? logits : 3);
}

SlotShape attention_shape(Slot slot, int64_t width, const LayerSpec& layer) {
  const AttentionSpec& a = layer.attention;
  const int64_t q = a.heads * a.head_dim, k = a.kv_heads * a.head_dim;
  const bool whole_norm = a.qk_norm == AttentionSpec::QkNorm::kWhole;
  switch (slot) {
    case Slot::kQ:
      return {1, q, layer.mixer != Mixer::kAttention && a.latent.q_rank > 0 ? a.latent.q_rank : width};
    case Slot::kK:
      return {1, k, width};
    case Slot::kV:
      return {1, a.kv_heads * a.value_dim, width};
    case Slot::kQBias:
      return vector_of(q);
    case Slot::kKBias:
      return vector_of(k);
    case Slot::kVBias:
      return vector_of(a.kv_heads * a.value_dim);
    case Slot::kQNorm:
      return vector_of(whole_norm ? q : a.head_dim);
    case Slot::kKNorm:
      return vector_of(whole_norm ? k : a.head_dim);
    case Slot::kSinks:
      return vector_of(a.heads);
    case Slot::kAttentionGate:
      return {1, a.heads * a.value_dim, width};
    case Slot::kAttentionOutput:
      if (layer.mixer == Mixer::kCompressedAttention)
        return {1, width, a.compression.output_groups * a.compression.output_rank};
      return {1, width, a.heads * a.value_dim};
    default:
      return latent_shape(slot, width, a);
  }
}

// Of Mixer::kKimiDelta, whose bottlenecks are as wide as a key.
SlotShape kimi_delta_shape(Slot slot, int64_t width, const RecurrentSpec& r) {
  const int64_t keys = r.key_heads * r.key_dim, values = r.value_heads * r.value_dim;
  switch (slot) {
    case Slot::kDeltaQ:
    case Slot::kDeltaK:
      return {1, keys, width};
    case Slot::kDeltaV:
      return {1, values, width};
    case Slot::kConvolutionQ:
    case Slot::kConvolutionK:
      return {1, keys, r.conv_kernel};
    case Slot::kConvolutionV:
      return {1, values, r.conv_kernel};
    case Slot::kDecayDown:
    case Slot::kGateDown:
      return {1, r.key_dim, width};
    case Slot::kDecayUp:
      return {1, keys, r.key_dim};
    default:
      return {1, values, r.key_dim};  // kGateUp
  }
}

SlotShape recurrent_shape(Slot slot, int64_t width, const LayerSpec& layer) {
  const RecurrentSpec& r = layer.recurrent;
  const int64_t keys = r.key_heads * r.key_dim, values = r.value_heads * r.value_dim;
  switch (slot) {
    case Slot::kRecurrentQkv:
      return {1, 2 * keys + values, width};
    case Slot::kConvolution:
      return {1, 2 * keys + values, r.conv_kernel};
    case Slot::kRecurrentGate:
      return {1, values, width};
    case Slot::kRecurrentBeta:
    case Slot::kRecurrentAlpha:
      return {1, r.value_heads, width};
    case Slot::kDecayRate:
      return vector_of(r.value_heads);
    case Slot::kDecayBias:
      return vector_of(layer.mixer == Mixer::kKimiDelta ? keys : r.value_heads);
    case Slot::kRecurrentOutput:
      return {1, width, values};
    default:
      return kimi_delta_shape(slot, width, r);
  }
}

SlotShape expert_shape(Slot slot, int64_t width, const MoeSpec& m) {
  switch (slot) {
    case Slot::kRouter:
      return {1, m.experts, width};
    case Slot::kRouterBias:
    case Slot::kSelectionBias:
    case Slot::kExpertScale:
      return vector_of(m.experts);
    case Slot::kRouterNorm:
      return vector_of(width);
    case Slot::kExpertGate:
    case Slot::kExpertUp:
      return {m.experts, m.hidden, width};
    case Slot::kExpertDown:
      return {m.experts, width, m.hidden};
    case Slot::kExpertGateBias:
    case Slot::kExpertUpBias:
      return {m.experts, m.hidden, 1};
    case Slot::kExpertDownBias:
      return {m.experts, width, 1};
    case Slot::kSharedGate:
    case Slot::kSharedUp:
      return {1, m.shared_hidden, width};
    case Slot::kSharedDown:
      return {1, width, m.shared_hidden};
    default:
      return {1, 1, width};  // kSharedRouter
  }
}

SlotShape layer_shape(Slot slot, int64_t width, const LayerSpec& layer) {
  switch (slot) {
    case Slot::kAttentionNorm:
    case Slot::kPostAttentionNorm:
    case Slot::kFfnNorm:
    case Slot::kPostFfnNorm:
    case Slot::kDensePostNorm:
    case Slot::kExpertNorm:
    case Slot::kExpertPostNorm:
    case Slot::kPostInputNorm:
    case Slot::kAttentionNormBias:
    case Slot::kFfnNormBias:
    case Slot::kAttentionOutputBias:
    case Slot::kDownBias:
      return vector_of(width);
    case Slot::kGate:
    case Slot::kUp:
      return {1, layer.ffn.hidden, width};
    case Slot::kGateBias:
    case Slot::kUpBias:
      return vector_of(layer.ffn.hidden);
    case Slot::kDown:
      return {1, width, layer.ffn.hidden};
    case Slot::kInputGate:
      return {1, layer.input_dim, width};
    case Slot::kInputUp:
      return {1, width, layer.input_dim};
    case Slot::kLayerScale:
      return vector_of(1);
    case Slot::kRecurrentNorm:  // over a head, or over all of them (lightning attention)
      return vector_of(layer.recurrent.value_dim *
                       (layer.mixer == Mixer::kLightning ? layer.recurrent.value_heads : 1));
    default:
      break;
  }
  if (slot >= Slot::kRouter && slot <= Slot::kSharedRouter) return expert_shape(slot, width, layer.ffn.moe);
  if (slot >= Slot::kRecurrentQkv && slot <= Slot::kRecurrentOutput) return recurrent_shape(slot, width, layer);
  if (slot >= Slot::kIndexQ && slot <= Slot::kIndexWeights) return index_shape(slot, width, layer.attention);
  if (slot >= Slot::kOutputDown && slot <= Slot::kIndexCompressNorm)
    return compression_shape(slot, width, layer.attention);
  return attention_shape(slot, width, layer);
}

bool compression_applies(Slot slot, const AttentionSpec& a) {
  switch (slot) {
    case Slot::kQ:
    case Slot::kQDown:
    case Slot::kQDownNorm:
    case Slot::kK:
    case Slot::kKNorm:
    case Slot::kSinks:
    case Slot::kOutputDown:
    case Slot::kAttentionOutput:
      return true;
    case Slot::kCompressValue:
    case Slot::kCompressGate:
    case Slot::kCompressBias:
    case Slot::kCompressNorm:
      return a.compression.ratio > 0;
    case Slot::kIndexQ:
    case Slot::kIndexWeights:
    case Slot::kIndexCompressValue:
    case Slot::kIndexCompressGate:
    case Slot::kIndexCompressBias:
    case Slot::kIndexCompressNorm:
      return a.indexer.heads > 0;
    default:
      return false;
  }
}

bool attention_applies(Slot slot, const LayerSpec& layer) {
  const AttentionSpec& a = layer.attention;
  const bool latent = layer.mixer == Mixer::kLatentAttention;
  if (layer.mixer == Mixer::kCompressedAttention) return compression_applies(slot, a);
  if (slot >= Slot::kOutputDown && slot <= Slot::kIndexCompressNorm) return false;
  switch (slot) {
    case Slot::kQBias:
      return !latent;
    case Slot::kK:
    case Slot::kKBias:
      return !latent && !a.shares_kv();
    case Slot::kV:
    case Slot::kVBias:
      return !latent && !a.shares_kv() && !a.keys_as_values;
    case Slot::kQNorm:
      return a.qk_norm != AttentionSpec::QkNorm::kNone;
    case Slot::kKNorm:
      return a.qk_norm != AttentionSpec::QkNorm::kNone && !a.shares_kv();
    case Slot::kSinks:
      return a.sinks;
    case Slot::kAttentionGate:
      return a.gated;
    case Slot::kQDown:
    case Slot::kQDownNorm:
      return latent && a.latent.q_rank > 0;
    case Slot::kKvDown:
    case Slot::kKvDownNorm:
    case Slot::kKeyUp:
    case Slot::kValueUp:
      return latent;
    case Slot::kIndexQ:
    case Slot::kIndexK:
    case Slot::kIndexKNorm:
      return a.indexer.chooses();
    case Slot::kIndexQNorm:
      return a.indexer.chooses() && a.indexer.block > 0;
    case Slot::kIndexKNormBias:
    case Slot::kIndexWeights:
      return a.indexer.chooses() && a.indexer.block == 0;
    default:
      return true;
  }
}

bool ffn_applies(Slot slot, const FfnSpec& ffn) {
  switch (slot) {
    case Slot::kGate:
    case Slot::kGateBias:
      return ffn.gated && (ffn.moe.experts == 0 || ffn.moe.beside_dense);
    case Slot::kUp:
    case Slot::kDown:
    case Slot::kUpBias:
    case Slot::kDownBias:
      return ffn.moe.experts == 0 || ffn.moe.beside_dense;
    case Slot::kRouterNorm:
    case Slot::kExpertScale:
    case Slot::kDensePostNorm:
    case Slot::kExpertNorm:
    case Slot::kExpertPostNorm:
      return ffn.moe.experts > 0 && ffn.moe.beside_dense;
    case Slot::kExpertTable:
      return ffn.moe.experts > 0 && ffn.moe.by_token;
    case Slot::kSelectionBias:
      return ffn.moe.experts > 0 && !ffn.moe.by_token;
    case Slot::kSharedGate:
    case Slot::kSharedUp:
    case Slot::kSharedDown:
      return ffn.moe.shared_hidden > 0;
    case Slot::kSharedRouter:
      return ffn.moe.shared_hidden > 0 && ffn.moe.shared_gated;
    default:
      return ffn.moe.experts > 0;
  }
}

bool layer_applies(Slot slot, const LayerSpec& layer) {
  const bool kimi = layer.mixer == Mixer::kKimiDelta;
  switch (slot) {
    case Slot::kAttentionNorm:
    case Slot::kPostAttentionNorm:
    case Slot::kFfnNorm:
    case Slot::kPostFfnNorm:
      return true;
    case Slot::kInputGate:
    case Slot::kInputUp:
    case Slot::kPostInputNorm:
      return layer.input_dim > 0;
    case Slot::kLayerScale:
      return layer.scaled;
    case Slot::kAttentionNormBias:
    case Slot::kFfnNormBias:
      return layer.norms_behind;
    case Slot::kDensePostNorm:
    case Slot::kExpertNorm:
    case Slot::kExpertPostNorm:
      return ffn_applies(slot, layer.ffn);
    case Slot::kRecurrentQkv:
    case Slot::kRecurrentGate:
      return layer.recurs() && !kimi;
    case Slot::kConvolution:
      return layer.recurs() && !kimi && layer.recurrent.conv_kernel > 0;
    case Slot::kRecurrentBeta:
    case Slot::kDecayRate:
    case Slot::kDecayBias:
      return kimi || layer.mixer == Mixer::kGatedDelta;
    case Slot::kRecurrentAlpha:
      return layer.mixer == Mixer::kGatedDelta;
    default:
      break;
  }
  if (slot >= Slot::kGate && slot <= Slot::kSharedRouter) return ffn_applies(slot, layer.ffn);
  if (slot >= Slot::kDeltaQ && slot <= Slot::kGateUp) return kimi;
  if (slot >= Slot::kRecurrentQkv && slot <= Slot::kRecurrentOutput) return layer.recurs();
  return !layer.recurs() && attention_applies(slot, layer);
}

// Of a layer; the model's own are apart.
bool is_stream_slot(Slot slot) {
  return slot >= Slot::kMixerStreams && slot <= Slot::kFfnStreamsScale;
}

}  // namespace

std::string_view slot_name(Slot slot) {
  return kSlots[static_cast<size_t>(slot)].name;
}

SlotKind slot_kind(Slot slot) {
  return kSlots[static_cast<size_t>(slot)].kind;
}

SlotShape slot_shape(Slot slot, const ModelSpec& spec, const LayerSpec* layer) {
  KL_CHECK(slot < Slot::kCount, "a slot without a shape");
  if (!layer) return model_shape(slot, spec);
  if (slot == Slot::kExpertTable) return {1, spec.vocabulary, layer->ffn.moe.used};
  return is_stream_slot(slot) ? stream_shape(slot, spec) : layer_shape(slot, spec.width, *layer);
}

bool slot_applies(Slot slot, const ModelSpec& spec, const LayerSpec* layer) {
  if (layer) return is_stream_slot(slot) ? spec.streams > 1 : layer_applies(slot, *layer);
  switch (slot) {
    case Slot::kLayerEmbedding:
    case Slot::kLayerProjection:
    case Slot::kLayerProjectionNorm:
      return spec.layers[0].input_dim > 0;
    case Slot::kHeadStreams:
    case Slot::kHeadStreamsBase:
    case Slot::kHeadStreamsScale:
      return spec.streams > 1;
    case Slot::kPositionEmbedding:
    case Slot::kTokenTypes:
    case Slot::kEmbeddingNorm:
    case Slot::kEmbeddingNormBias:
      return spec.is_encoder();
    case Slot::kPooler:
    case Slot::kPoolerBias:
      return spec.encoder.pooler;
    case Slot::kClassifier:
    case Slot::kClassifierBias:
      return spec.labels > 0;
    case Slot::kPredictEmbeddingNorm:
    case Slot::kPredictStateNorm:
    case Slot::kPredictInput:
      return spec.reads_states;
    default:
      return true;
  }
}

}  // namespace kinglet
