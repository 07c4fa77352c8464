#include "families/latent.h"

#include <cmath>

namespace kinglet {
namespace {

void use_latent_attention(FieldReader& r, std::string_view key, ModelSpec& spec, LatentSpec latent, int64_t rotated,
                          int64_t value_dim, double yarn_log_multiplier) {
  const int64_t head_dim = latent.nope_dim + rotated;
  if (rotated % 2 != 0)
    r.fail(key, "rotary dimensions: found " + std::to_string(rotated) + ", expected an even number");
  latent.shared_dim = rotated;
  for (LayerSpec& layer : spec.layers) {
    layer.mixer = Mixer::kLatentAttention;
    AttentionSpec& a = layer.attention;
    a.kv_heads = a.heads;
    a.head_dim = head_dim;
    a.value_dim = value_dim;
    a.latent = latent;
    a.rope.rotated = rotated;
    a.scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
    a.yarn_log_multiplier = a.rope.scaling == RopeSpec::Scaling::kYarn ? yarn_log_multiplier : 0.0;
  }
}

}  // namespace

void latent_attention_from_gguf(FieldReader& r, ModelSpec& spec) {
  LatentSpec latent;
  latent.q_rank = r.integer_or("attention.q_lora_rank", 0, kMaxDimension, 0);
  latent.kv_rank = r.integer("attention.kv_lora_rank", 1, kMaxDimension);
  const int64_t rotated = r.integer("rope.dimension_count", 0, kMaxDimension);
  const bool absorbed = r.has("attention.key_length_mla");  // older files say the plain lengths
  const int64_t key = r.integer(absorbed ? "attention.key_length_mla" : "attention.key_length", 1, kMaxDimension);
  const int64_t value = r.integer(absorbed ? "attention.value_length_mla" : "attention.value_length", 1, kMaxDimension);
  if (rotated >= key) r.fail("rope.dimension_count", "expected fewer than the " + std::to_string(key) + " of a key");
  latent.nope_dim = key - rotated;
  use_latent_attention(r, "rope.dimension_count", spec, latent, rotated, value,
                       r.number_or("rope.scaling.yarn_log_multiplier", 0.0));
  // The converter folds YaRN's magnitude into the multiplier: cos and sin stay as they are.
  for (LayerSpec& layer : spec.layers)
    if (layer.attention.yarn_log_multiplier != 0.0) layer.attention.rope.magnitude = 1.0;
}

void latent_attention_from_config(FieldReader& r, ModelSpec& spec) {
  LatentSpec latent;
  latent.q_rank = r.integer_or("q_lora_rank", 0, kMaxDimension, 0);
  latent.kv_rank = r.integer("kv_lora_rank", 1, kMaxDimension);
  latent.nope_dim = r.integer("qk_nope_head_dim", 1, kMaxDimension);
  latent.interleaved = r.boolean_or("rope_interleave", true);
  const int64_t rotated = r.integer("qk_rope_head_dim", 0, kMaxDimension);
  const int64_t value = r.integer("v_head_dim", 1, kMaxDimension);
  // Rounded to float as GGUF files carry it, so that both roads have the same bits.
  const double m_all = spec.layers[0].attention.rope.magnitude_scale_all;
  use_latent_attention(r, "qk_rope_head_dim", spec, latent, rotated, value,
                       static_cast<double>(static_cast<float>(0.1 * m_all)));
}

}  // namespace kinglet
