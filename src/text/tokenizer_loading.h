// How tokenizers get out of checkpoints: GGUF metadata and Hugging Face folders. Private to src/text/.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace kinglet {

// A handle that the receiver owns, and what the file says about ids.
struct LoadedTokenizer {
  KtTokenizer* handle = nullptr;
  SpecialTokens special;
  std::vector<int64_t> end_ids;  // further end-of-generation ids, unchecked
};

Result<LoadedTokenizer> load_gguf_tokenizer(const Checkpoint& checkpoint);
Result<LoadedTokenizer> load_folder_tokenizer(const Checkpoint& checkpoint);
Result<LoadedTokenizer> load_json_tokenizer(std::string_view tokenizer_json, std::string_view tokenizer_config);

}  // namespace kinglet
