#include "formats/gguf.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/quote.h"
#include "formats/checkpoint_parts.h"
#include "formats/gguf_cursor.h"

namespace kinglet {
namespace {

constexpr uint64_t kMostNameBytes = 65535;         // keys, as the format's description has it; tensor names, too
constexpr uint64_t kMostArrayElements = 1u << 24;  // the largest vocabularies have 2^18
constexpr uint64_t kMostMetadataBytes = 1u << 30;  // of memory that the key-value section may take
constexpr uint64_t kMostTensors = 1u << 20;        // the largest models have some thousands
constexpr uint64_t kMostKeys = 1u << 20;
constexpr uint32_t kMostDimensions = 4;
constexpr int64_t kMostAlignment = 1 << 20;
// The least that an entry takes in the file: bounds the counts before anything is reserved.
constexpr uint64_t kLeastKeyValueBytes = 8 + 1 + 4 + 1;
constexpr uint64_t kLeastTensorBytes = 8 + 1 + 4 + 4 + 8;

enum ValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
  kValueTypes
};

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, const std::string& name) : cursor_(bytes), bytes_(bytes), name_(name) {}
  Result<GgufFile> parse();

 private:
  Error error(const std::string& what) const { return {ErrorCode::kInvalid, name_ + ": " + what}; }
  Error truncated(const std::string& field, uint64_t wanted) const {
    return error(field + ": expected " + std::to_string(wanted) + " more bytes at offset " +
                 std::to_string(cursor_.position()) + ", found " + std::to_string(cursor_.remaining()) +
                 " (is the download complete?)");
  }
  template <class T>
  Result<T> number(const std::string& field) {
    T value{};
    if (!cursor_.read(value)) return truncated(field, sizeof(T));
    return value;
  }

  Status header();
  Result<uint64_t> count(const char* field, uint64_t least_bytes, uint64_t most);
  Result<std::string_view> text(const std::string& field, uint64_t most);
  Status charge(const std::string& field, uint64_t bytes);

  Status key_value(uint64_t position);
  Result<MetadataValue> value(const std::string& field, uint32_t type);
  Result<MetadataValue> array(const std::string& field);
  template <class T, class Held>
  Result<MetadataValue> numbers(const std::string& field, uint64_t size);
  Result<MetadataValue> booleans(const std::string& field, uint64_t size);
  Result<MetadataValue> strings(const std::string& field, uint64_t size);

  Status tensor_info(uint64_t position);
  Result<std::vector<int64_t>> dimensions(const std::string& field);
  Result<DType> tensor_type(const std::string& field);
  Status place_tensors();
  Status check_overlaps() const;

  GgufCursor cursor_;
  std::span<const std::byte> bytes_;
  const std::string& name_;
  GgufFile file_;
  std::vector<uint64_t> offsets_;  // of file_.tensors, relative to the data section
  std::unordered_set<std::string_view> tensor_names_;
  uint64_t tensor_count_ = 0;
  uint64_t key_value_count_ = 0;
  uint64_t metadata_bytes_ = 0;
};

Status Parser::header() {
  char magic[4];
  if (!cursor_.read(magic)) return truncated("magic", sizeof magic);
  if (std::string_view(magic, 4) != "GGUF") {
    return error("magic: expected \"GGUF\", found " + quote(std::string_view(magic, 4)) + ": not a GGUF file");
  }
  KL_TRY(const auto version, number<uint32_t>("version"));
  if (version != 0 && (version & 0xffffu) == 0) {
    return Error{ErrorCode::kUnsupported, name_ + ": version: expected 2 or 3, found " + std::to_string(version >> 24) +
                                              " with its bytes swapped: a big-endian GGUF file; get or make a "
                                              "little-endian one"};
  }
  if (version == 1) {
    return Error{ErrorCode::kUnsupported, name_ +
                                              ": version: expected 2 or 3, found 1, a format of 2023 that is no "
                                              "longer read; download a newer file or convert the model again"};
  }
  if (version != 2 && version != 3) {
    return Error{ErrorCode::kUnsupported, name_ + ": version: expected 2 or 3, found " + std::to_string(version)};
  }
  KL_TRY(tensor_count_, count("tensor_count", kLeastTensorBytes, kMostTensors));
  KL_TRY(key_value_count_, count("metadata_kv_count", kLeastKeyValueBytes, kMostKeys));
  return {};
}

