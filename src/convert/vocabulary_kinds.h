// Vocabularies of encoders of text: BERT's WordPiece and XLM-RoBERTa's unigrams. What tokenizer.json says of their
// kinds, as GGUF keys; kUnsupported, naming the place in tokenizer.json, for what the keys have no words for. Internal
// to convert/, for .cc files only.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "convert/gguf_writer.h"
#include "formats/json_bounded.h"

namespace kinglet::convert {

// A string of an object, or else `fallback`.
std::string text_or(const nlohmann::json& object, const char* key, const std::string& fallback = "");

// A step of the tokenizer ("normalizer", "pre_tokenizer", "post_processor"), or the steps of a Sequence, which lie
// under `list`.
std::vector<nlohmann::json> steps_of(const nlohmann::json& tokenizer, const char* kind, const char* list);

enum TokenType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

// Tokens with their types, one a row of the embedding.
struct Tokens {
  std::vector<std::string> texts;
  std::vector<int32_t> types;
};

// `path`: the folder, for messages.
Status add_word_piece(const nlohmann::json& tokenizer, Tokens tokens, const std::string& path, GgufKeys& keys);
Status add_unigrams(const nlohmann::json& tokenizer, Tokens tokens, const std::string& path, GgufKeys& keys);

}  // namespace kinglet::convert
