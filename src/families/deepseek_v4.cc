// DeepSeek-V4: hyper-connections instead of one residual stream; attention over a window and over compressed entries
// for all tokens behind it, of which an indexer chooses in some layers; results through a bottleneck a group of heads;
// experts by the square root of softplus, in the first layers by a table of tokens. Rotary pairs stand interleaved in
// the last dimensions of a head and are left there. Sources: transformers models/deepseek_v4, llama.cpp's converter.
#include <algorithm>

#include "families/experts.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kGguf[] = {"deepseek4"};
constexpr std::string_view kHf[] = {"DeepseekV4ForCausalLM"};
constexpr std::array<TensorRule, 43> kOwn = {{
    {Slot::kEmbedding, "token_embd.weight", "model.embed.weight"},
    {Slot::kEmbedding, "", "model.embed_tokens.weight", false},
    {Slot::kOutputNorm, "output_norm.weight", "model.norm.weight"},
    {Slot::kOutput, "output.weight", "head.weight", false},
    {Slot::kHeadStreams, "output_hc_fn.weight", "model.hc_head_fn"},
    {Slot::kHeadStreamsBase, "output_hc_base.weight", "model.hc_head_base"},
    {Slot::kHeadStreamsScale, "output_hc_scale.weight", "model.hc_head_scale"},
    // As transformers writes these.
    {Slot::kHeadStreams, "", "model.hc_head.hc_fn", false},
    {Slot::kHeadStreamsBase, "", "model.hc_head.hc_base", false},
    {Slot::kHeadStreamsScale, "", "model.hc_head.hc_scale", false},
    {Slot::kMixerStreams, "blk.{}.hc_attn_fn.weight", "model.layers.{}.hc_attn_fn"},
    {Slot::kMixerStreamsBase, "blk.{}.hc_attn_base.weight", "model.layers.{}.hc_attn_base"},
    {Slot::kMixerStreamsScale, "blk.{}.hc_attn_scale.weight", "model.layers.{}.hc_attn_scale"},
    {Slot::kFfnStreams, "blk.{}.hc_ffn_fn.weight", "model.layers.{}.hc_ffn_fn"},
    {Slot::kFfnStreamsBase, "blk.{}.hc_ffn_base.weight", "model.layers.{}.hc_ffn_base"},
    {Slot::kFfnStreamsScale, "blk.{}.hc_ffn_scale.weight", "model.layers.{}.hc_ffn_scale"},
    {Slot::kAttentionNorm, "blk.{}.attn_norm.weight", "model.layers.{}.attn_norm.weight"},
    {Slot::kFfnNorm, "blk.{}.ffn_norm.weight", "model.layers.{}.ffn_norm.weight"},
    {Slot::kQDown, "blk.{}.attn_q_a.weight", "model.layers.{}.attn.wq_a.weight"},
    {Slot::kQDownNorm, "blk.{}.attn_q_a_norm.weight", "model.layers.{}.attn.q_norm.weight"},
    {Slot::kQ, "blk.{}.attn_q_b.weight", "model.layers.{}.attn.wq_b.weight"},
    {Slot::kK, "blk.{}.attn_kv.weight", "model.layers.{}.attn.wkv.weight"},
    {Slot::kKNorm, "blk.{}.attn_kv_a_norm.weight", "model.layers.{}.attn.kv_norm.weight"},
    {Slot::kKNorm, "", "model.layers.{}.attn.norm.weight", false},
    {Slot::kSinks, "blk.{}.attn_sinks.weight", "model.layers.{}.attn.attn_sink"},
    {Slot::kOutputDown, "blk.{}.attn_output_a.weight", "model.layers.{}.attn.wo_a.weight"},
    {Slot::kAttentionOutput, "blk.{}.attn_output_b.weight", "model.layers.{}.attn.wo_b.weight"},
    {Slot::kCompressValue, "blk.{}.attn_compressor_kv.weight", "model.layers.{}.attn.compressor.wkv.weight"},
    {Slot::kCompressGate, "blk.{}.attn_compressor_gate.weight", "model.layers.{}.attn.compressor.wgate.weight"},
    {Slot::kCompressBias, "blk.{}.attn_compressor_ape.weight", "model.layers.{}.attn.compressor.ape"},
    {Slot::kCompressNorm, "blk.{}.attn_compressor_norm.weight", "model.layers.{}.attn.compressor.norm.weight"},
    {Slot::kIndexQ, "blk.{}.indexer.attn_q_b.weight", "model.layers.{}.attn.indexer.wq_b.weight"},
    {Slot::kIndexWeights, "blk.{}.indexer.proj.weight", "model.layers.{}.attn.indexer.weights_proj.weight"},
    {Slot::kIndexCompressValue, "blk.{}.indexer_compressor_kv.weight",
     "model.layers.{}.attn.indexer.compressor.wkv.weight"},
    {Slot::kIndexCompressGate, "blk.{}.indexer_compressor_gate.weight",
     "model.layers.{}.attn.indexer.compressor.wgate.weight"},
    {Slot::kIndexCompressBias, "blk.{}.indexer_compressor_ape.weight", "model.layers.{}.attn.indexer.compressor.ape"},
    {Slot::kIndexCompressNorm, "blk.{}.indexer_compressor_norm.weight",
     "model.layers.{}.attn.indexer.compressor.norm.weight"},
    {Slot::kExpertTable, "blk.{}.ffn_gate_tid2eid.weight", "model.layers.{}.ffn.gate.tid2eid"},
    {Slot::kSelectionBias, "", "model.layers.{}.ffn.gate.bias", false},
    {Slot::kRouter, "", "model.layers.{}.ffn.gate.weight"},
    {Slot::kExpertGate, "", "model.layers.{}.ffn.experts.{e}.w1.weight"},
    {Slot::kExpertUp, "", "model.layers.{}.ffn.experts.{e}.w3.weight"},
    {Slot::kExpertDown, "", "model.layers.{}.ffn.experts.{e}.w2.weight"},
}};
constexpr std::array<TensorRule, 3> kShared = {{
    {Slot::kSharedGate, "", "model.layers.{}.ffn.shared_experts.w1.weight"},
    {Slot::kSharedUp, "", "model.layers.{}.ffn.shared_experts.w3.weight"},
    {Slot::kSharedDown, "", "model.layers.{}.ffn.shared_experts.w2.weight"},
}};
constexpr auto kTensors = join_rules(kOwn, kShared, kGgufExperts);

