// A Hugging Face folder as one GGUF file, under the names and keys that llama.cpp's converter writes. Names and
// transforms come from the families' tables, keys from the ModelSpec; a family needs code here only for a key or a
// transform that no family had before.
#pragma once

#include <string>

#include "base/result.h"
#include "base/threads.h"
#include "convert/quantise_model.h"
#include "formats/checkpoint.h"

namespace kinglet::convert {

struct ConvertOptions {
  bool keep_types = true;     // matrices stay BF16, F16 or F32 as they are; else `quantise` says what they become
  QuantiseOptions quantise;   // its mix counts only without keep_types; the rest always
  std::string name;           // general.name; empty: the folder's name
  std::string pre_tokenizer;  // tokenizer.ggml.pre; empty: found out from tokenizer.json
};

// Writes `path`. A folder without tokenizer gives a file without one. kUnsupported for what the GGUF of this family
// can't say, and for tokenizers of unknown kinds.
Result<StreamReport> convert_folder(const Checkpoint& checkpoint, const std::string& path,
                                    const ConvertOptions& options, ThreadPool& pool);

}  // namespace kinglet::convert
