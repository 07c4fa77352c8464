// kinglet inspect --plan: what a model would need of which only config.json is there.
#pragma once

#include <string>

#include "base/result.h"
#include "nn/model.h"

namespace kinglet::cli {

// `path`: a config.json or a folder with one. `type`: a mix's name. `kv`: the name of the cache's type, for people.
Result<std::string> plan_report(const std::string& path, const std::string& type, const std::string& kv,
                                const ModelOptions& options, bool json);

}  // namespace kinglet::cli