constexpr int64_t kOverlapping = 4;  // the ratio whose entries overlap and are chosen, where nothing else tells

// What a layer's attention compresses: a ratio, 0 for the window alone.
struct Kind {
  int64_t ratio = 0;
  bool chosen = false;  // entries overlap, and an indexer chooses among them
};

// The keys that both roads have under names of their own.
struct Numbers {
  int64_t rotated = 0, q_rank = 0, window = 0, groups = 0, rank = 0;
  IndexerSpec indexer;
  RopeSpec plain, compressed;
  double limit = 0.0;
};

void apply(FieldReader& r, std::string_view rotated_key, ModelSpec& spec, const std::vector<Kind>& kinds, Numbers n) {
  const AttentionSpec& first = spec.layers[0].attention;
  if (n.rotated % 2 != 0 || n.rotated > first.head_dim)
    r.fail(rotated_key, "found " + std::to_string(n.rotated) + " rotary dimensions, expected an even number up to " +
                            std::to_string(first.head_dim));
  if (first.kv_heads != 1)
    r.unsupported("num_key_value_heads", "found " + std::to_string(first.kv_heads) + ", supported is 1");
  if (n.groups < 1 || first.heads % n.groups != 0)
    r.fail("o_groups", "found " + std::to_string(n.groups) + ", expected a divisor of the " +
                           std::to_string(first.heads) + " heads");
  if (n.compressed.scaling == RopeSpec::Scaling::kYarn && n.compressed.magnitude == 0.0) n.compressed.magnitude = 1.0;
  for (size_t i = 0; i < spec.layers.size(); i++) {
    LayerSpec& layer = spec.layers[i];
    layer.mixer = Mixer::kCompressedAttention;
    AttentionSpec& a = layer.attention;
    a.sinks = true;
    a.window = n.window;
    a.rope = kinds[i].ratio > 0 ? n.compressed : n.plain;
    a.latent.q_rank = n.q_rank;
    a.latent.norm_epsilon = spec.norm_epsilon;
    a.compression = {kinds[i].ratio, kinds[i].chosen, n.groups, n.rank};
    if (kinds[i].chosen) a.indexer = n.indexer;
    layer.ffn.activation = FfnActivation::kSiluClamped;
    layer.ffn.limit = n.limit;
  }
}

// ---- GGUF

