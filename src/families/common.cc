#include "families/common.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace kinglet {
namespace {

// Facts on which both roads agree once they are read.
struct Baseline {
  int64_t layers = 0, heads = 0, kv_heads = 0, head_dim = 0, value_dim = 0, ffn = 0;
  double scale = 0.0;
  RopeSpec rope;
  FfnActivation activation = FfnActivation::kSilu;
};

void fill_layers(ModelSpec& spec, const Baseline& b) {
  LayerSpec layer;
  AttentionSpec& a = layer.attention;
  a.heads = b.heads;
  a.kv_heads = b.kv_heads;
  a.head_dim = b.head_dim;
  a.value_dim = b.value_dim;
  a.rope = b.rope;
  a.scale = b.scale;
  layer.ffn.hidden = b.ffn;
  layer.ffn.activation = b.activation;
  spec.layers.assign(static_cast<size_t>(b.layers), layer);
}

void check_heads(FieldReader& reader, std::string_view key, const Baseline& b) {
  if (b.kv_heads < 1 || b.heads % b.kv_heads != 0)
    reader.fail(key, std::to_string(b.heads) + " query heads cannot share " + std::to_string(b.kv_heads) +
                         " key/value heads; expected a divisor of " + std::to_string(b.heads));
  const int64_t most = std::min(b.head_dim, kMaxRotated);
  if (b.rope.rotated > most || b.rope.rotated % 2 != 0)
    reader.fail(key, "rotary dimensions: found " + std::to_string(b.rope.rotated) +
                         ", expected an even number up to the head's " + std::to_string(most));
}

// Models that have experts in every layer may not say how wide a dense one would be; of a list of one a layer, whose
// family reads it again, the largest.
int64_t dense_hidden(FieldReader& r, std::string_view key, std::string_view expert_key) {
  const std::string_view at = r.has(key) || !r.has(expert_key) ? key : expert_key;
  if (!r.is_integers(at)) return r.integer(at, 1, kMaxDimension);
  int64_t most = 1;
  for (const int64_t n : r.integers(at)) most = std::max(most, n);
  return most;  // check_spec bounds it
}

// Divisors of the inverse frequencies as the converter leaves them (llama 3 scaling folded in; LongRoPE's two lists).
std::vector<double> rope_factors(const Checkpoint& checkpoint, FieldReader& reader, const std::string& name,
                                 int64_t rotated) {
  const TensorView* tensor = checkpoint.find(name);
  if (!tensor) return {};
  if (tensor->dtype != DType::kF32 || tensor->elements() != rotated / 2) {
    reader.fail("rope.dimension_count", "tensor " + name + ": found " + std::to_string(tensor->elements()) +
                                            " values of type " + std::string(dtype_info(tensor->dtype).name) +
                                            ", expected " + std::to_string(rotated / 2) + " of type F32");
    return {};
  }
  std::vector<float> values(static_cast<size_t>(tensor->elements()));
  std::memcpy(values.data(), tensor->data.data(), values.size() * sizeof(float));
  return {values.begin(), values.end()};
}

// A scaling that divides by zero, or by nothing a float can hold, is a broken file.
void check_factor(FieldReader& reader, std::string_view key, double factor) {
  if (!(factor >= 1e-6 && factor <= 1e9))
    reader.fail(key, "found " + std::to_string(factor) + ", expected a factor above zero");
}

// LongRoPE's two lists of divisors, rounded to float as GGUF files carry them.
std::vector<double> longrope_factors(FieldReader& r, const std::string& key, int64_t rotated) {
  std::vector<double> factors = r.numbers(key);
  if (std::ssize(factors) != rotated / 2)
    r.fail(key,
           "found " + std::to_string(factors.size()) + " factors, expected one a pair: " + std::to_string(rotated / 2));
  for (double& f : factors) {
    check_factor(r, key, f);
    f = static_cast<double>(static_cast<float>(f));
  }
  return factors;
}

void longrope_from_config(FieldReader& r, const std::string& at, int64_t context, RopeSpec& rope) {
  rope.scaling = RopeSpec::Scaling::kFactors;
  rope.original_context =
      r.integer_or(r.has(at + "original_max_position_embeddings") ? at + "original_max_position_embeddings"
                                                                  : std::string("original_max_position_embeddings"),
                   2, kMaxContext, context);
  rope.factors = longrope_factors(r, at + "short_factor", rope.rotated);
  rope.long_factors = longrope_factors(r, at + "long_factor", rope.rotated);
  rope.factor = r.number_or(at + "factor", static_cast<double>(context) / static_cast<double>(rope.original_context));
  rope.magnitude = r.number_or(at + "attention_factor", 0.0);
}

void yarn_from_config(FieldReader& r, const std::string& at, int64_t context, RopeSpec& rope) {
  rope.scaling = RopeSpec::Scaling::kYarn;
  rope.factor = r.number(at + "factor");
  check_factor(r, at + "factor", rope.factor);
  rope.original_context = r.integer_or(at + "original_max_position_embeddings", 1, kMaxContext, context);
  rope.beta_fast = r.number_or(at + "beta_fast", 32.0);
  rope.beta_slow = r.number_or(at + "beta_slow", 1.0);
  rope.whole_pairs = r.boolean_or(at + "truncate", true);
  rope.magnitude_scale = r.number_or(at + "mscale", 0.0);
  rope.magnitude_scale_all = r.number_or(at + "mscale_all_dim", 0.0);
  rope.magnitude = r.number_or(at + "attention_factor", 0.0);
}

RopeSpec rope_from_gguf(const Checkpoint& checkpoint, FieldReader& reader, int64_t head_dim) {
  RopeSpec rope;
  rope.rotated = reader.integer_or("rope.dimension_count", 0, kMaxDimension, head_dim);
  rope.theta = reader.number_or("rope.freq_base", 10000.0);
  const std::string type = reader.string_or("rope.scaling.type", "none");
  if (type == "linear") {
    rope.scaling = RopeSpec::Scaling::kLinear;
    rope.factor = reader.number("rope.scaling.factor");
  } else if (type == "yarn") {
    rope.scaling = RopeSpec::Scaling::kYarn;
    rope.factor = reader.number("rope.scaling.factor");
    rope.original_context = reader.integer("rope.scaling.original_context_length", 1, kMaxContext);
    rope.beta_fast = reader.number_or("rope.scaling.yarn_beta_fast", 32.0);
    rope.beta_slow = reader.number_or("rope.scaling.yarn_beta_slow", 1.0);
    check_factor(reader, "rope.scaling.factor", rope.factor);
  } else if (type != "none") {
    reader.unknown("rope.scaling.type", type, {"none", "linear", "yarn"});
  }
  rope.factors = rope_factors(checkpoint, reader, "rope_freqs.weight", rope.rotated);
  if (rope.factors.empty()) {
    rope.factors = rope_factors(checkpoint, reader, "rope_factors_short.weight", rope.rotated);
    rope.long_factors = rope_factors(checkpoint, reader, "rope_factors_long.weight", rope.rotated);
    if (rope.factors.empty() != rope.long_factors.empty())
      reader.fail("rope.scaling.original_context_length", "one of rope_factors_short and rope_factors_long is missing");
    if (!rope.long_factors.empty()) {
      rope.original_context = reader.integer("rope.scaling.original_context_length", 1, kMaxContext);
      rope.magnitude = reader.number_or("rope.scaling.attn_factor", 1.0);
    }
  }
  if (!rope.factors.empty()) rope.scaling = RopeSpec::Scaling::kFactors;
  return rope;
}

// One number, or one a layer, 0 where it has no cache (Kimi Linear): the largest.
int64_t kv_heads_from_gguf(FieldReader& r, int64_t heads) {
  constexpr std::string_view kKey = "attention.head_count_kv";
  if (!r.has(kKey)) return heads;
  int64_t most = 0;
  for (const int64_t n : r.integers_or_one(kKey)) most = std::max(most, n);
  return most;  // check_heads refuses what does not divide
}

}  // namespace

