// Whether a GGUF file says all that a ModelSpec does: its keys are read back, fact by fact.
#include <algorithm>

#include "convert/model_keys.h"
#include "nn/rope.h"

namespace kinglet::convert {
namespace {

double flag(bool value) {
  return value ? 1 : 0;
}

template <class Of>
struct Fact {
  std::string_view name;
  double (*value)(const Of& of);
};
constexpr Fact<ModelSpec> kModelFacts[] = {
    {"layers", [](const ModelSpec& s) { return static_cast<double>(s.layers.size()); }},
    {"vocabulary", [](const ModelSpec& s) { return static_cast<double>(s.vocabulary); }},
    {"context", [](const ModelSpec& s) { return static_cast<double>(s.context); }},
    {"norm epsilon", [](const ModelSpec& s) { return s.norm_epsilon; }},
    {"scale of the embedding", [](const ModelSpec& s) { return s.embedding_scale; }},
    {"soft cap of the logits", [](const ModelSpec& s) { return s.final_soft_cap; }},
    {"scale of the logits", [](const ModelSpec& s) { return s.logit_scale; }},
    {"tied embeddings", [](const ModelSpec& s) { return flag(s.labels == 0 && s.tied_embeddings); }},
    {"hyper-connections", [](const ModelSpec& s) { return static_cast<double>(s.streams); }},
    {"hyper-connections", [](const ModelSpec& s) { return static_cast<double>(s.stream_iterations); }},
    {"hyper-connections", [](const ModelSpec& s) { return s.stream_epsilon; }},
    {"encoder", [](const ModelSpec& s) { return flag(s.is_encoder()); }},
    // Rows before the first position's are no part of the model.
    {"positions",
     [](const ModelSpec& s) { return static_cast<double>(s.encoder.positions - s.encoder.position_offset); }},
    {"token types", [](const ModelSpec& s) { return static_cast<double>(s.encoder.token_types); }},
    {"labels", [](const ModelSpec& s) { return static_cast<double>(s.labels); }},
    {"pooler of the classification head", [](const ModelSpec& s) { return flag(s.labels > 0 && s.encoder.pooler); }},
};
constexpr Fact<LayerSpec> kLayerFacts[] = {
    {"kind of layer", [](const LayerSpec& l) { return static_cast<double>(l.mixer); }},
    {"residual scales", [](const LayerSpec& l) { return l.mixer_alpha; }},
    {"residual scales", [](const LayerSpec& l) { return l.mixer_beta; }},
    {"residual scales", [](const LayerSpec& l) { return l.ffn_alpha; }},
    {"residual scales", [](const LayerSpec& l) { return l.ffn_beta; }},
    {"activation", [](const LayerSpec& l) { return static_cast<double>(l.ffn.activation); }},
    {"activation's limit", [](const LayerSpec& l) { return l.ffn.limit; }},
    {"experts", [](const LayerSpec& l) { return static_cast<double>(l.ffn.moe.experts); }},
    {"experts beside a dense network", [](const LayerSpec& l) { return flag(l.ffn.moe.beside_dense); }},
    {"width of the dense network",
     [](const LayerSpec& l) {
       return l.ffn.moe.experts == 0 || l.ffn.moe.beside_dense ? static_cast<double>(l.ffn.hidden) : 0;
     }},
    {"inputs of layers", [](const LayerSpec& l) { return static_cast<double>(l.input_dim); }},
    {"scale of the layer", [](const LayerSpec& l) { return flag(l.scaled); }},
    {"place of the norms", [](const LayerSpec& l) { return flag(l.norms_behind); }},
};
constexpr Fact<AttentionSpec> kAttentionFacts[] = {
    {"heads", [](const AttentionSpec& a) { return static_cast<double>(a.heads); }},
    {"key/value heads", [](const AttentionSpec& a) { return static_cast<double>(a.kv_heads); }},
    {"head size", [](const AttentionSpec& a) { return static_cast<double>(a.head_dim); }},
    {"value size", [](const AttentionSpec& a) { return static_cast<double>(a.value_dim); }},
    {"attention to what follows", [](const AttentionSpec& a) { return flag(a.causal); }},
    {"sliding windows", [](const AttentionSpec& a) { return static_cast<double>(a.window); }},
    {"scale of the scores", [](const AttentionSpec& a) { return static_cast<double>(attention_scale(a)); }},
    {"soft cap of the scores", [](const AttentionSpec& a) { return a.soft_cap; }},
    {"norms of queries and keys", [](const AttentionSpec& a) { return static_cast<double>(a.qk_norm); }},
    {"order of norm and rotary embedding", [](const AttentionSpec& a) { return flag(a.norm_after_rope); }},
    {"attention sinks", [](const AttentionSpec& a) { return flag(a.sinks); }},
    {"attention gate", [](const AttentionSpec& a) { return flag(a.gated); }},
    {"latent ranks", [](const AttentionSpec& a) { return static_cast<double>(a.latent.q_rank); }},
    {"latent ranks", [](const AttentionSpec& a) { return static_cast<double>(a.latent.kv_rank); }},
    {"part of a latent head", [](const AttentionSpec& a) { return static_cast<double>(a.latent.shared_dim); }},
    {"order of rotary pairs", [](const AttentionSpec& a) { return flag(a.latent.interleaved); }},
    {"layer whose keys are read", [](const AttentionSpec& a) { return static_cast<double>(a.kv_layer); }},
    {"norm of values", [](const AttentionSpec& a) { return flag(a.value_norm); }},
    {"values that are keys", [](const AttentionSpec& a) { return flag(a.keys_as_values); }},
    {"indexer", [](const AttentionSpec& a) { return static_cast<double>(a.indexer.heads); }},
    {"indexer", [](const AttentionSpec& a) { return static_cast<double>(a.indexer.key_dim); }},
    {"indexer", [](const AttentionSpec& a) { return static_cast<double>(a.indexer.top_k); }},
    {"indexer's blocks", [](const AttentionSpec& a) { return static_cast<double>(a.indexer.block); }},
    {"indexer's blocks", [](const AttentionSpec& a) { return static_cast<double>(a.indexer.local_blocks); }},
    {"layers that share an indexer's choice", [](const AttentionSpec& a) { return flag(a.indexer.shared); }},
    {"order of the indexer's rotary pairs", [](const AttentionSpec& a) { return flag(a.indexer.interleaved); }},
    {"compressed entries", [](const AttentionSpec& a) { return static_cast<double>(a.compression.ratio); }},
    {"compressed entries", [](const AttentionSpec& a) { return flag(a.compression.overlaps); }},
    {"groups of heads", [](const AttentionSpec& a) { return static_cast<double>(a.compression.output_groups); }},
    {"groups of heads", [](const AttentionSpec& a) { return static_cast<double>(a.compression.output_rank); }},
    {"growth of queries", [](const AttentionSpec& a) { return a.query_growth; }},
    {"growth of queries", [](const AttentionSpec& a) { return static_cast<double>(a.growth_span); }},
    {"layers with rotary embedding", [](const AttentionSpec& a) { return static_cast<double>(a.rope.rotated); }},
};
constexpr Fact<MoeSpec> kExpertFacts[] = {
    {"experts used", [](const MoeSpec& m) { return static_cast<double>(m.used); }},
    {"experts' width", [](const MoeSpec& m) { return static_cast<double>(m.hidden); }},
    {"experts by a table of tokens", [](const MoeSpec& m) { return flag(m.by_token); }},
    {"scoring of experts", [](const MoeSpec& m) { return static_cast<double>(m.scoring); }},
    {"groups of experts", [](const MoeSpec& m) { return static_cast<double>(m.groups); }},
    {"groups of experts", [](const MoeSpec& m) { return static_cast<double>(m.groups_used); }},
    {"scoring of groups", [](const MoeSpec& m) { return flag(m.groups > 1 && m.group_by_top2); }},
    {"norming of experts' weights", [](const MoeSpec& m) { return flag(m.normalise); }},
    {"norming of experts' weights", [](const MoeSpec& m) { return m.normalise ? m.normalise_epsilon : 0; }},
    {"scale of experts", [](const MoeSpec& m) { return m.scale; }},
    {"shared experts", [](const MoeSpec& m) { return static_cast<double>(m.shared_hidden); }},
    {"gate of the shared expert", [](const MoeSpec& m) { return flag(m.shared_hidden > 0 && m.shared_gated); }},
};
constexpr Fact<RecurrentSpec> kRecurrentFacts[] = {
    {"recurrent heads", [](const RecurrentSpec& r) { return static_cast<double>(r.key_heads); }},
    {"recurrent heads", [](const RecurrentSpec& r) { return static_cast<double>(r.value_heads); }},
    {"recurrent head sizes", [](const RecurrentSpec& r) { return static_cast<double>(r.key_dim); }},
    {"recurrent head sizes", [](const RecurrentSpec& r) { return static_cast<double>(r.value_dim); }},
    {"convolution", [](const RecurrentSpec& r) { return static_cast<double>(r.conv_kernel); }},
    {"order of recurrent heads", [](const RecurrentSpec& r) { return flag(r.heads_by_modulo); }},
    {"forgetting", [](const RecurrentSpec& r) { return r.slope_factor; }},
    {"norm of recurrent results", [](const RecurrentSpec& r) { return r.norm_epsilon; }},
};

// The name of the first fact that differs by more than the rounding to a file's floats; empty: none.
template <class Of, size_t n>
std::string_view difference(const Fact<Of> (&facts)[n], const Of& a, const Of& b) {
  for (const Fact<Of>& fact : facts)
    if (static_cast<float>(fact.value(a)) != static_cast<float>(fact.value(b))) return fact.name;
  return {};
}

bool same_rotation(const RopeSpec& a, const RopeSpec& b, int64_t context) {
  constexpr double kRounding = 2e-7;  // of a base or factor kept as a float
  if (rope_magnitude(a) != rope_magnitude(b)) return false;
  for (const int64_t length : {int64_t{1}, context}) {
    const auto left = rope_inverse_frequencies(a, length), right = rope_inverse_frequencies(b, length);
    for (size_t i = 0; i < left.size(); ++i)
      if (std::max(left[i], right[i]) - std::min(left[i], right[i]) > kRounding * left[i]) return false;
  }
  return true;
}

std::string_view difference(const LayerSpec& a, const LayerSpec& b, int64_t context) {
  if (const auto name = difference(kLayerFacts, a, b); !name.empty()) return name;
  if (a.recurs()) {
    if (const auto name = difference(kRecurrentFacts, a.recurrent, b.recurrent); !name.empty()) return name;
  } else {
    if (const auto name = difference(kAttentionFacts, a.attention, b.attention); !name.empty()) return name;
    if (a.attention.rope.rotated > 0 && !same_rotation(a.attention.rope, b.attention.rope, context))
      return "rotary embedding";
  }
  return a.ffn.moe.experts > 0 ? difference(kExpertFacts, a.ffn.moe, b.ffn.moe) : std::string_view();
}

std::string_view difference(const ModelSpec& a, const ModelSpec& b) {
  if (const auto name = difference(kModelFacts, a, b); !name.empty()) return name;
  for (size_t i = 0; i < a.layers.size(); ++i)
    if (const auto name = difference(a.layers[i], b.layers[i], a.context); !name.empty()) return name;
  return {};
}

// A checkpoint as the finished file will be, without most of its tensors' bytes.
Result<Checkpoint> preview(const GgufKeys& keys, std::span<const TensorJob> jobs) {
  Checkpoint checkpoint;
  checkpoint.path = "the converted file";
  KL_TRY(checkpoint.metadata, keys.metadata(checkpoint.path));
  for (const TensorJob& job : jobs)
    checkpoint.tensors.push_back(
        {job.planned.name, job.planned.type, job.planned.shape, job.sources.front().data, nullptr, 0, 1.0f, {}});
  for (size_t i = 0; i < checkpoint.tensors.size(); ++i) checkpoint.index[checkpoint.tensors[i].name] = i;
  return checkpoint;
}

}  // namespace

Status check_expressible(const ModelSpec& spec, const GgufForm& form, const GgufKeys& keys,
                         std::span<const TensorJob> jobs) {
  KL_TRY(const Checkpoint file, preview(keys, jobs));
  const auto read = form.family->spec_from_gguf(file);
  if (!read.ok())
    return Error{ErrorCode::kUnsupported, "GGUF files of the architecture " + form.architecture +
                                              " can't be written yet: " + read.error().message};
  if (const std::string_view name = difference(spec, *read); !name.empty())
    return Error{ErrorCode::kUnsupported, std::string(name) + ": GGUF files of the architecture " + form.architecture +
                                              " can't state what the configuration says; the converted model would be "
                                              "another one"};
  return {};
}

}  // namespace kinglet::convert
