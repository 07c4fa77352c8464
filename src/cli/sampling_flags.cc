#include "cli/sampling_flags.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "kinglet/kinglet.h"

namespace kinglet::cli {
namespace {

Result<std::pair<int32_t, float>> parse_bias(const std::string& text) {
  const Error bad{ErrorCode::kInvalid,
                  "--logit-bias: found \"" + text + "\", expected ID=VALUE such as 42=-1.5 or 42=-inf"};
  const size_t equals = text.find('=');
  if (equals == std::string::npos) return bad;
  try {
    size_t used_id = 0, used_value = 0;
    const std::string id_text = text.substr(0, equals), value_text = text.substr(equals + 1);
    const int id = std::stoi(id_text, &used_id);
    const float value = std::stof(value_text, &used_value);
    if (used_id != id_text.size() || used_value != value_text.size()) return bad;
    return std::pair<int32_t, float>{id, value};
  } catch (const std::exception&) {
    return bad;
  }
}

}  // namespace

void SamplingFlags::fill_from(const SamplingWishes& other) {
  SamplingWishes::fill_from(other);
}

void SamplingFlags::fill_from(const SamplingFlags& other) {
  SamplingWishes::fill_from(other);
  if (bias_flags.empty()) bias_flags = other.bias_flags;
}

CLI::Option* check_range(CLI::Option* flag, const ParameterRange& range) {
  return flag->check([range](const std::string& text) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    const bool number = end != text.c_str() && *end == '\0';
    return !number || range.contains(value) ? std::string() : "found " + text + ", expected " + range.text();
  });
}

void add_sampling_flags(CLI::App& command, SamplingFlags& f) {
  const api::Sampling defaults;
  const auto add = [&command](const char* name, const char* field, auto& to, const char* help, auto value) {
    auto* flag = command.add_option(name, to, fmt::format("{} (default {})", help, value))->group("Sampling");
    check_range(flag, sampling_range(field));
  };
  add("--temp,--temperature", "temperature", f.temperature, "0: always the most probable token", defaults.temperature);
  add("--top-k", "top_k", f.top_k, "Keep the k most probable tokens; 0: all", defaults.top_k);
  add("--top-p", "top_p", f.top_p, "Keep the most probable tokens up to this probability", defaults.top_p);
  add("--min-p", "min_p", f.min_p, "Keep tokens with this share of the best one's probability", defaults.min_p);
  add("--typical", "typical_p", f.typical_p, "Locally typical sampling; 1: off", defaults.typical_p);
  add("--repeat-penalty", "repetition_penalty", f.repetition_penalty, "Penalty on recent tokens; 1: off",
      defaults.repetition_penalty);
  add("--repeat-last-n", "penalty_last_n", f.penalty_last_n, "How far the repeat penalty looks back; -1: everything",
      defaults.repetition_last_n);
  add("--presence-penalty", "presence_penalty", f.presence_penalty, "Subtracted from tokens that were generated before",
      defaults.presence_penalty);
  add("--frequency-penalty", "frequency_penalty", f.frequency_penalty, "Subtracted once for each time they were",
      defaults.frequency_penalty);
  command.add_option("--seed", f.seed, "The same seed gives the same text")
      ->check([](const std::string& text) {  // the library would wrap it around
        return text.starts_with("-") ? "found " + text + ", expected a whole number from 0" : std::string();
      })
      ->group("Sampling");
  command.add_option("--logit-bias", f.bias_flags, "ID=VALUE, added to a token's logit; may be repeated")
      ->allow_extra_args(false)
      ->group("Sampling");
}

void add_think_flags(CLI::App& command, std::optional<bool>& think) {
  // By a function: bound to an optional, the library's flag would be a count, and start as 0.
  command.add_flag_function(
      "--think,!--no-think", [&think](int64_t count) { think = count > 0; },
      "Let the model think first, or not (where its template knows)");
}

Result<SamplingParams> sampling_params(const SamplingFlags& f) {
  SamplingParams p = f.params();
  for (const std::string& text : f.bias_flags) {
    KL_TRY(const auto bias, parse_bias(text));
    p.logit_bias[bias.first] = bias.second;
  }
  return p;
}

}  // namespace kinglet::cli
