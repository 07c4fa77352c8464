#include "formats/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <unordered_set>
#include <utility>

#include "base/quote.h"
#include "formats/checkpoint_parts.h"
#include "formats/json_bounded.h"

namespace kinglet {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMostHeaderBytes = 100'000'000;  // the reference implementation's limit
constexpr size_t kMostDimensions = 16;
constexpr size_t kMostNames = 1u << 18;  // tensors, and fields of __metadata__; the largest files have some thousands
constexpr size_t kPrefix = 8;

struct Entry {
  std::string name;
  std::optional<std::string> dtype;
  std::optional<std::vector<uint64_t>> shape, data_offsets;
};

// Reads the header event by event, because a document tree would hide duplicate keys. The format has three levels:
// { name: { "dtype": text, "shape": [numbers], "data_offsets": [numbers] } }; "__metadata__" is checked and dropped.
class HeaderReader : public nlohmann::json_sax<Json> {
 public:
  std::vector<Entry>& entries() { return entries_; }
  const std::string& failure() const { return failure_; }

  bool null() override { return misplaced("null"); }
  bool boolean(bool) override { return misplaced("a boolean"); }
  bool number_integer(number_integer_t value) override { return misplaced("the number " + std::to_string(value)); }
  bool number_float(number_float_t, const string_t& text) override {
    return misplaced("the number " + quote(text, 32));
  }
  bool binary(binary_t&) override { return misplaced("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (list_ == nullptr) return misplaced("the number " + std::to_string(value));
    list_->push_back(value);
    return list_->size() <= kMostDimensions ||
           fail(where() + ": expected at most " + std::to_string(kMostDimensions) + " numbers, found more");
  }

  bool string(string_t& text) override {
    if (depth_ == 2 && in_metadata_) return true;
    if (depth_ != 2 || field_ != "dtype") return misplaced("the string " + quote(text, 32));
    entries_.back().dtype = std::move(text);
    return true;
  }

  bool key(string_t& name) override {
    if (depth_ == 1) return start_entry(name);
    if (!fields_.insert(name).second) return fail(where() + ": " + quote(name) + ": expected once, found twice");
    if (fields_.size() > kMostNames) return too_many();
    field_ = std::move(name);
    if (in_metadata_ || field_ == "dtype" || field_ == "shape" || field_ == "data_offsets") return true;
    return fail(where() + ": expected dtype, shape or data_offsets, found another field");
  }

  bool start_object(size_t) override {
    if (depth_ > 1) return misplaced("an object");
    ++depth_;
    return true;
  }
  bool end_object() override {
    if (depth_ == 2) field_.clear();
    --depth_;
    return true;
  }

  bool start_array(size_t) override {
    if (depth_ != 2 || in_metadata_ || list_ != nullptr || field_ == "dtype") {
      return misplaced("an array");
    }
    Entry& entry = entries_.back();
    list_ = &(field_ == "shape" ? entry.shape : entry.data_offsets).emplace();
    return true;
  }
  bool end_array() override {
    list_ = nullptr;
    return true;
  }

  bool parse_error(size_t, const std::string&, const Json::exception& error) override {
    return fail("header: expected JSON: " + json_error_text(error));
  }

 private:
  bool fail(std::string message) {
    failure_ = std::move(message);
    return false;
  }
  bool too_many() {
    return fail("header: expected at most " + std::to_string(kMostNames) + " names of a kind, found more");
  }
  bool misplaced(const std::string& found) {
    const char* expected = depth_ < 2                          ? "an object"
                           : in_metadata_ || field_ == "dtype" ? "a string"
                                                               : "an array of whole numbers";
    return fail(where() + ": expected " + expected + ", found " + found);
  }

  std::string where() const {
    if (depth_ == 0) return "header";
    const std::string tensor =
        in_metadata_ ? "__metadata__" : "tensor " + (entries_.empty() ? "" : quote(entries_.back().name));
    return field_.empty() ? tensor : tensor + ": " + quote(field_, 48);
  }

  bool start_entry(string_t& name) {
    if (!names_.insert(name).second) return fail("tensor " + quote(name) + ": expected once, found twice");
    if (names_.size() > kMostNames) return too_many();
    fields_.clear();
    field_.clear();
    in_metadata_ = name == "__metadata__";
    if (!in_metadata_) entries_.push_back({std::move(name), {}, {}, {}});
    return true;
  }

  std::vector<Entry> entries_;
  std::unordered_set<std::string> names_, fields_;
  std::string field_;
  std::vector<uint64_t>* list_ = nullptr;
  bool in_metadata_ = false;
  int depth_ = 0;
  std::string failure_;
};

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes), name_(name) {}
  Result<std::vector<TensorView>> parse();

 private:
  Error error(const std::string& what) const { return {ErrorCode::kInvalid, name_ + ": " + what}; }
  Result<std::string_view> header();
  Result<TensorView> tensor(Entry entry);
  Status check_tiling(const std::vector<TensorView>& tensors) const;