Result<uint64_t> Parser::count(const char* field, uint64_t least_bytes, uint64_t most) {
  KL_TRY(const auto value, number<uint64_t>(field));
  most = std::min(most, cursor_.remaining() / least_bytes);
  if (value > most) {
    return error(std::string(field) + ": expected at most " + std::to_string(most) + " (the file is " +
                 std::to_string(bytes_.size()) + " bytes long), found " + std::to_string(value));
  }
  return value;
}

Result<std::string_view> Parser::text(const std::string& field, uint64_t most) {
  KL_TRY(const auto size, number<uint64_t>(field + ": length"));
  if (size > most) {
    return error(field + ": length: expected at most " + std::to_string(most) + ", found " + std::to_string(size));
  }
  std::string_view held;
  if (!cursor_.read_text(size, held)) return truncated(field, size);
  return held;
}

// Counts what the metadata takes in memory, so that a file of a few gigabytes can't ask for many times as much.
Status Parser::charge(const std::string& field, uint64_t bytes) {
  metadata_bytes_ += bytes;
  if (metadata_bytes_ <= kMostMetadataBytes) return {};
  return error(field + ": expected metadata of at most " + std::to_string(kMostMetadataBytes) + " bytes, found more");
}

Status Parser::key_value(uint64_t position) {
  const std::string where = "metadata key " + std::to_string(position + 1) + " of " + std::to_string(key_value_count_);
  KL_TRY(const auto key, text(where, kMostNameBytes));
  if (key.empty()) return error(where + ": expected a name, found an empty string");
  const std::string field = "metadata " + quote(key);
  if (file_.metadata.has(key)) return error(field + ": expected a unique key, found it twice");
  KL_RETURN_IF_ERROR(charge(field, 128 + key.size()));
  const size_t start = cursor_.position();
  KL_TRY(const auto type, number<uint32_t>(field + ": type"));
  KL_TRY(auto held, value(field, type));
  file_.raw_keys.push_back({key, bytes_.subspan(start, cursor_.position() - start)});
  file_.metadata.set(std::string(key), std::move(held));
  return {};
}

template <class Held, class T>
Result<MetadataValue> as_value(Result<T> number) {
  if (!number.ok()) return number.error();
  return MetadataValue(static_cast<Held>(*number));
}

// clang-format off: one line a type
Result<MetadataValue> Parser::value(const std::string& field, uint32_t type) {
  switch (type) {
    case kU8: return as_value<uint64_t>(number<uint8_t>(field));
    case kI8: return as_value<int64_t>(number<int8_t>(field));
    case kU16: return as_value<uint64_t>(number<uint16_t>(field));
    case kI16: return as_value<int64_t>(number<int16_t>(field));
    case kU32: return as_value<uint64_t>(number<uint32_t>(field));
    case kI32: return as_value<int64_t>(number<int32_t>(field));
    case kU64: return as_value<uint64_t>(number<uint64_t>(field));
    case kI64: return as_value<int64_t>(number<int64_t>(field));
    case kF32: return as_value<double>(number<float>(field));
    case kF64: return as_value<double>(number<double>(field));
    case kArray: return array(field);
    case kBool: {
      KL_TRY(const auto byte, number<uint8_t>(field));
      if (byte > 1) return error(field + ": expected a boolean (0 or 1), found " + std::to_string(byte));
      return MetadataValue(byte == 1);
    }
    case kString: {
      KL_TRY(const auto held, text(field, kMostMetadataBytes));
      KL_RETURN_IF_ERROR(charge(field, held.size()));
      return MetadataValue(std::string(held));
    }
    default:
      return error(field + ": type: expected 0 to " + std::to_string(kValueTypes - 1) + ", found " +
                   std::to_string(type));
  }
}

