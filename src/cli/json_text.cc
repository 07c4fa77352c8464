#include "cli/json_text.h"

#include <nlohmann/json.hpp>

namespace kinglet::cli {

template <class Json>
std::string json_text(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace) + "\n";
}

template std::string json_text(const nlohmann::json& value, int indent);
template std::string json_text(const nlohmann::ordered_json& value, int indent);

}  // namespace kinglet::cli
