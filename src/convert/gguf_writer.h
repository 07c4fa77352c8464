// Writes a GGUF file, version 3, as a stream: keys and the list of tensors first, then each tensor's bytes in that
// order. The file appears under its name by one rename when it is complete; until then, and after an error, there is
// none. It doesn't know what the keys mean, except general.alignment.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"
#include "formats/metadata.h"

namespace kinglet::convert {

// The key-value section. Setting a key again replaces its value in its place.
class GgufKeys {
 public:
  void set_text(std::string_view key, std::string_view value);
  void set_u32(std::string_view key, uint32_t value);
  void set_f32(std::string_view key, float value);
  void set_bool(std::string_view key, bool value);
  void set_texts(std::string_view key, std::span<const std::string> values);
  void set_bytes(std::string_view key, std::string_view bytes);  // an array of U8
  void set_i32s(std::string_view key, std::span<const int32_t> values);
  void set_u32s(std::string_view key, std::span<const uint32_t> values);
  void set_f32s(std::string_view key, std::span<const float> values);
  void set_bools(std::string_view key, const std::vector<bool>& values);
  // A type number and a value as a file has them (Checkpoint::raw_keys).
  void set_raw(std::string_view key, std::span<const std::byte> typed_value);
  bool has(std::string_view key) const;
  void remove(std::string_view key);

  size_t count() const { return entries_.size(); }
  std::string bytes() const;
  // As a reader of the file will have them; `source` is what its messages call the file.
  Result<Metadata> metadata(const std::string& source) const;

 private:
  void set(std::string_view key, std::string typed_value);
  std::vector<std::pair<std::string, std::string>> entries_;
};

struct PlannedTensor {
  std::string name;
  std::vector<int64_t> shape;  // outermost first, as in TensorView
  DType type = DType::kF32;

  uint64_t bytes() const;
};

class GgufWriter {
 public:
  // Makes a temporary file beside `path` and reserves the room. kIo, kNotFound; kResource where the disk is too small.
  static Result<GgufWriter> create(const std::string& path, const GgufKeys& keys,
                                   std::span<const PlannedTensor> tensors);
  ~GgufWriter();  // without finish(): nothing is left
  GgufWriter(GgufWriter&& other) noexcept;
  GgufWriter& operator=(GgufWriter&&) = delete;

  // The next bytes of the current tensor; at its end the next one begins.
  Status write(std::span<const std::byte> bytes);
  // Everything to disk, then the rename. All tensors must have been written.
  Status finish();

  uint64_t file_bytes() const { return file_bytes_; }

 private:
  GgufWriter() = default;
  Error failed(const char* what) const;
  Status put(const void* bytes, size_t count);
  Status pad();

  std::string path_, temporary_;
  int file_ = -1;
  std::vector<uint64_t> sizes_;  // of the tensors
  size_t current_ = 0;
  uint64_t written_ = 0;  // of the current tensor
  uint64_t position_ = 0, file_bytes_ = 0;
};

}  // namespace kinglet::convert
