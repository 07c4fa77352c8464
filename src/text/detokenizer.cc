#include "text/detokenizer.h"

#include <utility>

#include "text/textlib_bridge.h"

namespace kinglet {

StreamingDetokenizer::StreamingDetokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special)
    : tokenizer_(std::move(tokenizer)), stream_(kt_stream_new(tokenizer_->handle(), skip_special ? 1 : 0)) {}

StreamingDetokenizer::~StreamingDetokenizer() {
  kt_stream_free(stream_);
}

StreamingDetokenizer::StreamingDetokenizer(StreamingDetokenizer&& other) noexcept
    : tokenizer_(std::move(other.tokenizer_)), stream_(std::exchange(other.stream_, nullptr)) {}

StreamingDetokenizer& StreamingDetokenizer::operator=(StreamingDetokenizer&& other) noexcept {
  std::swap(tokenizer_, other.tokenizer_);
  std::swap(stream_, other.stream_);
  return *this;
}

std::string StreamingDetokenizer::push(int32_t id) {
  if (stream_ == nullptr || id < 0) return "";
  textlib::Buffer out;
  return kt_stream_push(stream_, static_cast<uint32_t>(id), out.out()) == KT_OK ? out.text() : "";
}

std::string StreamingDetokenizer::finish() {
  if (stream_ == nullptr) return "";
  textlib::Buffer out;
  return kt_stream_finish(stream_, out.out()) == KT_OK ? out.text() : "";
}

}  // namespace kinglet