  std::span<const std::byte> bytes_;
  std::span<const std::byte> data_;  // what follows the header
  const std::string& name_;
};

Result<std::string_view> Parser::header() {
  uint64_t size = 0;
  if (bytes_.size() < kPrefix) {
    return error("header length: expected 8 bytes, found a file of " + std::to_string(bytes_.size()));
  }
  std::memcpy(&size, bytes_.data(), kPrefix);
  const uint64_t rest = bytes_.size() - kPrefix;
  if (size > kMostHeaderBytes) {
    return error("header length: expected at most " + std::to_string(kMostHeaderBytes) + ", found " +
                 std::to_string(size) + ": not a safetensors file, or a damaged one");
  }
  if (size > rest) {
    return error("header length: expected at most the " + std::to_string(rest) + " bytes that follow, found " +
                 std::to_string(size) + " (is the download complete?)");
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + kPrefix, static_cast<size_t>(size));
  if (!text.starts_with('{')) return error("header: expected it to start with {, found " + quote(text.substr(0, 1)));
  data_ = bytes_.subspan(kPrefix + static_cast<size_t>(size));
  return text;
}

Result<TensorView> Parser::tensor(Entry entry) {
  const std::string field = "tensor " + quote(entry.name);
  if (!entry.dtype || !entry.shape || !entry.data_offsets) {
    return error(field + ": expected dtype, shape and data_offsets, found " +
                 (entry.dtype ? (entry.shape ? "no data_offsets" : "no shape") : "no dtype"));
  }
  const auto dtype = dtype_from_name(*entry.dtype);
  if (!dtype || dtype_info(*dtype).block_values != 1) {
    return Error{
        ErrorCode::kUnsupported,
        name_ + ": " + field + ": dtype: expected a type such as F32, BF16 or U8, found " + quote(*entry.dtype, 32)};
  }
  TensorView view;
  view.name = std::move(entry.name);
  view.dtype = *dtype;
  for (uint64_t dimension : *entry.shape) {
    // A value outside int64 becomes negative and is refused with the rest.
    view.shape.push_back(static_cast<int64_t>(dimension));
  }
  const auto elements = shape_elements(view.shape);
  const auto size = elements ? tensor_bytes(*dtype, *elements) : std::nullopt;
  if (!size) return error(field + ": shape: expected a size below 2^63, found " + shape_text(view.shape));
  const std::vector<uint64_t>& range = *entry.data_offsets;
  if (range.size() != 2 || range[0] > range[1] || range[1] > data_.size()) {
    return error(field + ": data_offsets: expected a range within " + std::to_string(data_.size()) +
                 " bytes of data, found [" + (range.empty() ? "" : std::to_string(range[0])) +
                 (range.size() < 2 ? "" : ", " + std::to_string(range[1])) + "]" +
                 (range.size() > 2 ? " and more" : ""));
  }
  if (range[1] - range[0] != *size) {
    return error(field + ": data_offsets: expected " + std::to_string(*size) + " bytes for shape " +
                 shape_text(view.shape) + " of " + *entry.dtype + ", found " + std::to_string(range[1] - range[0]));
  }
  view.data = data_.subspan(static_cast<size_t>(range[0]), static_cast<size_t>(*size));
  return view;
}

// `tensors` in the order of their data.
Status Parser::check_tiling(const std::vector<TensorView>& tensors) const {
  const std::byte* expected = data_.data();
  for (const TensorView& tensor : tensors) {
    if (tensor.data.data() != expected) {
      return error("tensor " + quote(tensor.name) + ": data_offsets: expected to start at " +
                   std::to_string(expected - data_.data()) + ", found " +
                   std::to_string(tensor.data.data() - data_.data()) +
                   (tensor.data.data() < expected ? ": tensors overlap" : ": a hole in the data"));
    }
    expected += tensor.data.size();
  }
  if (expected != data_.data() + data_.size()) {
    return error("data: expected " + std::to_string(expected - data_.data()) + " bytes, found " +
                 std::to_string(data_.size()) + ": bytes that belong to no tensor");
  }
  return {};
}

Result<std::vector<TensorView>> Parser::parse() {
  KL_TRY(const auto text, header());
  HeaderReader reader;
  if (!Json::sax_parse(text, &reader)) return error(reader.failure());
  std::vector<TensorView> tensors;
  tensors.reserve(reader.entries().size());
  for (Entry& entry : reader.entries()) {
    KL_TRY(auto view, tensor(std::move(entry)));
    tensors.push_back(std::move(view));
  }
  std::sort(tensors.begin(), tensors.end(), [](const TensorView& a, const TensorView& b) {
    return std::pair(a.data.data(), a.data.size()) < std::pair(b.data.data(), b.data.size());
  });
  KL_RETURN_IF_ERROR(check_tiling(tensors));
  return tensors;
}

}  // namespace

Result<std::vector<TensorView>> parse_safetensors(std::span<const std::byte> bytes, const std::string& name) {
  return Parser(bytes, name).parse();
}

}  // namespace kinglet
