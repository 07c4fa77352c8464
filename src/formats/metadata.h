// Typed key/value metadata of a checkpoint: GGUF's key-value section, or config.json flattened with dots
// ("rope_scaling.factor"; arrays of scalars stay arrays; arrays of objects are flattened with indices: "x.0.y").
// null values are absent. Getters never coerce silently: a wrong type is an Error that names file, key, found,
// expected.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace kinglet {

using MetadataValue = std::variant<bool, int64_t, uint64_t, double, std::string, std::vector<bool>,
                                   std::vector<int64_t>, std::vector<double>, std::vector<std::string>>;

class Metadata {
 public:
  explicit Metadata(std::string source = "") : source_(std::move(source)) {}

  const std::string& source() const { return source_; }  // file name, for error messages
  void set(std::string key, MetadataValue value) { values_[std::move(key)] = std::move(value); }
  bool has(std::string_view key) const { return values_.find(key) != values_.end(); }
  const MetadataValue* find(std::string_view key) const;
  const std::map<std::string, MetadataValue, std::less<>>& values() const { return values_; }

  // Required values: Error(kInvalid) when absent or of another type. Integers accept any integral type in range, and
  // integral floats; floats accept integers.
  Result<int64_t> get_int(std::string_view key, int64_t min, int64_t max) const;
  Result<double> get_float(std::string_view key) const;  // finite
  Result<bool> get_bool(std::string_view key) const;
  Result<std::string> get_string(std::string_view key) const;
  Result<std::vector<bool>> get_bools(std::string_view key) const;
  Result<std::vector<int64_t>> get_ints(std::string_view key) const;
  Result<std::vector<double>> get_floats(std::string_view key) const;
  Result<std::vector<std::string>> get_strings(std::string_view key) const;

  // Optional values: `fallback` when absent, still an Error when of another type or out of range.
  Result<int64_t> int_or(std::string_view key, int64_t min, int64_t max, int64_t fallback) const;
  Result<double> float_or(std::string_view key, double fallback) const;
  Result<bool> bool_or(std::string_view key, bool fallback) const;
  Result<std::string> string_or(std::string_view key, std::string fallback) const;

 private:
  std::string source_;
  std::map<std::string, MetadataValue, std::less<>> values_;
};

}  // namespace kinglet
