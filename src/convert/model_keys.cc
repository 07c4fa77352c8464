#include "convert/model_keys.h"

#include <algorithm>
#include <functional>
#include <variant>

#include "kernels/math.h"
#include "nn/rope.h"

namespace kinglet::convert {
namespace {

using Scaling = RopeSpec::Scaling;

// What speaks for all layers in a key that stands once.
struct Model {
  const ModelSpec& spec;
  const LayerSpec& typical;        // the first that sees everything and has a rotary embedding, or else has attention
  const LayerSpec* windowed;       // the first with a window
  const LayerSpec* expert;         // the first with experts
  const LayerSpec* recurrent;      // the first with a gated delta rule
  const LayerSpec* kimi;           // the first with Kimi Linear's
  const LayerSpec* indexed;        // the first with an indexer
  const LayerSpec* windowed_only;  // the first of DeepSeek-V4 without compressed entries
  const AttentionSpec& attention = typical.attention;
  const RopeSpec& rope = attention.rope;
  bool latent = typical.mixer == Mixer::kLatentAttention;
  bool compressed = typical.mixer == Mixer::kCompressedAttention;
  int64_t predictions = 0;  // of the layers, the last ones
};

template <class Wanted>
const LayerSpec* first_layer(const ModelSpec& spec, Wanted wanted) {
  const auto at = std::find_if(spec.layers.begin(), spec.layers.end(), wanted);
  return at == spec.layers.end() ? nullptr : &*at;
}

Model summary(const ModelSpec& spec) {
  const auto rotates = [](const LayerSpec& l) { return l.attention.rope.rotated > 0; };
  const LayerSpec* typical = first_layer(spec, [](const LayerSpec& l) { return l.attention.compression.ratio > 0; });
  if (typical == nullptr)
    typical = first_layer(spec, [&](const LayerSpec& l) { return rotates(l) && l.attention.window == 0; });
  if (typical == nullptr) typical = first_layer(spec, rotates);
  if (typical == nullptr) typical = first_layer(spec, [](const LayerSpec& l) { return !l.recurs(); });
  return {spec,
          typical ? *typical : spec.layers.front(),
          first_layer(spec, [](const LayerSpec& l) { return l.attention.window > 0; }),
          first_layer(spec, [](const LayerSpec& l) { return l.ffn.moe.experts > 0; }),
          first_layer(spec, [](const LayerSpec& l) { return l.mixer == Mixer::kGatedDelta; }),
          first_layer(spec, [](const LayerSpec& l) { return l.mixer == Mixer::kKimiDelta; }),
          first_layer(spec, [](const LayerSpec& l) { return l.attention.indexer.heads > 0; }),
          first_layer(spec, [](const LayerSpec& l) {
            return l.mixer == Mixer::kCompressedAttention && l.attention.compression.ratio == 0;
          })};
}

using Value = std::variant<std::monostate, int64_t, double, bool, std::string, std::vector<bool>, std::vector<int64_t>,
                           std::vector<float>>;
constexpr std::monostate kNothing;

Value count_if(bool said, int64_t value) {
  return said ? Value(value) : Value(kNothing);
}
Value number_if(bool said, double value) {
  return said ? Value(value) : Value(kNothing);
}

// A number a layer, or one where it is the same in all.
Value one_a_layer(const ModelSpec& spec, int64_t (*of)(const LayerSpec& layer)) {
  std::vector<int64_t> numbers;
  for (const LayerSpec& layer : spec.layers) numbers.push_back(of(layer));
  if (std::adjacent_find(numbers.begin(), numbers.end(), std::not_equal_to<>()) != numbers.end()) return numbers;
  return numbers.front();
}

Value key_value_heads(const Model& m) {
  // Kimi Linear's files say by 0 which layers have no cache.
  if (m.kimi != nullptr) return one_a_layer(m.spec, [](const LayerSpec& l) { return int64_t{l.recurs() ? 0 : 1}; });
  if (m.latent) return 1;  // said as one head over latents
  if (m.recurrent != nullptr) return m.attention.kv_heads;
  return one_a_layer(m.spec, [](const LayerSpec& l) { return l.attention.kv_heads; });
}

int64_t rotated_dimensions(const Model& m) {
  if (m.latent) return m.attention.latent.shared_dim;
  return m.rope.rotated > 0 ? m.rope.rotated : m.attention.head_dim;
}

double stretched_theta(const RopeSpec& rope) {
  if (rope.base_factor == 0.0) return rope.theta;
  const auto rotated = static_cast<double>(rope.rotated);
  return rope.theta * pow_f64(rope.base_factor, rotated / (rotated - 2));
}

// Of DeepSeek-V4's layers without compressed entries; those with entries have a key of their own.
double usual_theta(const Model& m) {
  return m.windowed_only != nullptr ? m.windowed_only->attention.rope.theta : stretched_theta(m.rope);
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

Value flags_of_layers(const ModelSpec& spec, bool (*of)(const LayerSpec& layer)) {
  std::vector<bool> flags;
  for (const LayerSpec& layer : spec.layers) flags.push_back(of(layer));
  return flags;
}

// Whether the files state two kinds of attention layers, and what stands in which (Gemma 4).
bool states_kinds(const Model& m) {
  return m.windowed != nullptr && m.attention.value_norm;
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
    {"nextn_predict_layers", [](const Model& m) { return count_if(m.predictions > 0, m.predictions); }},
    {"context_length", [](const Model& m) -> Value { return m.spec.context; }},
    {"embedding_length", [](const Model& m) -> Value { return m.spec.width; }},
    {"feed_forward_length",
     [](const Model& m) { return one_a_layer(m.spec, [](const LayerSpec& l) { return l.ffn.hidden; }); }},
    {"vocab_size", [](const Model& m) -> Value { return m.spec.vocabulary; }},
    {"final_logit_softcapping",
     [](const Model& m) { return number_if(m.spec.final_soft_cap != 0, m.spec.final_soft_cap); }},
    {"residual_scale", [](const Model& m) { return number_if(m.typical.residual_of_normed, m.typical.mixer_alpha); }},
};
constexpr KeyRule kAttentionKeys[] = {
    {"attention.head_count", [](const Model& m) -> Value { return m.attention.heads; }},
    {"attention.head_count_kv", key_value_heads},
    {"attention.key_length",
     [](const Model& m) -> Value {
       return m.latent ? m.attention.latent.kv_rank + m.attention.latent.shared_dim : m.attention.head_dim;
     }},
    {"attention.value_length",
     [](const Model& m) -> Value { return m.latent ? m.attention.latent.kv_rank : m.attention.value_dim; }},
    {"attention.key_length_mla", [](const Model& m) { return count_if(m.latent, m.attention.head_dim); }},
    {"attention.value_length_mla", [](const Model& m) { return count_if(m.latent, m.attention.value_dim); }},
    {"attention.kv_lora_rank", [](const Model& m) { return count_if(m.latent, m.attention.latent.kv_rank); }},
    {"attention.q_lora_rank",
     [](const Model& m) { return count_if(m.attention.latent.q_rank > 0, m.attention.latent.q_rank); }},
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
    {"rope.dimension_count", [](const Model& m) -> Value { return rotated_dimensions(m); }},
    {"rope.dimension_sections",
     [](const Model& m) { return m.rope.sections.empty() ? Value(kNothing) : Value(m.rope.sections); }},
    {"rope.freq_base", [](const Model& m) -> Value { return usual_theta(m); }},
    {"rope.freq_base_swa",
     [](const Model& m) {
       const double theta = m.windowed ? m.windowed->attention.rope.theta : m.rope.theta;
       return number_if(!m.compressed && (states_kinds(m) || theta != m.rope.theta), theta);
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
    {"attention.recurrent_layers",
     [](const Model& m) { return flags_of_layers(m.spec, [](const LayerSpec& l) { return l.recurs(); }); }},
    {"full_attention_interval", [](const Model& m) -> Value { return first_with_attention(m.spec) + 1; }},
};

// Only of models with Kimi Linear's delta rule.
constexpr KeyRule kKimiKeys[] = {
    {"ssm.conv_kernel", [](const Model& m) -> Value { return m.kimi->recurrent.conv_kernel; }},
    {"kda.head_dim", [](const Model& m) -> Value { return m.kimi->recurrent.key_dim; }},
};
// Only of models with an indexer.
constexpr KeyRule kIndexerKeys[] = {
    {"attention.indexer.head_count", [](const Model& m) -> Value { return m.indexed->attention.indexer.heads; }},
    {"attention.indexer.key_length", [](const Model& m) -> Value { return m.indexed->attention.indexer.key_dim; }},
    {"attention.indexer.top_k", [](const Model& m) -> Value { return m.indexed->attention.indexer.top_k; }},
    {"attention.indexer.block_size",
     [](const Model& m) {
       const IndexerSpec& x = m.indexed->attention.indexer;
       return count_if(x.block > 0, x.block);
     }},
    {"attention.indexer.local_blocks",
     [](const Model& m) {
       const IndexerSpec& x = m.indexed->attention.indexer;
       return count_if(x.block > 0, x.local_blocks);
     }},
    // The layers that do not take the choice of an earlier one; those that predict are not listed.
    {"attention.indexer.types",
     [](const Model& m) {
       if (!m.latent) return Value(kNothing);
       Value flags = flags_of_layers(m.spec, [](const LayerSpec& l) { return l.attention.indexer.chooses(); });
       auto& listed = std::get<std::vector<bool>>(flags);
       listed.resize(listed.size() - static_cast<size_t>(m.predictions));
       return flags;
     }},
};
// Only of models that state their kinds of layers.
constexpr KeyRule kKindKeys[] = {
    {"attention.key_length_swa", [](const Model& m) -> Value { return m.windowed->attention.head_dim; }},
    {"attention.value_length_swa", [](const Model& m) -> Value { return m.windowed->attention.value_dim; }},
    {"rope.dimension_count_swa", [](const Model& m) -> Value { return m.windowed->attention.rope.rotated; }},
    {"attention.sliding_window_pattern",
     [](const Model& m) { return flags_of_layers(m.spec, [](const LayerSpec& l) { return l.attention.window > 0; }); }},
    {"attention.shared_kv_layers",
     [](const Model& m) -> Value {
       return std::count_if(m.spec.layers.begin(), m.spec.layers.end(),
                            [](const LayerSpec& l) { return l.attention.shares_kv(); });
     }},
    {"embedding_length_per_layer_input", [](const Model& m) -> Value { return m.typical.input_dim; }},
};

// Of encoders of text, in place of what other models say of attention and rotary embedding. llama.cpp counts token
// types among the tokenizer's facts.
constexpr KeyRule kEncoderKeys[] = {
    {"attention.head_count", [](const Model& m) -> Value { return m.attention.heads; }},
    {"attention.layer_norm_epsilon", [](const Model& m) -> Value { return m.spec.norm_epsilon; }},
    {"attention.causal", [](const Model& m) -> Value { return m.attention.causal; }},
};

// Only of DeepSeek-V4.
constexpr KeyRule kCompressionKeys[] = {
    {"attention.compress_ratios",
     [](const Model& m) -> Value {
       std::vector<int64_t> ratios;
       for (const LayerSpec& layer : m.spec.layers) ratios.push_back(layer.attention.compression.ratio);
       ratios.resize(ratios.size() + static_cast<size_t>(m.spec.prediction_layers));  // those see a window alone
       return ratios;
     }},
    {"attention.compress_rope_freq_base", [](const Model& m) -> Value { return m.rope.theta; }},
    {"attention.output_group_count", [](const Model& m) -> Value { return m.attention.compression.output_groups; }},
    {"attention.output_lora_rank", [](const Model& m) -> Value { return m.attention.compression.output_rank; }},
    {"swiglu_clamp_exp",
     [](const Model& m) -> Value {
       return std::vector<float>(m.spec.layers.size(), static_cast<float>(m.typical.ffn.limit));
     }},
    {"swiglu_clamp_shexp",
     [](const Model& m) -> Value {
       return std::vector<float>(m.spec.layers.size(), static_cast<float>(m.typical.ffn.limit));
     }},
    {"hyper_connection.count", [](const Model& m) -> Value { return m.spec.streams; }},
    {"hyper_connection.sinkhorn_iterations", [](const Model& m) -> Value { return m.spec.stream_iterations; }},
    {"hyper_connection.epsilon", [](const Model& m) -> Value { return m.spec.stream_epsilon; }},
    {"embedding_length_out", [](const Model& m) -> Value { return m.spec.streams * m.spec.width; }},
    {"hash_layer_count",
     [](const Model& m) -> Value {
       return std::count_if(m.spec.layers.begin(), m.spec.layers.end(),
                            [](const LayerSpec& l) { return l.ffn.moe.by_token; });
     }},
};

void set(GgufKeys& keys, const std::string& key, const Value& value) {
  if (const auto* count = std::get_if<int64_t>(&value)) keys.set_u32(key, static_cast<uint32_t>(*count));
  if (const auto* number = std::get_if<double>(&value)) keys.set_f32(key, static_cast<float>(*number));
  if (const auto* flag = std::get_if<bool>(&value)) keys.set_bool(key, *flag);
  if (const auto* text = std::get_if<std::string>(&value)) keys.set_text(key, *text);
  if (const auto* flags = std::get_if<std::vector<bool>>(&value)) keys.set_bools(key, *flags);
  if (const auto* counts = std::get_if<std::vector<int64_t>>(&value))
    keys.set_i32s(key, std::vector<int32_t>(counts->begin(), counts->end()));
  if (const auto* numbers = std::get_if<std::vector<float>>(&value)) keys.set_f32s(key, *numbers);
}

}  // namespace

void add_model_keys(const ModelSpec& spec, int64_t predictions, const std::string& architecture, GgufKeys& keys) {
  Model model = summary(spec);
  model.predictions = predictions;
  const auto add = [&](std::span<const KeyRule> rules) {
    for (const KeyRule& rule : rules) set(keys, architecture + "." + std::string(rule.key), rule.value(model));
  };
  add(kShapeKeys);
  if (spec.is_encoder()) {
    add(kEncoderKeys);
    keys.set_u32("tokenizer.ggml.token_type_count", static_cast<uint32_t>(spec.encoder.token_types));
    return;
  }
  add(kAttentionKeys);
  add(kRopeKeys);
  if (model.expert != nullptr) add(kExpertKeys);
  if (model.recurrent != nullptr) add(kRecurrentKeys);
  if (model.kimi != nullptr) add(kKimiKeys);
  if (model.indexed != nullptr) add(kIndexerKeys);
  if (states_kinds(model)) add(kKindKeys);
  if (model.compressed) add(kCompressionKeys);
}

}  // namespace kinglet::convert