Result<MetadataValue> Parser::array(const std::string& field) {
  KL_TRY(const auto type, number<uint32_t>(field + ": element type"));
  KL_TRY(const auto size, number<uint64_t>(field + ": array length"));
  if (size > kMostArrayElements) {
    return error(field + ": array length: expected at most " + std::to_string(kMostArrayElements) + ", found " +
                 std::to_string(size));
  }
  switch (type) {
    case kU8: return numbers<uint8_t, int64_t>(field, size);
    case kI8: return numbers<int8_t, int64_t>(field, size);
    case kU16: return numbers<uint16_t, int64_t>(field, size);
    case kI16: return numbers<int16_t, int64_t>(field, size);
    case kU32: return numbers<uint32_t, int64_t>(field, size);
    case kI32: return numbers<int32_t, int64_t>(field, size);
    case kU64: return numbers<uint64_t, int64_t>(field, size);
    case kI64: return numbers<int64_t, int64_t>(field, size);
    case kF32: return numbers<float, double>(field, size);
    case kF64: return numbers<double, double>(field, size);
    case kBool: return booleans(field, size);
    case kString: return strings(field, size);
    case kArray:
      return Error{ErrorCode::kUnsupported,
                   name_ + ": " + field + ": element type: expected a scalar, found an array"};
    default:
      return error(field + ": element type: expected 0 to " + std::to_string(kValueTypes - 1) + ", found " +
                   std::to_string(type));
  }
}

// clang-format on

template <class T, class Held>
Result<MetadataValue> Parser::numbers(const std::string& field, uint64_t size) {
  std::string_view raw;
  if (!cursor_.read_text(size * sizeof(T), raw)) return truncated(field, size * sizeof(T));
  KL_RETURN_IF_ERROR(charge(field, size * sizeof(Held)));
  std::vector<Held> held(static_cast<size_t>(size));
  for (size_t i = 0; i < held.size(); ++i) {
    T element;
    std::memcpy(&element, raw.data() + i * sizeof(T), sizeof(T));
    if constexpr (std::is_same_v<T, uint64_t>) {
      if (element > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return error(field + ": element " + std::to_string(i) + ": expected at most 2^63 - 1, found " +
                     std::to_string(element));
      }
    }
    held[i] = static_cast<Held>(element);
  }
  return MetadataValue(std::move(held));
}

Result<MetadataValue> Parser::booleans(const std::string& field, uint64_t size) {
  std::string_view raw;
  if (!cursor_.read_text(size, raw)) return truncated(field, size);
  KL_RETURN_IF_ERROR(charge(field, size));
  std::vector<bool> held(raw.size());
  for (size_t i = 0; i < raw.size(); ++i) {
    const auto byte = static_cast<unsigned char>(raw[i]);
    if (byte > 1) {
      return error(field + ": element " + std::to_string(i) + ": expected a boolean (0 or 1), found " +
                   std::to_string(byte));
    }
    held[i] = byte == 1;
  }
  return MetadataValue(std::move(held));
}

Result<MetadataValue> Parser::strings(const std::string& field, uint64_t size) {
  if (size > cursor_.remaining() / sizeof(uint64_t)) return truncated(field, size * sizeof(uint64_t));
  KL_RETURN_IF_ERROR(charge(field, size * sizeof(std::string)));
  std::vector<std::string> held;
  held.reserve(static_cast<size_t>(size));
  for (uint64_t i = 0; i < size; ++i) {
    uint64_t length = 0;
    std::string_view element;
    // The field's name is made only where it is needed: vocabularies have a hundred thousand elements.
    if (!cursor_.read(length) || !cursor_.read_text(length, element)) {
      return truncated(field + ": element " + std::to_string(i), std::max<uint64_t>(length, sizeof length));
    }
    metadata_bytes_ += element.size();
    held.emplace_back(element);
  }
  KL_RETURN_IF_ERROR(charge(field, 0));
  return MetadataValue(std::move(held));
}

Result<std::vector<int64_t>> Parser::dimensions(const std::string& field) {
  KL_TRY(const auto size, number<uint32_t>(field + ": number of dimensions"));
  if (size > kMostDimensions) {
    return error(field + ": number of dimensions: expected at most " + std::to_string(kMostDimensions) + ", found " +
                 std::to_string(size));
  }
  std::vector<int64_t> shape(size);
  for (int64_t& dimension : shape) {
    KL_TRY(dimension, number<int64_t>(field + ": dimensions"));
    if (dimension < 0) return error(field + ": dimensions: expected 0 or more, found " + std::to_string(dimension));
  }
  std::reverse(shape.begin(), shape.end());  // the file has the contiguous dimension first
  return shape;
}

Result<DType> Parser::tensor_type(const std::string& field) {
  KL_TRY(const auto id, number<uint32_t>(field + ": type"));
  if (const auto dtype = dtype_from_ggml_id(id)) return *dtype;
  const bool retired = id == 4 || id == 5 || (id >= 31 && id <= 33) || (id >= 36 && id <= 38);
  return Error{ErrorCode::kUnsupported,
               name_ + ": " + field + ": type: found " + std::to_string(id) +
                   (retired ? ", which ggml has withdrawn; get or make a newer file of the model"
                            : ", expected one of the types that Kinglet knows (Q4_0, Q4_K, Q8_0, F16, ...)")};
}

