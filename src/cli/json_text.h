// JSON as the commands print and store it.
#pragma once

#include <string>

namespace kinglet::cli {

// A line (or, indented, lines). Bytes that are no UTF-8, as a file's name may have, become U+FFFD.
// For nlohmann's json and ordered_json.
template <class Json>
std::string json_text(const Json& value, int indent = -1);

}  // namespace kinglet::cli
