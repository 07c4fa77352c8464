#include "convert/model_keys.h"

#include <algorithm>
#include <optional>
#include <variant>

#include "kernels/math.h"
#include "nn/rope.h"

namespace kinglet::convert {
namespace {

using Scaling = RopeSpec::Scaling;

// What speaks for all layers in a key that stands once.
struct Model {
  const ModelSpec& spec;
  const LayerSpec& typical;    // the first that sees everything and has a rotary embedding
  const LayerSpec* windowed;   // the first with a window
  const LayerSpec* expert;     // the first with experts
  const LayerSpec* recurrent;  // the first with a gated delta rule
  const AttentionSpec& attention = typical.attention;
  const RopeSpec& rope = attention.rope;
  bool latent = typical.mixer == Mixer::kLatentAttention;
};

template <class Wanted>
const LayerSpec* first_layer(const ModelSpec& spec, Wanted wanted) {
  const auto at = std::find_if(spec.layers.begin(), spec.layers.end(), wanted);
  return at == spec.layers.end() ? nullptr : &*at;
}

Model summary(const ModelSpec& spec) {
  const auto rotates = [](const LayerSpec& l) { return l.attention.rope.rotated > 0; };
  const LayerSpec* typical =
      first_layer(spec, [&](const LayerSpec& l) { return rotates(l) && l.attention.window == 0; });
  if (typical == nullptr) typical = first_layer(spec, rotates);
  return {spec, typical ? *typical : spec.layers.front(),
          first_layer(spec, [](const LayerSpec& l) { return l.attention.window > 0; }),
          first_layer(spec, [](const LayerSpec& l) { return l.ffn.moe.experts > 0; }),
          first_layer(spec, [](const LayerSpec& l) { return l.mixer == Mixer::kGatedDelta; })};
}

using Value = std::variant<std::monostate, int64_t, double, bool, std::string, std::vector<bool>>;
constexpr std::monostate kNothing;

Value count_if(bool said, int64_t value) {
  return said ? Value(value) : Value(kNothing);
}
Value number_if(bool said, double value) {
  return said ? Value(value) : Value(kNothing);
}

double stretched_theta(const RopeSpec& rope) {
  if (rope.base_factor == 0.0) return rope.theta;
  const auto rotated = static_cast<double>(rope.rotated);
  return rope.theta * pow_f64(rope.base_factor, rotated / (rotated - 2));
}

Value scaling_type(const Model& m) {
  if (m.rope.base_factor != 0.0) return "none";  // it is in the base
  if (m.rope.scaling == Scaling::kYarn) return "yarn";
  return m.rope.scaling == Scaling::kLinear ? Value("linear") : Value(kNothing);
}

// Of the scores' scale; without latent attention, of the magnitude of the rotation.
Value yarn_log_multiplier(const Model& m) {
  const double multiplier = m.latent ? m.attention.yarn_log_multiplier : m.rope.magnitude_scale_all;
  return number_if(multiplier != 0, multiplier);
}

// GGUF's numbers of the ways to score.
int64_t gating(MoeSpec::Scoring scoring) {
  switch (scoring) {
    case MoeSpec::Scoring::kSoftmax:
      return 1;
    case MoeSpec::Scoring::kSigmoid:
      return 2;
    case MoeSpec::Scoring::kSoftmaxSelected:
      return 3;
    case MoeSpec::Scoring::kSqrtSoftplus:
      return 4;
  }
  return 1;
}

Value recurrent_layers(const Model& m) {
  if (m.recurrent == nullptr) return kNothing;
  std::vector<bool> recurs;
  for (const LayerSpec& layer : m.spec.layers) recurs.push_back(layer.recurs());
  return recurs;
}

int64_t first_with_attention(const ModelSpec& spec) {
  const auto at = std::find_if(spec.layers.begin(), spec.layers.end(), [](const LayerSpec& l) { return !l.recurs(); });
  return at - spec.layers.begin();
}

struct KeyRule {
  std::string_view key;  // behind "<architecture>."
  Value (*value)(const Model& m);
};
constexpr KeyRule kShapeKeys[] = {
    {"block_count", [](const Model& m) -> Value { return std::ssize(m.spec.layers); }},
    {"context_length", [](const Model& m) -> Value { return m.spec.context; }},
    {"embedding_length", [](const Model& m) -> Value { return m.spec.width; }},
    {"feed_forward_length", [](const Model& m) -> Value { return m.typical.ffn.hidden; }},
    {"vocab_size", [](const Model& m) -> Value { return m.spec.vocabulary; }},
    {"final_logit_softcapping",
     [](const Model& m) { return number_if(m.spec.final_soft_cap != 0, m.spec.final_soft_cap); }},
    {"residual_scale", [](const Model& m) { return number_if(m.typical.residual_of_normed, m.typical.mixer_alpha); }},
};
constexpr KeyRule kAttentionKeys[] = {
    {"attention.head_count", [](const Model& m) -> Value { return m.attention.heads; }},
    // Latent attention is said as one head over latents.
    {"attention.head_count_kv", [](const Model& m) -> Value { return m.latent ? 1 : m.attention.kv_heads; }},
    {"attention.key_length",
     [](const Model& m) -> Value {
       return m.latent ? m.attention.latent.kv_rank + m.rope.rotated : m.attention.head_dim;
     }},
    {"attention.value_length",
     [](const Model& m) -> Value { return m.latent ? m.attention.latent.kv_rank : m.attention.value_dim; }},
    {"attention.key_length_mla", [](const Model& m) { return count_if(m.latent, m.attention.head_dim); }},
    {"attention.value_length_mla", [](const Model& m) { return count_if(m.latent, m.attention.value_dim); }},
    {"attention.kv_lora_rank", [](const Model& m) { return count_if(m.latent, m.attention.latent.kv_rank); }},
    {"attention.q_lora_rank",
     [](const Model& m) { return count_if(m.latent && m.attention.latent.q_rank > 0, m.attention.latent.q_rank); }},
    {"attention.layer_norm_rms_epsilon", [](const Model& m) -> Value { return m.spec.norm_epsilon; }},
    // LongRoPE models say that they have none.
    {"attention.sliding_window",
     [](const Model& m) {
       return count_if(m.windowed != nullptr || m.rope.scaling == Scaling::kFactors,
                       m.windowed ? m.windowed->attention.window : 0);
     }},
    {"attn_logit_softcapping",
     [](const Model& m) { return number_if(m.attention.soft_cap != 0, m.attention.soft_cap); }},
    {"attention.temperature_scale",
     [](const Model& m) { return number_if(m.attention.query_growth != 0, m.attention.query_growth); }},
};
constexpr KeyRule kRopeKeys[] = {
    {"rope.dimension_count",
     [](const Model& m) -> Value { return m.rope.rotated > 0 ? m.rope.rotated : m.attention.head_dim; }},
    {"rope.freq_base", [](const Model& m) -> Value { return stretched_theta(m.rope); }},
    {"rope.freq_base_swa",
     [](const Model& m) {
       return number_if(m.windowed && m.windowed->attention.rope.theta != m.rope.theta,
                        m.windowed ? m.windowed->attention.rope.theta : 0);
     }},
    {"rope.scaling.type", scaling_type},
    {"rope.scaling.factor",
     [](const Model& m) {
       const bool stretched = m.rope.base_factor != 0.0;
       return number_if(stretched || m.rope.scaling == Scaling::kLinear || m.rope.scaling == Scaling::kYarn,
                        stretched ? 1.0 : m.rope.factor);
     }},
    {"rope.scaling.original_context_length",
     [](const Model& m) {
       return count_if(m.rope.scaling == Scaling::kYarn || !m.rope.long_factors.empty(), m.rope.original_context);
     }},
    {"rope.scaling.attn_factor",
     [](const Model& m) {
       return number_if(!m.rope.long_factors.empty(), static_cast<double>(rope_magnitude(m.rope)));
     }},
    {"rope.scaling.yarn_beta_fast",
     [](const Model& m) { return number_if(m.rope.scaling == Scaling::kYarn, m.rope.beta_fast); }},
    {"rope.scaling.yarn_beta_slow",
     [](const Model& m) { return number_if(m.rope.scaling == Scaling::kYarn, m.rope.beta_slow); }},
    {"rope.scaling.yarn_log_multiplier", yarn_log_multiplier},
};
// Only of models with experts.
constexpr KeyRule kExpertKeys[] = {
    {"expert_count", [](const Model& m) -> Value { return m.expert->ffn.moe.experts; }},
    {"expert_used_count", [](const Model& m) -> Value { return m.expert->ffn.moe.used; }},
    {"expert_feed_forward_length", [](const Model& m) -> Value { return m.expert->ffn.moe.hidden; }},
    {"expert_shared_feed_forward_length",
     [](const Model& m) { return count_if(m.expert->ffn.moe.shared_hidden > 0, m.expert->ffn.moe.shared_hidden); }},
    {"expert_shared_count",
     [](const Model& m) {
       const MoeSpec& moe = m.expert->ffn.moe;
       return count_if(moe.shared_hidden > 0 && !moe.shared_gated, moe.shared_hidden / moe.hidden);
     }},
    {"expert_group_count", [](const Model& m) -> Value { return m.expert->ffn.moe.groups; }},
    {"expert_group_used_count", [](const Model& m) -> Value { return m.expert->ffn.moe.groups_used; }},
    {"expert_gating_func", [](const Model& m) -> Value { return gating(m.expert->ffn.moe.scoring); }},
    {"expert_weights_scale", [](const Model& m) -> Value { return m.expert->ffn.moe.scale; }},
    {"expert_weights_norm", [](const Model& m) -> Value { return m.expert->ffn.moe.normalise; }},
    {"leading_dense_block_count", [](const Model& m) -> Value { return m.expert - m.spec.layers.data(); }},
};
// Only of models with gated delta rules.
constexpr KeyRule kRecurrentKeys[] = {
    {"ssm.conv_kernel", [](const Model& m) -> Value { return m.recurrent->recurrent.conv_kernel; }},
    {"ssm.state_size", [](const Model& m) -> Value { return m.recurrent->recurrent.key_dim; }},
    {"ssm.group_count", [](const Model& m) -> Value { return m.recurrent->recurrent.key_heads; }},
    {"ssm.time_step_rank", [](const Model& m) -> Value { return m.recurrent->recurrent.value_heads; }},
    {"ssm.inner_size",
     [](const Model& m) -> Value { return m.recurrent->recurrent.value_heads * m.recurrent->recurrent.value_dim; }},
    {"attention.recurrent_layers", recurrent_layers},
    {"full_attention_interval", [](const Model& m) -> Value { return first_with_attention(m.spec) + 1; }},
};

void set(GgufKeys& keys, const std::string& key, const Value& value) {
  if (const auto* count = std::get_if<int64_t>(&value)) keys.set_u32(key, static_cast<uint32_t>(*count));
  if (const auto* number = std::get_if<double>(&value)) keys.set_f32(key, static_cast<float>(*number));
  if (const auto* flag = std::get_if<bool>(&value)) keys.set_bool(key, *flag);
  if (const auto* text = std::get_if<std::string>(&value)) keys.set_text(key, *text);
  if (const auto* flags = std::get_if<std::vector<bool>>(&value)) keys.set_bools(key, *flags);
}

// ---- what must come back

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
    {"tied embeddings", [](const ModelSpec& s) { return flag(s.tied_embeddings); }},
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
};
constexpr Fact<AttentionSpec> kAttentionFacts[] = {
    {"heads", [](const AttentionSpec& a) { return static_cast<double>(a.heads); }},
    {"key/value heads", [](const AttentionSpec& a) { return static_cast<double>(a.kv_heads); }},
    {"head size", [](const AttentionSpec& a) { return static_cast<double>(a.head_dim); }},
    {"value size", [](const AttentionSpec& a) { return static_cast<double>(a.value_dim); }},
    {"sliding windows", [](const AttentionSpec& a) { return static_cast<double>(a.window); }},
    {"scale of the scores", [](const AttentionSpec& a) { return static_cast<double>(attention_scale(a)); }},
    {"soft cap of the scores", [](const AttentionSpec& a) { return a.soft_cap; }},
    {"norms of queries and keys", [](const AttentionSpec& a) { return static_cast<double>(a.qk_norm); }},
    {"order of norm and rotary embedding", [](const AttentionSpec& a) { return flag(a.norm_after_rope); }},
    {"attention sinks", [](const AttentionSpec& a) { return flag(a.sinks); }},
    {"attention gate", [](const AttentionSpec& a) { return flag(a.gated); }},
    {"latent ranks", [](const AttentionSpec& a) { return static_cast<double>(a.latent.q_rank); }},
    {"latent ranks", [](const AttentionSpec& a) { return static_cast<double>(a.latent.kv_rank); }},
    {"order of rotary pairs", [](const AttentionSpec& a) { return flag(a.latent.interleaved); }},
    {"growth of queries", [](const AttentionSpec& a) { return a.query_growth; }},
    {"growth of queries", [](const AttentionSpec& a) { return static_cast<double>(a.growth_span); }},
    {"layers with rotary embedding", [](const AttentionSpec& a) { return static_cast<double>(a.rope.rotated); }},
};
constexpr Fact<MoeSpec> kExpertFacts[] = {
    {"experts used", [](const MoeSpec& m) { return static_cast<double>(m.used); }},
    {"experts' width", [](const MoeSpec& m) { return static_cast<double>(m.hidden); }},
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

void add_model_keys(const ModelSpec& spec, const std::string& architecture, GgufKeys& keys) {
  const Model model = summary(spec);
  const auto add = [&](std::span<const KeyRule> rules) {
    for (const KeyRule& rule : rules) set(keys, architecture + "." + std::string(rule.key), rule.value(model));
  };
  add(kShapeKeys);
  add(kAttentionKeys);
  add(kRopeKeys);
  if (model.expert != nullptr) add(kExpertKeys);
  if (model.recurrent != nullptr) add(kRecurrentKeys);
}

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