Result<ModelSpec> baseline_from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(const std::string architecture, checkpoint.metadata.get_string("general.architecture"));
  FieldReader r(checkpoint.metadata, architecture + ".");
  ModelSpec spec;
  spec.architecture = architecture;
  spec.width = r.integer("embedding_length", 1, kMaxDimension);
  spec.context = r.integer("context_length", 1, kMaxContext);
  spec.norm_epsilon = r.number("attention.layer_norm_rms_epsilon");
  Baseline b;
  b.layers = r.integer("block_count", 1, kMaxLayers);
  b.heads = r.integer("attention.head_count", 1, kMaxDimension);
  b.kv_heads = kv_heads_from_gguf(r, b.heads);
  b.head_dim = r.integer_or("attention.key_length", 1, kMaxDimension, spec.width / b.heads);
  b.value_dim = r.integer_or("attention.value_length", 1, kMaxDimension, b.head_dim);
  b.ffn = dense_hidden(r, "feed_forward_length", "expert_feed_forward_length");
  b.scale = 1.0 / std::sqrt(static_cast<double>(b.head_dim));
  b.rope = rope_from_gguf(checkpoint, r, b.head_dim);
  check_heads(r, "attention.head_count_kv", b);
  KL_RETURN_IF_ERROR(r.status());
  const TensorView* embedding = checkpoint.find("token_embd.weight");
  if (!embedding) return Error{ErrorCode::kInvalid, checkpoint.path + ": tensor token_embd.weight is missing"};
  spec.vocabulary = embedding->rows();
  spec.tied_embeddings = checkpoint.find("output.weight") == nullptr;
  fill_layers(spec, b);
  return spec;
}