Result<ModelSpec> from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_gguf(checkpoint));
  FieldReader r(checkpoint.metadata, spec.architecture + ".");
  split_off_prediction_layers(r, spec);
  KL_RETURN_IF_ERROR(r.status());
  Numbers n;
  n.rotated = r.integer("rope.dimension_count", 0, kMaxRotated);
  n.q_rank = r.integer("attention.q_lora_rank", 1, kMaxDimension);
  n.window = r.integer("attention.sliding_window", 1, kMaxContext);
  n.groups = r.integer("attention.output_group_count", 1, kMaxDimension);
  n.rank = r.integer("attention.output_lora_rank", 1, kMaxDimension);
  n.indexer.heads = r.integer("attention.indexer.head_count", 1, kMaxDimension);
  n.indexer.key_dim = r.integer("attention.indexer.key_length", 1, kMaxDimension);
  n.indexer.top_k = r.integer("attention.indexer.top_k", 1, kMaxContext);
  const RopeSpec& rope = spec.layers[0].attention.rope;
  n.plain.rotated = n.rotated;
  n.plain.theta = rope.theta;
  n.compressed = rope;
  n.compressed.rotated = n.rotated;
  n.compressed.theta = r.number("attention.compress_rope_freq_base");
  const std::vector<double> limits = r.numbers("swiglu_clamp_exp");
  n.limit = limits.empty() ? 0.0 : limits.front();
  for (const double limit : limits)
    if (limit != n.limit) r.unsupported("swiglu_clamp_exp", "found different limits, supported is one for all layers");
  std::vector<Kind> kinds;
  for (const int64_t ratio : r.integers("attention.compress_ratios")) kinds.push_back({ratio, ratio == kOverlapping});
  if (kinds.size() < spec.layers.size())
    r.fail("attention.compress_ratios", "found " + std::to_string(kinds.size()) +
                                            " entries, expected one a layer: " + std::to_string(spec.layers.size()));
  kinds.resize(spec.layers.size());
  spec.streams = r.integer("hyper_connection.count", 1, kMaxLayers);
  spec.stream_iterations = r.integer("hyper_connection.sinkhorn_iterations", 1, kMaxLayers);
  spec.stream_epsilon = r.number("hyper_connection.epsilon");
  apply(r, "rope.dimension_count", spec, kinds, n);
  MoeSpec moe;
  moe.shared_hidden = 1;  // as many as expert_shared_count says
  moe.scoring = MoeSpec::Scoring::kSqrtSoftplus;
  experts_from_gguf(r, spec, moe);
  const auto tables = static_cast<size_t>(r.integer_or("hash_layer_count", 0, kMaxLayers, 0));
  for (size_t i = 0; i < std::min(tables, spec.layers.size()); i++) spec.layers[i].ffn.moe.by_token = true;
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

// ---- config.json

// The two ratios, by the kind's name, as transformers 5 and as earlier folders say them.
int64_t ratio_of(FieldReader& r, const std::string& kind, std::string_view earlier, int64_t otherwise) {
  const int64_t ratio = r.integer_or("compress_rates." + kind, 1, kMaxContext, otherwise);
  return r.integer_or(earlier, 1, kMaxContext, ratio);
}

// By layer_types, or compress_ratios (one more entry for each layer that predicts), or the rule of the large model.
std::vector<Kind> kinds_from_config(FieldReader& r, const ModelSpec& spec) {
  const std::string chosen = "compressed_sparse_attention", heavy = "heavily_compressed_attention";
  const Kind kChosen = {ratio_of(r, chosen, "compress_rate_csa", kOverlapping), true};
  const Kind kHeavy = {ratio_of(r, heavy, "compress_rate_hca", 128), false};
  std::vector<Kind> kinds(spec.layers.size());
  if (r.has("layer_types")) {
    const std::vector<std::string> types = r.strings("layer_types");
    if (types.size() < kinds.size())
      r.fail("layer_types", "found " + std::to_string(types.size()) +
                                " entries, expected one a layer: " + std::to_string(kinds.size()));
    for (size_t i = 0; i < std::min(types.size(), kinds.size()); i++) {
      if (types[i] != chosen && types[i] != heavy && types[i] != "sliding_attention")
        r.unknown("layer_types", types[i], {"sliding_attention", chosen, heavy});
      kinds[i] = types[i] == chosen ? kChosen : types[i] == heavy ? kHeavy : Kind{};
    }
  } else if (r.has("compress_ratios")) {
    const std::vector<int64_t> ratios = r.integers("compress_ratios");
    if (ratios.size() < kinds.size())
      r.fail("compress_ratios", "found " + std::to_string(ratios.size()) +
                                    " entries, expected one a layer: " + std::to_string(kinds.size()));
    for (size_t i = 0; i < std::min(ratios.size(), kinds.size()); i++) {
      if (ratios[i] != 0 && ratios[i] != kOverlapping && ratios[i] != 128)
        r.unsupported("compress_ratios", "found " + std::to_string(ratios[i]) + ", supported are 0, 4 and 128");
      kinds[i] = ratios[i] == kOverlapping ? kChosen : ratios[i] == 0 ? Kind{} : kHeavy;
    }
  } else {
    for (size_t i = 0; i < kinds.size(); i++) kinds[i] = i >= 2 && i % 2 != 0 ? kChosen : kHeavy;
  }
  return kinds;
}

