#include "convert/gguf_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "base/check.h"
#include "base/output_file.h"
#include "formats/gguf.h"

namespace kinglet::convert {
namespace {

static_assert(std::endian::native == std::endian::little, "values are written as they lie in memory");

constexpr uint64_t kAlignment = 32;
enum ValueType : uint32_t { kU8 = 0, kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kText = 8, kArray = 9 };

template <class T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void append_text(std::string& out, std::string_view text) {
  append<uint64_t>(out, text.size());
  out += text;
}

template <class T>
std::string typed(ValueType type, T value) {
  std::string out;
  append<uint32_t>(out, type);
  append(out, value);
  return out;
}
std::string array_head(ValueType type, size_t count) {
  std::string out;
  append<uint32_t>(out, kArray);
  append<uint32_t>(out, type);
  append<uint64_t>(out, count);
  return out;
}
template <class T>
std::string typed_array(ValueType type, std::span<const T> values) {
  std::string out = array_head(type, values.size());
  out.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  return out;
}

uint64_t aligned(uint64_t position) {
  return (position + kAlignment - 1) / kAlignment * kAlignment;
}

std::string head_of(const GgufKeys& keys, std::span<const PlannedTensor> tensors) {
  std::string out = "GGUF";
  append<uint32_t>(out, 3);
  append<uint64_t>(out, tensors.size());
  append<uint64_t>(out, keys.count());
  out += keys.bytes();
  uint64_t offset = 0;
  for (const PlannedTensor& tensor : tensors) {
    append_text(out, tensor.name);
    append<uint32_t>(out, static_cast<uint32_t>(tensor.shape.size()));
    for (size_t i = tensor.shape.size(); i-- > 0;) append(out, tensor.shape[i]);  // the contiguous dimension first
    append<uint32_t>(out, static_cast<uint32_t>(tensor.type));
    append(out, offset);
    offset = aligned(offset + tensor.bytes());
  }
  return out;
}

}  // namespace

void GgufKeys::set(std::string_view key, std::string typed_value) {
  for (auto& [name, value] : entries_)
    if (name == key) {
      value = std::move(typed_value);
      return;
    }
  entries_.emplace_back(key, std::move(typed_value));
}

void GgufKeys::set_text(std::string_view key, std::string_view value) {
  std::string out;
  append<uint32_t>(out, kText);
  append_text(out, value);
  set(key, std::move(out));
}
void GgufKeys::set_u32(std::string_view key, uint32_t value) {
  set(key, typed(kU32, value));
}
void GgufKeys::set_f32(std::string_view key, float value) {
  set(key, typed(kF32, value));
}
void GgufKeys::set_bool(std::string_view key, bool value) {
  set(key, typed(kBool, static_cast<uint8_t>(value)));
}
void GgufKeys::set_texts(std::string_view key, std::span<const std::string> values) {
  std::string out = array_head(kText, values.size());
  for (const std::string& value : values) append_text(out, value);
  set(key, std::move(out));
}
void GgufKeys::set_bytes(std::string_view key, std::string_view bytes) {
  set(key, typed_array(kU8, std::span(bytes.data(), bytes.size())));
}
void GgufKeys::set_i32s(std::string_view key, std::span<const int32_t> values) {
  set(key, typed_array(kI32, values));
}
void GgufKeys::set_u32s(std::string_view key, std::span<const uint32_t> values) {
  set(key, typed_array(kU32, values));
}
void GgufKeys::set_f32s(std::string_view key, std::span<const float> values) {
  set(key, typed_array(kF32, values));
}
void GgufKeys::set_bools(std::string_view key, const std::vector<bool>& values) {
  std::string out = array_head(kBool, values.size());
  for (const bool value : values) append(out, static_cast<uint8_t>(value));
  set(key, std::move(out));
}
void GgufKeys::set_raw(std::string_view key, std::span<const std::byte> typed_value) {
  set(key, std::string(reinterpret_cast<const char*>(typed_value.data()), typed_value.size()));
}

bool GgufKeys::has(std::string_view key) const {
  return std::any_of(entries_.begin(), entries_.end(), [&](const auto& entry) { return entry.first == key; });
}
void GgufKeys::remove(std::string_view key) {
  std::erase_if(entries_, [&](const auto& entry) { return entry.first == key; });
}

std::string GgufKeys::bytes() const {
  std::string out;
  for (const auto& [key, value] : entries_) {
    append_text(out, key);
    out += value;
  }
  return out;
}

Result<Metadata> GgufKeys::metadata(const std::string& source) const {
  const std::string head = head_of(*this, {});
  KL_TRY(GgufFile file, parse_gguf(std::as_bytes(std::span(head)), source));
  return std::move(file.metadata);
}

uint64_t PlannedTensor::bytes() const {
  uint64_t elements = 1;
  for (const int64_t dimension : shape) elements *= static_cast<uint64_t>(dimension);
  return row_bytes(type, elements);
}

Error GgufWriter::failed(const char* what) const {
  const int number = errno;
  const bool full = number == ENOSPC || number == EDQUOT || number == EFBIG;
  std::string message = path_ + ": " + what + ": " + std::strerror(number);
  if (full) message += " (" + std::to_string(file_bytes_) + " bytes are needed)";
  return {full ? ErrorCode::kResource : number == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, message};
}

Result<GgufWriter> GgufWriter::create(const std::string& path, const GgufKeys& keys,
                                      std::span<const PlannedTensor> tensors) {
  KL_RETURN_IF_ERROR(check_output_file(path));
  GgufWriter writer;
  writer.path_ = path;
  const std::string temporary = temporary_name(path);
  writer.file_ = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (writer.file_ < 0) return writer.failed("cannot be written");
  writer.temporary_ = temporary;
  const std::string head = head_of(keys, tensors);
  writer.file_bytes_ = aligned(head.size());
  for (const PlannedTensor& tensor : tensors) {
    writer.sizes_.push_back(tensor.bytes());
    writer.file_bytes_ = aligned(writer.file_bytes_ + tensor.bytes());
  }
  // Room is reserved where the file system can do it, so that a full disk shows now and not in an hour.
  if (::fallocate(writer.file_, 0, 0, static_cast<off_t>(writer.file_bytes_)) != 0 &&
      (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
    return writer.failed("cannot be written");
  KL_RETURN_IF_ERROR(writer.put(head.data(), head.size()));
  KL_RETURN_IF_ERROR(writer.pad());
  return writer;
}

GgufWriter::GgufWriter(GgufWriter&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, "")),
      file_(std::exchange(other.file_, -1)),
      sizes_(std::move(other.sizes_)),
      current_(other.current_),
      written_(other.written_),
      position_(other.position_),
      file_bytes_(other.file_bytes_) {}

GgufWriter::~GgufWriter() {
  if (file_ >= 0) ::close(file_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Status GgufWriter::put(const void* bytes, size_t count) {
  const auto* at = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t done = ::write(file_, at, count);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return failed("cannot be written");
    at += done;
    count -= static_cast<size_t>(done);
    position_ += static_cast<uint64_t>(done);
  }
  return {};
}

Status GgufWriter::pad() {
  static constexpr char kZeros[kAlignment] = {};
  return put(kZeros, static_cast<size_t>(aligned(position_) - position_));
}

Status GgufWriter::write(std::span<const std::byte> bytes) {
  while (current_ < sizes_.size() && sizes_[current_] == 0) ++current_;
  if (bytes.empty()) return {};
  KL_CHECK(current_ < sizes_.size() && bytes.size() <= sizes_[current_] - written_, "bytes that belong to no tensor");
  KL_RETURN_IF_ERROR(put(bytes.data(), bytes.size()));
  written_ += bytes.size();
  if (written_ < sizes_[current_]) return {};
  written_ = 0;
  ++current_;
  return pad();
}

Status GgufWriter::finish() {
  KL_RETURN_IF_ERROR(write({}));
  KL_CHECK(current_ == sizes_.size(), "a tensor was not written");
  if (::fsync(file_) != 0) return failed("cannot be written");
  if (::close(std::exchange(file_, -1)) != 0) return failed("cannot be written");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return failed("cannot be written");
  temporary_.clear();
  const std::string folder = std::filesystem::path(path_).parent_path().string();
  const int handle = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle >= 0) {
    ::fsync(handle);  // the rename; some file systems can't, and theirs are as durable as they get
    ::close(handle);
  }
  return {};
}

}  // namespace kinglet::convert
