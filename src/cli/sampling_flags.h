// The sampling flags, and where their defaults come from: flag, preset, the model's own advice, ours.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/sampling_wishes.h"
#include "sampling/sampling_params.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace kinglet::cli {

// The most tokens that a flag may speak of.
inline constexpr int64_t kMostTokens = int64_t{1} << 28;

// Ranges that flags, presets and /set share, beside those of sampling/.
inline constexpr ParameterRange kContextRange{
    .name = "context", .least = 0, .most = static_cast<double>(kMostTokens), .whole = true};
inline constexpr ParameterRange kAnswerRange{
    .name = "max_tokens", .least = 1, .most = static_cast<double>(kMostTokens), .whole = true};

// Makes a flag refuse numbers outside of the range. What is no number at all is left to the flag's type.
CLI::Option* check_range(CLI::Option* flag, const ParameterRange& range);

// What the flags or a preset said.
struct SamplingFlags : SamplingWishes {
  std::vector<std::string> bias_flags;  // "ID=VALUE"

  // What is absent here is taken from `other`.
  void fill_from(const SamplingWishes& other);
  void fill_from(const SamplingFlags& other);
};

void add_sampling_flags(CLI::App& command, SamplingFlags& flags);
// --think, --no-think; neither leaves `think` absent, and the template decides.
void add_think_flags(CLI::App& command, std::optional<bool>& think);

// With our defaults where nobody said anything. kInvalid for a bias that is none.
Result<SamplingParams> sampling_params(const SamplingFlags& flags);

}  // namespace kinglet::cli