// rope_parameters.main and .compress, or rope_theta and compress_rope_theta with a scaling of the latter alone.
void ropes_from_config(FieldReader& r, const ModelSpec& spec, Numbers& n) {
  constexpr double kTheta = 10000.0, kCompressedTheta = 160000.0;
  if (r.has("rope_parameters.compress.rope_theta")) {
    n.plain = rope_from_config(r, "main", n.rotated, spec.context, kTheta);
    n.compressed = rope_from_config(r, "compress", n.rotated, spec.context, kCompressedTheta);
    return;
  }
  n.plain.rotated = n.rotated;
  n.plain.theta = r.number_or("rope_theta", kTheta);
  n.compressed = rope_from_config(r, "", n.rotated, spec.context, kCompressedTheta);
  n.compressed.theta = r.number_or("compress_rope_theta", kCompressedTheta);
}

MoeSpec experts_of_config(FieldReader& r) {
  MoeSpec moe = experts_from_config(r, {"n_routed_experts", "num_experts_per_tok", "moe_intermediate_size"});
  const std::string scoring = r.string_or("scoring_func", "sqrtsoftplus");
  if (scoring == "sqrtsoftplus")
    moe.scoring = MoeSpec::Scoring::kSqrtSoftplus;
  else if (scoring == "sigmoid")
    moe.scoring = MoeSpec::Scoring::kSigmoid;
  else if (scoring != "softmax")
    r.unknown("scoring_func", scoring, {"sqrtsoftplus", "sigmoid", "softmax"});
  moe.normalise = true;
  moe.normalise_epsilon = 1e-20;
  moe.scale = r.number_or("routed_scaling_factor", 1.5);
  moe.shared_hidden = moe.hidden;
  for (const auto& [key, supported] : {std::pair{"norm_topk_prob", true}, std::pair{"attention_bias", false}})
    if (r.boolean_or(key, supported) != supported)
      r.unsupported(key, std::string("supported is ") + (supported ? "true" : "false"));
  if (const int64_t shared = r.integer_or("n_shared_experts", 0, kMaxLayers, 1); shared != 1)
    r.unsupported("n_shared_experts", "found " + std::to_string(shared) + ", supported is 1");
  return moe;
}

// The layers whose experts stand in tables: mlp_layer_types, or the first num_hash_layers.
void use_tables(FieldReader& r, ModelSpec& spec) {
  const int64_t first = r.integer_or("num_hash_layers", 0, kMaxLayers, 3);
  std::vector<std::string> types;
  if (r.has("mlp_layer_types")) types = r.strings("mlp_layer_types");
  if (!types.empty() && types.size() < spec.layers.size())
    r.fail("mlp_layer_types", "found " + std::to_string(types.size()) +
                                  " entries, expected one a layer: " + std::to_string(spec.layers.size()));
  for (size_t i = 0; i < spec.layers.size(); i++)
    spec.layers[i].ffn.moe.by_token =
        i < types.size() ? types[i] == "hash_moe" : types.empty() && static_cast<int64_t>(i) < first;
}

Result<ModelSpec> from_config(const Checkpoint& checkpoint) {
  KL_TRY(ModelSpec spec, baseline_from_config(checkpoint));
  FieldReader r(checkpoint.metadata, "");
  spec.tied_embeddings = r.boolean_or("tie_word_embeddings", false);
  spec.prediction_layers = r.integer_or("num_nextn_predict_layers", 0, kMaxLayers, 0);
  spec.streams = r.integer_or("hc_mult", 1, kMaxLayers, 4);
  spec.stream_iterations = r.integer_or("hc_sinkhorn_iters", 1, kMaxLayers, 20);
  spec.stream_epsilon = r.number_or("hc_eps", 1e-6);
  Numbers n;
  const int64_t head_dim = spec.layers[0].attention.head_dim;
  n.rotated = r.has("qk_rope_head_dim") ? r.integer("qk_rope_head_dim", 0, kMaxRotated)
                                        : rotated_dimensions(r, head_dim, 64.0 / 512.0);
  n.q_rank = r.integer("q_lora_rank", 1, kMaxDimension);
  n.window = r.integer_or("sliding_window", 1, kMaxContext, 128);
  n.groups = r.integer("o_groups", 1, kMaxDimension);
  n.rank = r.integer("o_lora_rank", 1, kMaxDimension);
  n.indexer.heads = r.integer("index_n_heads", 1, kMaxDimension);
  n.indexer.key_dim = r.integer("index_head_dim", 1, kMaxDimension);
  n.indexer.top_k = r.integer("index_topk", 1, kMaxContext);
  n.limit = r.number_or("swiglu_limit", 10.0);
  ropes_from_config(r, spec, n);
  const std::vector<Kind> kinds = kinds_from_config(r, spec);
  apply(r, "qk_rope_head_dim", spec, kinds, n);
  use_experts_from(spec, 0, experts_of_config(r));
  use_tables(r, spec);
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

}  // namespace

const Family kDeepSeekV4 = {"deepseek-v4", kGguf, kHf, from_gguf, from_config, kTensors};

}  // namespace kinglet