Status Parser::tensor_info(uint64_t position) {
  const std::string where = "tensor " + std::to_string(position + 1) + " of " + std::to_string(tensor_count_);
  KL_TRY(const auto name, text(where + ": name", kMostNameBytes));
  if (name.empty()) return error(where + ": name: expected a name, found an empty string");
  const std::string field = "tensor " + quote(name);
  if (!tensor_names_.insert(name).second) return error(field + ": expected a unique name, found it twice");
  TensorView tensor;
  tensor.name = name;
  KL_TRY(tensor.shape, dimensions(field));
  KL_TRY(tensor.dtype, tensor_type(field));
  KL_TRY(const auto offset, number<uint64_t>(field + ": offset"));
  const DTypeInfo& info = dtype_info(tensor.dtype);
  const auto elements = shape_elements(tensor.shape);
  if (!elements || !tensor_bytes(tensor.dtype, *elements)) {
    return error(field + ": dimensions: expected a size below 2^63, found " + shape_text(tensor.shape));
  }
  if (tensor.columns() % info.block_values != 0) {
    return error(field + ": dimensions: expected rows of a multiple of " + std::to_string(info.block_values) +
                 " values for " + std::string(info.name) + ", found " + shape_text(tensor.shape));
  }
  offsets_.push_back(offset);
  file_.tensors.push_back(std::move(tensor));
  return {};
}

// Turns offsets into views of the data section, which starts at the next multiple of the alignment.
Status Parser::place_tensors() {
  KL_TRY(const auto alignment, file_.metadata.int_or("general.alignment", 1, kMostAlignment, 32));
  const auto step = static_cast<uint64_t>(alignment);
  if ((step & (step - 1)) != 0) {
    return error("metadata \"general.alignment\": expected a power of two, found " + std::to_string(step));
  }
  const uint64_t start = (cursor_.position() + step - 1) / step * step;  // a position in memory: cannot overflow
  const uint64_t available = bytes_.size() - std::min<uint64_t>(start, bytes_.size());
  for (size_t i = 0; i < file_.tensors.size(); ++i) {
    TensorView& tensor = file_.tensors[i];
    const std::string field = "tensor " + quote(tensor.name);
    const uint64_t offset = offsets_[i];
    const uint64_t size = *tensor_bytes(tensor.dtype, tensor.elements());
    if (offset % step != 0) {
      return error(field + ": offset: expected a multiple of " + std::to_string(step) + ", found " +
                   std::to_string(offset));
    }
    if (offset > available || size > available - offset) {
      return error(field + ": expected " + std::to_string(size) + " bytes at offset " + std::to_string(offset) +
                   " of the data section, found a section of " + std::to_string(available) +
                   " bytes (is the download complete?)");
    }
    if (size != 0) tensor.data = bytes_.subspan(static_cast<size_t>(start + offset), static_cast<size_t>(size));
    file_.tensor_bytes += size;
  }
  return check_overlaps();
}

Status Parser::check_overlaps() const {
  std::vector<const TensorView*> order;
  for (const TensorView& tensor : file_.tensors) {
    if (!tensor.data.empty()) order.push_back(&tensor);
  }
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) { return a->data.data() < b->data.data(); });
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i - 1]->data.data() + order[i - 1]->data.size() > order[i]->data.data()) {
      return error("tensor " + quote(order[i]->name) + ": offset: expected bytes of its own, found an overlap with " +
                   quote(order[i - 1]->name));
    }
  }
  return {};
}

Result<GgufFile> Parser::parse() {
  file_.metadata = Metadata(name_);
  KL_RETURN_IF_ERROR(header());
  for (uint64_t i = 0; i < key_value_count_; ++i) KL_RETURN_IF_ERROR(key_value(i));
  for (uint64_t i = 0; i < tensor_count_; ++i) KL_RETURN_IF_ERROR(tensor_info(i));
  KL_RETURN_IF_ERROR(place_tensors());
  return std::move(file_);
}

}  // namespace

Result<GgufFile> parse_gguf(std::span<const std::byte> bytes, const std::string& name) {
  return Parser(bytes, name).parse();
}

}  // namespace kinglet
