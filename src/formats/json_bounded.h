// JSON from untrusted files: parsed without exceptions, with bounds on depth. Internal to formats/; for .cc files only,
// because it shows nlohmann's types.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kinglet {

constexpr size_t kMostJsonDepth = 64;

// The parsed text. `source` (a file) starts the message of an error. Of duplicate keys the last one counts, as in
// Python.
Result<nlohmann::json> parse_json(std::string_view text, const std::string& source);

// What went wrong, without the library's decoration.
std::string json_error_text(const nlohmann::json::exception& error);

}  // namespace kinglet