RopeSpec rope_from_config(FieldReader& r, std::string_view kind, int64_t rotated, int64_t context,
                          double default_theta) {
  RopeSpec rope;
  rope.rotated = rotated;
  const std::string nested = kind.empty() ? "rope_parameters." : "rope_parameters." + std::string(kind) + ".";
  const bool new_form = r.has(nested + "rope_type") || r.has(nested + "rope_theta");
  const std::string at = new_form ? nested : "rope_scaling.";
  rope.theta = r.number_or(new_form ? nested + "rope_theta" : std::string("rope_theta"), default_theta);
  const std::string type = r.string_or(at + "rope_type", r.string_or(at + "type", "default"));
  if (type == "linear") {
    rope.scaling = RopeSpec::Scaling::kLinear;
    rope.factor = r.number(at + "factor");
  } else if (type == "llama3") {
    rope.scaling = RopeSpec::Scaling::kLlama3;
    rope.factor = r.number(at + "factor");
    rope.low_freq_factor = r.number(at + "low_freq_factor");
    rope.high_freq_factor = r.number(at + "high_freq_factor");
    rope.original_context = r.integer_or(at + "original_max_position_embeddings", 1, kMaxContext, context);
  } else if (type == "yarn") {
    yarn_from_config(r, at, context, rope);
  } else if (type == "longrope" || type == "su") {
    longrope_from_config(r, at, context, rope);
  } else if (type == "dynamic" && r.has(at + "alpha")) {
    rope.base_factor = r.number(at + "alpha");
    check_factor(r, at + "alpha", rope.base_factor);
  } else if (type != "default") {
    r.unknown(at + "rope_type", type, {"default", "linear", "llama3", "yarn", "longrope", "dynamic with alpha"});
  }
  return rope;
}

int64_t classification_labels(FieldReader& r) {
  int64_t labels = 0;
  while (labels < kMaxLayers && r.has("id2label." + std::to_string(labels))) labels++;
  return r.integer_or("num_labels", 1, kMaxDimension, labels > 0 ? labels : 2);
}

int64_t rotated_dimensions(FieldReader& r, int64_t head_dim, double default_share) {
  if (r.has("rotary_dim")) return r.integer("rotary_dim", 0, kMaxDimension);
  const double share =
      r.number_or("partial_rotary_factor", r.number_or("rope_parameters.partial_rotary_factor", default_share));
  if (!(share >= 0.0 && share <= 1.0)) {
    r.fail("partial_rotary_factor", "found " + std::to_string(share) + ", expected 0 to 1");
    return head_dim;
  }
  return static_cast<int64_t>(static_cast<double>(head_dim) * share);
}

std::string text_prefix(const Checkpoint& checkpoint) {
  return checkpoint.metadata.has("text_config.hidden_size") ? "text_config." : "";
}

