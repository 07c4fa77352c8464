// Presets: a model, a system prompt and parameters under a name, as JSON files in the configuration folder. Used
// wherever a model is named.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/sampling_flags.h"

namespace kinglet::cli {

struct Preset {
  std::string name;
  std::string model;
  std::optional<std::string> draft;  // the drafting model
  std::optional<std::string> system;
  std::optional<int64_t> context, max_tokens;
  std::optional<bool> think;
  SamplingFlags sampling;
};

// ${XDG_CONFIG_HOME:-~/.config}/kinglet, empty when no home folder is known.
std::string config_folder();

// Nothing when there is none of this name, and for names that no preset can have. One that is there and can't be read
// is an error: whoever names it would otherwise be told that there is no such model.
Result<std::optional<Preset>> find_preset(const std::string& name);
Result<Preset> load_preset(const std::string& name);
Status save_preset(const Preset& preset);
Status remove_preset(const std::string& name);
std::vector<std::string> preset_names();

}  // namespace kinglet::cli
