#include "engine/sampling_wishes.h"

#include <nlohmann/json.hpp>
#include <type_traits>

#include "kinglet/kinglet.h"

namespace kinglet {
namespace {

template <class T>
void take(std::optional<T>& mine, const std::optional<T>& other) {
  if (!mine) mine = other;
}

template <class T>
void from_json(const nlohmann::json& object, const char* key, std::optional<T>& to) {
  const auto at = object.find(key);
  if (at == object.end()) return;
  if (std::is_integral_v<T> ? at->is_number_integer() : at->is_number()) to = at->get<T>();
}

void from_metadata(const Metadata& metadata, const char* key, std::optional<float>& to) {
  if (const auto value = metadata.get_float(key); value.ok()) to = static_cast<float>(*value);
}

}  // namespace

void SamplingWishes::fill_from(const SamplingWishes& other) {
  take(temperature, other.temperature);
  take(top_k, other.top_k);
  take(top_p, other.top_p);
  take(min_p, other.min_p);
  take(typical_p, other.typical_p);
  take(repetition_penalty, other.repetition_penalty);
  take(penalty_last_n, other.penalty_last_n);
  take(presence_penalty, other.presence_penalty);
  take(frequency_penalty, other.frequency_penalty);
  take(seed, other.seed);
  if (logit_bias.empty()) logit_bias = other.logit_bias;
}

SamplingParams SamplingWishes::params() const {
  const api::Sampling defaults;
  SamplingParams p;
  p.temperature = temperature.value_or(defaults.temperature);
  p.top_k = top_k.value_or(defaults.top_k);
  p.top_p = top_p.value_or(defaults.top_p);
  p.min_p = min_p.value_or(defaults.min_p);
  p.typical_p = typical_p.value_or(defaults.typical_p);
  p.repetition_penalty = repetition_penalty.value_or(defaults.repetition_penalty);
  p.penalty_last_n = penalty_last_n.value_or(defaults.repetition_last_n);
  p.presence_penalty = presence_penalty.value_or(defaults.presence_penalty);
  p.frequency_penalty = frequency_penalty.value_or(defaults.frequency_penalty);
  p.seed = seed;
  p.logit_bias = logit_bias;
  return p;
}

SamplingWishes model_advice(const Checkpoint& checkpoint) {
  SamplingWishes advice;
  if (checkpoint.format == CheckpointFormat::kGguf) {
    from_metadata(checkpoint.metadata, "general.sampling.temp", advice.temperature);
    from_metadata(checkpoint.metadata, "general.sampling.top_p", advice.top_p);
    from_metadata(checkpoint.metadata, "general.sampling.min_p", advice.min_p);
    if (const auto k = checkpoint.metadata.get_int("general.sampling.top_k", 0, 1 << 20); k.ok()) advice.top_k = *k;
    return advice;
  }
  const auto config = nlohmann::json::parse(checkpoint.side_files.generation_config_json, nullptr, false);
  if (!config.is_object()) return advice;
  from_json(config, "temperature", advice.temperature);
  from_json(config, "top_k", advice.top_k);
  from_json(config, "top_p", advice.top_p);
  from_json(config, "min_p", advice.min_p);
  from_json(config, "repetition_penalty", advice.repetition_penalty);
  return advice;
}

}  // namespace kinglet
