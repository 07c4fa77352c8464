// Small vocabularies in the shape of GGUF metadata. For tests only.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "formats/checkpoint.h"
#include "text/tokenizer.h"

namespace kinglet::test {

// The byte-level alphabet: what each byte is spelled as.
inline std::string byte_spelling(unsigned byte) {
  unsigned code = byte;
  if (byte <= 0x20) code = 0x100 + byte;
  if (byte >= 0x7f && byte <= 0xa0) code = 0x121 + byte - 0x7f;
  if (byte == 0xad) code = 0x143;
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
}

inline Checkpoint gguf(Metadata metadata) {
  Checkpoint checkpoint;
  checkpoint.path = "test.gguf";
  checkpoint.metadata = std::move(metadata);
  return checkpoint;
}

// Bytes 0-255, two words, <|end|> (258, control) and <tool> (259, user-defined).
inline Metadata byte_level(const std::string& pre = "gpt-2") {
  Metadata metadata("test.gguf");
  std::vector<std::string> tokens;
  std::vector<int64_t> types(256, 1);
  for (unsigned byte = 0; byte < 256; ++byte) tokens.push_back(byte_spelling(byte));
  for (const char* token : {"he", "Ġhe", "<|end|>", "<tool>"}) tokens.emplace_back(token);
  types.insert(types.end(), {1, 1, 3, 4});
  metadata.set("general.architecture", std::string("test"));
  metadata.set("tokenizer.ggml.model", std::string("gpt2"));
  metadata.set("tokenizer.ggml.pre", pre);
  metadata.set("tokenizer.ggml.tokens", tokens);
  metadata.set("tokenizer.ggml.token_type", types);
  metadata.set("tokenizer.ggml.merges", std::vector<std::string>{"h e", "Ġ he"});
  metadata.set("tokenizer.ggml.eos_token_id", uint64_t{258});
  metadata.set("tokenizer.ggml.bos_token_id", uint64_t{258});
  return metadata;
}

// <unk> <s> </s>, the bytes (3-258), and a few pieces with scores.
inline Metadata sentencepiece(bool prefix = true) {
  Metadata metadata("test.gguf");
  std::vector<std::string> tokens{"<unk>", "<s>", "</s>"};
  std::vector<int64_t> types{2, 3, 3};
  std::vector<double> scores{0, 0, 0};
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof(text), "<0x%02X>", static_cast<unsigned>(byte));
    tokens.emplace_back(text);
    types.push_back(6);
    scores.push_back(0);
  }
  double score = -1;
  for (const char* token : {"▁h", "▁hi", "hi", "▁", "h", "i", "a", "aa", "▁a"}) {
    tokens.emplace_back(token);
    types.push_back(1);
    scores.push_back(score--);
  }
  metadata.set("general.architecture", std::string("llama"));
  metadata.set("tokenizer.ggml.model", std::string("llama"));
  metadata.set("tokenizer.ggml.tokens", tokens);
  metadata.set("tokenizer.ggml.token_type", types);
  metadata.set("tokenizer.ggml.scores", scores);
  metadata.set("tokenizer.ggml.bos_token_id", uint64_t{1});
  metadata.set("tokenizer.ggml.eos_token_id", uint64_t{2});
  metadata.set("tokenizer.ggml.unknown_token_id", uint64_t{0});
  metadata.set("tokenizer.ggml.add_space_prefix", prefix);
  return metadata;
}

inline std::shared_ptr<const Tokenizer> load(Metadata metadata) {
  auto result = Tokenizer::from_checkpoint(gguf(std::move(metadata)));
  return result.ok() ? *result : nullptr;
}

}  // namespace kinglet::test
