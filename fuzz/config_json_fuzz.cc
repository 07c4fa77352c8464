// config.json of any content: it must give an error or metadata that every getter can be asked about.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "formats/config_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = kinglet::flatten_config(text, "config.json");
  if (!config.ok()) return 0;
  for (const auto& [key, value] : config->values()) {
    (void)config->get_int(key, 0, 100);
    (void)config->get_float(key);
    (void)config->get_bool(key);
    (void)config->get_string(key);
    (void)config->get_ints(key);
    (void)config->get_floats(key);
    (void)config->get_strings(key);
  }
  return 0;
}
