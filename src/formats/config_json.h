// config.json as Metadata. Internal to formats/.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "formats/metadata.h"

namespace kinglet {

// Flattens a JSON object as metadata.h describes. `source` names the file in messages.
Result<Metadata> flatten_config(std::string_view text, const std::string& source);

}  // namespace kinglet
