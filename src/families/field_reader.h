// Reading metadata into a spec without an `if` a key: a FieldReader remembers the first thing that was wrong and goes
// on with harmless values; the caller asks for status() once, at the end.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/near_match.h"
#include "formats/metadata.h"

namespace kinglet {

class FieldReader {
 public:
  // Keys are looked up with `prefix` in front ("llama.", "text_config.", or nothing).
  FieldReader(const Metadata& metadata, std::string prefix) : metadata_(metadata), prefix_(std::move(prefix)) {}

  bool has(std::string_view key) const { return metadata_.has(full(key)); }
  bool is_integers(std::string_view key) const { return metadata_.get_ints(full(key)).ok(); }
  int64_t integer(std::string_view key, int64_t min, int64_t max) {
    return keep(metadata_.get_int(full(key), min, max), min);
  }
  int64_t integer_or(std::string_view key, int64_t min, int64_t max, int64_t fallback) {
    return keep(metadata_.int_or(full(key), min, max, fallback), fallback);
  }
  double number(std::string_view key) { return keep(metadata_.get_float(full(key)), 1.0); }
  double number_or(std::string_view key, double fallback) {
    return keep(metadata_.float_or(full(key), fallback), fallback);
  }
  bool boolean_or(std::string_view key, bool fallback) {
    return keep(metadata_.bool_or(full(key), fallback), fallback);
  }
  std::string string_or(std::string_view key, const std::string& fallback) {
    return keep(metadata_.string_or(full(key), fallback), fallback);
  }
  std::vector<bool> booleans(std::string_view key) { return keep(metadata_.get_bools(full(key)), {}); }
  std::vector<int64_t> integers(std::string_view key) { return keep(metadata_.get_ints(full(key)), {}); }
  // A list, or a single integer as a list of one.
  std::vector<int64_t> integers_or_one(std::string_view key) {
    if (auto one = metadata_.get_int(full(key), INT64_MIN, INT64_MAX); one.ok()) return {one.value()};
    return integers(key);
  }
  std::vector<double> numbers(std::string_view key) { return keep(metadata_.get_floats(full(key)), {}); }
  std::vector<std::string> strings(std::string_view key) { return keep(metadata_.get_strings(full(key)), {}); }

  // Remembers an error of the caller's own checks: "<file>: <key>: <what>".
  void fail(std::string_view key, const std::string& what) {
    if (status_.ok()) status_ = Error{ErrorCode::kInvalid, metadata_.source() + ": " + full(key) + ": " + what};
  }
  void unsupported(std::string_view key, const std::string& what) {
    if (status_.ok()) status_ = Error{ErrorCode::kUnsupported, metadata_.source() + ": " + full(key) + ": " + what};
  }
  // A name that is none of those `supported`: the message lists them, nearest first.
  void unknown(std::string_view key, const std::string& found, std::initializer_list<std::string_view> supported) {
    unsupported(key, "found \"" + found + "\", supported are " +
                         nearest_names(found, {supported.begin(), supported.size()}, supported.size()));
  }
  const Status& status() const { return status_; }

 private:
  std::string full(std::string_view key) const { return prefix_ + std::string(key); }
  template <class T>
  T keep(Result<T> result, T otherwise) {
    if (result.ok()) return std::move(result).value();
    if (status_.ok()) status_ = result.error();
    return otherwise;
  }

  const Metadata& metadata_;
  std::string prefix_;
  Status status_;
};

}  // namespace kinglet
