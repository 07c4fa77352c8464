// What this folder's sources share to talk to textlib: slices, buffers and errors. Private to src/text/.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "kinglet_textlib.h"

namespace kinglet::textlib {

inline KtSlice slice(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view view(KtSlice slice) {
  return {reinterpret_cast<const char*>(slice.data), slice.size};
}

// Owns a KtBuffer.
class Buffer {
 public:
  Buffer() = default;
  ~Buffer() { kt_buffer_free(buffer_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  KtBuffer* out() { return &buffer_; }
  std::string_view view() const { return {reinterpret_cast<const char*>(buffer_.data), buffer_.size}; }
  std::string text() const { return std::string(view()); }
  const uint32_t* ids() const { return reinterpret_cast<const uint32_t*>(buffer_.data); }
  size_t id_count() const { return buffer_.size / sizeof(uint32_t); }

 private:
  KtBuffer buffer_{nullptr, 0};
};

// The Error of a failed call: `buffer` holds its text.
inline Error error(KtStatus status, const Buffer& buffer) {
  ErrorCode code = ErrorCode::kInvalid;
  if (status == KT_UNSUPPORTED || status == KT_INTERNAL) code = ErrorCode::kUnsupported;
  if (status == KT_RESOURCE) code = ErrorCode::kResource;
  return {code, buffer.text()};
}

}  // namespace kinglet::textlib