Result<ModelSpec> baseline_from_config(const Checkpoint& checkpoint, const std::string& prefix) {
  FieldReader r(checkpoint.metadata, prefix);
  ModelSpec spec;
  spec.width = r.integer("hidden_size", 1, kMaxDimension);
  spec.vocabulary = r.integer("vocab_size", 1, kMaxDimension);
  const bool renamed = !r.has("max_position_embeddings") && r.has("model_max_length");  // Kimi Linear
  spec.context = r.integer(renamed ? "model_max_length" : "max_position_embeddings", 1, kMaxContext);
  spec.norm_epsilon = r.number_or("rms_norm_eps", 1e-6);
  Baseline b;
  b.layers = r.integer("num_hidden_layers", 1, kMaxLayers);
  b.heads = r.integer("num_attention_heads", 1, kMaxDimension);
  b.kv_heads = r.integer_or("num_key_value_heads", 1, kMaxDimension, b.heads);
  b.head_dim = r.integer_or("head_dim", 1, kMaxDimension, spec.width / b.heads);
  b.value_dim = b.head_dim;
  b.ffn = dense_hidden(r, "intermediate_size", "moe_intermediate_size");
  b.scale = 1.0 / std::sqrt(static_cast<double>(b.head_dim));
  b.rope = rope_from_config(r, "", rotated_dimensions(r, b.head_dim), spec.context, 10000.0);
  const std::string activation = r.string_or("hidden_act", r.string_or("hidden_activation", "silu"));
  if (activation == "gelu_pytorch_tanh")
    b.activation = FfnActivation::kGeluTanh;
  else if (activation == "gelu")
    b.activation = FfnActivation::kGeluErf;
  else if (activation == "swigluoai")
    b.activation = FfnActivation::kSwigluOai;
  else if (activation != "silu")
    r.unknown("hidden_act", activation, {"silu", "gelu", "gelu_pytorch_tanh", "swigluoai"});
  check_heads(r, "num_key_value_heads", b);
  KL_RETURN_IF_ERROR(r.status());
  fill_layers(spec, b);
  return spec;
}

std::vector<bool> layers_of_kind(FieldReader& r, const ModelSpec& spec, std::string_view name,
                                 const std::function<bool(size_t)>& otherwise) {
  std::vector<bool> of_kind(spec.layers.size());
  std::vector<std::string> types;
  if (r.has("layer_types")) {
    types = r.strings("layer_types");
    if (types.size() != spec.layers.size())
      r.fail("layer_types", "found " + std::to_string(types.size()) +
                                " entries, expected one a layer: " + std::to_string(spec.layers.size()));
  }
  for (size_t i = 0; i < of_kind.size(); i++) of_kind[i] = i < types.size() ? types[i] == name : otherwise(i);
  return of_kind;
}

std::vector<int64_t> one_a_layer(FieldReader& r, std::string_view key, const ModelSpec& spec, int64_t least,
                                 int64_t most) {
  std::vector<int64_t> values = r.integers_or_one(key);
  if (values.size() == 1) values.assign(spec.layers.size(), values.front());
  if (values.size() != spec.layers.size())
    r.fail(key, "found " + std::to_string(values.size()) +
                    " entries, expected one a layer: " + std::to_string(spec.layers.size()));
  for (const int64_t value : values)
    if (value < least || value > most)
      r.fail(key,
             "found " + std::to_string(value) + ", expected " + std::to_string(least) + " to " + std::to_string(most));
  values.resize(spec.layers.size(), least);
  return values;
}

void use_window_everywhere(FieldReader& r, std::string_view key, ModelSpec& spec) {
  const int64_t window = r.integer_or(key, 0, kMaxContext, 0);
  for (LayerSpec& layer : spec.layers) layer.attention.window = window;
}

void use_windows_past_the_first_layers(FieldReader& r, ModelSpec& spec) {
  if (!r.boolean_or("use_sliding_window", false)) return;
  const int64_t window = r.integer_or("sliding_window", 0, kMaxContext, 0);
  const int64_t full_layers = r.integer_or("max_window_layers", 0, kMaxLayers, 28);
  for (size_t i = static_cast<size_t>(full_layers); i < spec.layers.size(); i++)
    spec.layers[i].attention.window = window;
}

}  // namespace kinglet
