#include "formats/metadata.h"

#include <cmath>
#include <limits>
#include <type_traits>

#include "base/quote.h"

namespace kinglet {
namespace {

std::string describe(const MetadataValue& value) {
  return std::visit(
      [](const auto& held) -> std::string {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, bool>) {
          return held ? "the boolean true" : "the boolean false";
        } else if constexpr (std::is_integral_v<T>) {
          return "the integer " + std::to_string(held);
        } else if constexpr (std::is_same_v<T, double>) {
          return "the number " + std::to_string(held);
        } else if constexpr (std::is_same_v<T, std::string>) {
          return "the string " + quote(held, 48);
        } else {
          using Element = typename T::value_type;
          const char* kind = std::is_same_v<Element, bool>          ? "booleans"
                             : std::is_same_v<Element, int64_t>     ? "integers"
                             : std::is_same_v<Element, std::string> ? "strings"
                                                                    : "numbers";
          return "an array of " + std::to_string(held.size()) + " " + kind;
        }
      },
      value);
}

Error wrong(const Metadata& metadata, std::string_view key, const std::string& expected, const MetadataValue& found) {
  return {ErrorCode::kInvalid,
          metadata.source() + ": " + std::string(key) + ": expected " + expected + ", found " + describe(found)};
}

Error absent(const Metadata& metadata, std::string_view key, const std::string& expected) {
  return {ErrorCode::kInvalid,
          metadata.source() + ": " + std::string(key) + ": expected " + expected + ", but the key is absent"};
}

// The integer that a value stands for: of an integral type, or a float without fraction that int64 can hold.
std::optional<int64_t> to_integer(const MetadataValue& value) {
  if (const auto* number = std::get_if<int64_t>(&value)) return *number;
  if (const auto* number = std::get_if<uint64_t>(&value)) {
    if (*number <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return static_cast<int64_t>(*number);
  }
  if (const auto* number = std::get_if<double>(&value)) {
    if (*number >= -0x1p63 && *number < 0x1p63 && std::trunc(*number) == *number) return static_cast<int64_t>(*number);
  }
  return std::nullopt;
}

std::optional<double> to_finite(const MetadataValue& value) {
  if (const auto* number = std::get_if<double>(&value)) {
    return std::isfinite(*number) ? std::optional(*number) : std::nullopt;
  }
  if (const auto* number = std::get_if<int64_t>(&value)) return static_cast<double>(*number);
  if (const auto* number = std::get_if<uint64_t>(&value)) return static_cast<double>(*number);
  return std::nullopt;
}

bool is_empty_array(const MetadataValue& value) {
  return std::visit(
      [](const auto& held) {
        if constexpr (requires { typename std::decay_t<decltype(held)>::allocator_type; } &&
                      !std::is_same_v<std::decay_t<decltype(held)>, std::string>) {
          return held.empty();
        } else {
          return false;
        }
      },
      value);
}

// A value that is held as T and needs no conversion. An empty array has no element type to be wrong.
template <class T>
Result<T> get_as(const Metadata& metadata, std::string_view key, const char* expected) {
  const MetadataValue* value = metadata.find(key);
  if (value == nullptr) return absent(metadata, key, expected);
  if (const T* held = std::get_if<T>(value)) return *held;
  if constexpr (!std::is_same_v<T, bool> && !std::is_same_v<T, std::string>) {
    if (is_empty_array(*value)) return T{};
  }
  return wrong(metadata, key, expected, *value);
}

}  // namespace

const MetadataValue* Metadata::find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

Result<int64_t> Metadata::get_int(std::string_view key, int64_t min, int64_t max) const {
  const std::string expected = "an integer from " + std::to_string(min) + " to " + std::to_string(max);
  const MetadataValue* value = find(key);
  if (value == nullptr) return absent(*this, key, expected);
  const auto number = to_integer(*value);
  if (!number || *number < min || *number > max) return wrong(*this, key, expected, *value);
  return *number;
}

Result<double> Metadata::get_float(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) return absent(*this, key, "a finite number");
  const auto number = to_finite(*value);
  if (!number) return wrong(*this, key, "a finite number", *value);
  return *number;
}

Result<bool> Metadata::get_bool(std::string_view key) const {
  return get_as<bool>(*this, key, "a boolean");
}

Result<std::string> Metadata::get_string(std::string_view key) const {
  return get_as<std::string>(*this, key, "a string");
}

Result<std::vector<bool>> Metadata::get_bools(std::string_view key) const {
  return get_as<std::vector<bool>>(*this, key, "an array of booleans");
}

Result<std::vector<int64_t>> Metadata::get_ints(std::string_view key) const {
  return get_as<std::vector<int64_t>>(*this, key, "an array of integers");
}

Result<std::vector<double>> Metadata::get_floats(std::string_view key) const {
  if (const MetadataValue* value = find(key)) {
    if (const auto* integers = std::get_if<std::vector<int64_t>>(value)) {
      return std::vector<double>(integers->begin(), integers->end());
    }
  }
  return get_as<std::vector<double>>(*this, key, "an array of numbers");
}

Result<std::vector<std::string>> Metadata::get_strings(std::string_view key) const {
  return get_as<std::vector<std::string>>(*this, key, "an array of strings");
}

Result<int64_t> Metadata::int_or(std::string_view key, int64_t min, int64_t max, int64_t fallback) const {
  return has(key) ? get_int(key, min, max) : Result<int64_t>(fallback);
}

Result<double> Metadata::float_or(std::string_view key, double fallback) const {
  return has(key) ? get_float(key) : Result<double>(fallback);
}

Result<bool> Metadata::bool_or(std::string_view key, bool fallback) const {
  return has(key) ? get_bool(key) : Result<bool>(fallback);
}

Result<std::string> Metadata::string_or(std::string_view key, std::string fallback) const {
  return has(key) ? get_string(key) : Result<std::string>(std::move(fallback));
}

}  // namespace kinglet
