#include "families/common.h"

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
  if (b.rope.rotated > b.head_dim || b.rope.rotated % 2 != 0)
    reader.fail(key, "rotary dimensions: found " + std::to_string(b.rope.rotated) +
                         ", expected an even number up to the head's " + std::to_string(b.head_dim));
}

// Divisors of the inverse frequencies as the converter leaves them (llama 3 scaling folded in).
std::vector<double> rope_factors(const Checkpoint& checkpoint, FieldReader& reader, int64_t rotated) {
  const TensorView* tensor = checkpoint.find("rope_freqs.weight");
  if (!tensor) return {};
  if (tensor->dtype != DType::kF32 || tensor->elements() != rotated / 2) {
    reader.fail("rope.dimension_count", "tensor rope_freqs.weight: found " + std::to_string(tensor->elements()) +
                                            " values of type " + std::string(dtype_info(tensor->dtype).name) +
                                            ", expected " + std::to_string(rotated / 2) + " of F32");
    return {};
  }
  std::vector<double> factors(static_cast<size_t>(rotated / 2));
  for (size_t i = 0; i < factors.size(); i++) {
    float value;
    std::memcpy(&value, tensor->data.data() + i * sizeof(float), sizeof(float));
    if (!(value > 0.0f) || !std::isfinite(value))
      reader.fail("rope.dimension_count", "tensor rope_freqs.weight: a factor is not a positive number");
    factors[i] = value;
  }
  return factors;
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
  } else if (type != "none") {
    reader.unsupported("rope.scaling.type", "found \"" + type + "\", supported are none, linear, yarn");
  }
  rope.factors = rope_factors(checkpoint, reader, rope.rotated);
  if (!rope.factors.empty()) rope.scaling = RopeSpec::Scaling::kFactors;
  return rope;
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
  b.kv_heads = r.integer_or("attention.head_count_kv", 1, kMaxDimension, b.heads);
  b.head_dim = r.integer_or("attention.key_length", 1, kMaxDimension, spec.width / b.heads);
  b.value_dim = r.integer_or("attention.value_length", 1, kMaxDimension, b.head_dim);
  b.ffn = r.integer("feed_forward_length", 1, kMaxDimension);
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
    rope.scaling = RopeSpec::Scaling::kYarn;
    rope.factor = r.number(at + "factor");
    rope.original_context = r.integer_or(at + "original_max_position_embeddings", 1, kMaxContext, context);
    rope.beta_fast = r.number_or(at + "beta_fast", 32.0);
    rope.beta_slow = r.number_or(at + "beta_slow", 1.0);
    rope.magnitude = r.number_or(at + "attention_factor", 0.0);
  } else if (type != "default") {
    r.unsupported(at + "rope_type", "found \"" + type + "\", supported are default, linear, llama3, yarn");
  }
  return rope;
}

Result<ModelSpec> baseline_from_config(const Checkpoint& checkpoint, const std::string& prefix) {
  FieldReader r(checkpoint.metadata, prefix);
  ModelSpec spec;
  spec.width = r.integer("hidden_size", 1, kMaxDimension);
  spec.vocabulary = r.integer("vocab_size", 1, kMaxDimension);
  spec.context = r.integer("max_position_embeddings", 1, kMaxContext);
  spec.norm_epsilon = r.number_or("rms_norm_eps", 1e-6);
  Baseline b;
  b.layers = r.integer("num_hidden_layers", 1, kMaxLayers);
  b.heads = r.integer("num_attention_heads", 1, kMaxDimension);
  b.kv_heads = r.integer_or("num_key_value_heads", 1, kMaxDimension, b.heads);
  b.head_dim = r.integer_or("head_dim", 1, kMaxDimension, spec.width / b.heads);
  b.value_dim = b.head_dim;
  b.ffn = r.integer("intermediate_size", 1, kMaxDimension);
  b.scale = 1.0 / std::sqrt(static_cast<double>(b.head_dim));
  b.rope = rope_from_config(r, "", b.head_dim, spec.context, 10000.0);
  const std::string activation = r.string_or("hidden_act", r.string_or("hidden_activation", "silu"));
  if (activation == "gelu_pytorch_tanh")
    b.activation = FfnActivation::kGeluTanh;
  else if (activation == "gelu")
    b.activation = FfnActivation::kGeluErf;
  else if (activation != "silu")
    r.unsupported("hidden_act", "found \"" + activation + "\", supported are silu, gelu, gelu_pytorch_tanh");
  check_heads(r, "num_key_value_heads", b);
  KL_RETURN_IF_ERROR(r.status());
  fill_layers(spec, b);
  return spec;
}

void use_windows_past_the_first_layers(FieldReader& r, ModelSpec& spec) {
  if (!r.boolean_or("use_sliding_window", false)) return;
  const int64_t window = r.integer_or("sliding_window", 0, kMaxContext, 0);
  const int64_t full_layers = r.integer_or("max_window_layers", 0, kMaxLayers, 28);
  for (size_t i = static_cast<size_t>(full_layers); i < spec.layers.size(); i++)
    spec.layers[i].attention.window = window;
}

}  // namespace kinglet
