// Makes small model files for tests and fuzzing seeds: right ones, and wrong ones on purpose. Tests only.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kinglet::testing_files {

template <class T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

inline void append_text(std::string& out, std::string_view text) {
  append<uint64_t>(out, text.size());
  out += text;
}

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Builds a GGUF file field by field. Counts and offsets are right unless a test overrides them.
class GgufBuilder {
 public:
  enum Type : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };

  template <class T>
  GgufBuilder& key(std::string_view name, Type type, T value) {
    start_key(name, type);
    append(keys_, value);
    return *this;
  }
  GgufBuilder& text(std::string_view name, std::string_view value) {
    start_key(name, kString);
    append_text(keys_, value);
    return *this;
  }
  GgufBuilder& texts(std::string_view name, const std::vector<std::string>& values) {
    start_key(name, kArray);
    append<uint32_t>(keys_, kString);
    append<uint64_t>(keys_, values.size());
    for (const std::string& value : values) append_text(keys_, value);
    return *this;
  }
  template <class T>
  GgufBuilder& array(std::string_view name, Type type, const std::vector<T>& values) {
    start_key(name, kArray);
    append<uint32_t>(keys_, type);
    append<uint64_t>(keys_, values.size());
    for (T value : values) append(keys_, value);
    return *this;
  }
  // Bytes as they are in place of a value.
  GgufBuilder& raw_key(std::string_view name, uint32_t type, std::string_view value) {
    start_key(name, type);
    keys_ += value;
    return *this;
  }
  // Dimensions as the file has them: contiguous first.
  GgufBuilder& tensor(std::string_view name, const std::vector<int64_t>& dimensions, uint32_t type, uint64_t offset) {
    append_text(tensors_, name);
    append<uint32_t>(tensors_, static_cast<uint32_t>(dimensions.size()));
    for (int64_t dimension : dimensions) append(tensors_, dimension);
    append(tensors_, type);
    append(tensors_, offset);
    ++tensor_count_;
    return *this;
  }
  GgufBuilder& data(std::string bytes) {
    data_ = std::move(bytes);
    return *this;
  }
  GgufBuilder& version(uint32_t version) {
    version_ = version;
    return *this;
  }
  GgufBuilder& counts(uint64_t tensors, uint64_t keys) {
    tensor_count_ = tensors;
    key_count_ = keys;
    return *this;
  }
  GgufBuilder& alignment(size_t bytes) {
    alignment_ = bytes;
    return *this;
  }

  std::string build() const {
    std::string out = "GGUF";
    append(out, version_);
    append(out, tensor_count_);
    append(out, key_count_);
    out += keys_ + tensors_;
    if (!data_.empty()) out.resize((out.size() + alignment_ - 1) / alignment_ * alignment_, '\0');
    return out + data_;
  }

 private:
  void start_key(std::string_view name, uint32_t type) {
    append_text(keys_, name);
    append(keys_, type);
    ++key_count_;
  }

  uint32_t version_ = 3;
  uint64_t tensor_count_ = 0, key_count_ = 0;
  size_t alignment_ = 32;
  std::string keys_, tensors_, data_;
};

// A small file that is right in all parts: every kind of value, a padded tensor, a quantised one.
inline GgufBuilder small_gguf() {
  return GgufBuilder()
      .text("general.architecture", "llama")
      .key<uint32_t>("llama.block_count", GgufBuilder::kU32, 2)
      .key<float>("llama.epsilon", GgufBuilder::kF32, 0.5f)
      .key<uint8_t>("flag", GgufBuilder::kBool, 1)
      .texts("tokenizer.ggml.tokens", {"<s>", "", "\xff\xfe"})
      .array<float>("tokenizer.ggml.scores", GgufBuilder::kF32, {0.0f, -1.5f})
      .array<int32_t>("tokenizer.ggml.token_type", GgufBuilder::kI32, {1, -3})
      .tensor("a.weight", {3, 2}, 0, 0)
      .tensor("b.weight", {32, 1}, 8, 32)
      .data(std::string(32 + 34, '\1'));
}

inline std::string safetensors(std::string_view header, std::string_view data = {}) {
  std::string out;
  append_text(out, header);
  return out + std::string(data);
}

inline std::string small_safetensors() {
  return safetensors(
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"BF16","shape":[],"data_offsets":[8,10]},"c":{"dtype":"I8","shape":[0,4],"data_offsets":[10,10]}})",
      "0123456789");
}

// A folder that goes away with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "kinglet-XXXXXX").string();
    if (::mkdtemp(pattern.data()) != nullptr) path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string path(const std::string& name = "") const {
    return name.empty() ? path_.string() : (path_ / name).string();
  }
  std::string write(const std::string& name, std::string_view contents) const {
    std::ofstream(path_ / name, std::ios::binary) << contents;
    return path(name);
  }

 private:
  std::filesystem::path path_;
};

}  // namespace kinglet::testing_files
