// StreamingDetokenizer: tokens in one at a time, text out as soon as it is certain. The pieces joined are exactly
// Tokenizer::decode of all ids, for every split, and each piece is complete UTF-8. Not for stop strings or reasoning.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "text/tokenizer.h"

struct KtStream;

namespace kinglet {

class StreamingDetokenizer {
 public:
  explicit StreamingDetokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special = true);
  ~StreamingDetokenizer();
  StreamingDetokenizer(StreamingDetokenizer&& other) noexcept;
  StreamingDetokenizer& operator=(StreamingDetokenizer&& other) noexcept;

  // The text that became certain with this token; often empty in the middle of a character.
  std::string push(int32_t id);
  // What was held back; bytes that never became a character come out as U+FFFD. Afterwards it starts anew.
  std::string finish();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  KtStream* stream_ = nullptr;
};

}  // namespace kinglet
