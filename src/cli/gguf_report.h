// What the commands that write GGUF files share: flags for tensor types, and the summary at the end.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "convert/tensor_stream.h"

namespace CLI {
class App;
}

namespace kinglet::cli {

// --tensor and --imatrix.
void add_type_flags(CLI::App& command, std::vector<std::string>& tensors, std::string& importance);
// The list of types, for --help.
std::string type_help();
// A few lines for people, or one JSON object with every tensor.
std::string report_text(const std::string& path, std::string_view type, const convert::StreamReport& report, bool json);

}  // namespace kinglet::cli
