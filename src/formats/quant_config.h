// The `quantization_config` of a config.json: what a Hugging Face folder says about its quantised matrices. Which
// modules are quantised is not read here: their stored parts show it. Internal to formats/.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/metadata.h"

namespace kinglet {

struct QuantConfig {
  // How many neighbouring weights share a scale; kWhole stands for all of a row or a column.
  struct Tile {
    int64_t rows, columns;
    bool operator==(const Tile&) const = default;
  };
  static constexpr int64_t kWhole = -1;

  std::string key;     // of the object, for messages; empty where the file has none
  std::string method;  // value of quant_method
  std::vector<int64_t> bits;
  std::vector<Tile> tiles;
  bool zero_plus_one = false;  // classic GPTQ stores zero points less one
  std::string description;     // for people: "fp8 e4m3, blocks of 128x128"
};

// An empty config where the metadata has no quantization_config. kUnsupported names the key, the value found and the
// values that are supported.
Result<QuantConfig> read_quant_config(const Metadata& metadata);

}  // namespace kinglet
