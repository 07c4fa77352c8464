// Reader of the GGUF container, versions 2 and 3 (facts: docs; ggml's gguf.h is the definition). Internal to formats/:
// everybody else calls open_checkpoint.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/tensor_view.h"
#include "formats/checkpoint.h"
#include "formats/metadata.h"

namespace kinglet {

// The contents of one GGUF file.
struct GgufFile {
  Metadata metadata;
  std::vector<Checkpoint::RawKey> raw_keys;  // in the file's order, views into the bytes that were parsed
  std::vector<TensorView> tensors;           // views into the bytes that were parsed
  uint64_t tensor_bytes = 0;                 // without padding
};

// Parses a whole file that lies in memory; `name` is used in messages. Never reads outside `bytes`; all counts, sizes
// and offsets are checked, memory use is bounded by a small multiple of the input.
Result<GgufFile> parse_gguf(std::span<const std::byte> bytes, const std::string& name);

// Opens a file, or all files of a split when `path` is any one of them.
Result<std::shared_ptr<const Checkpoint>> open_gguf(const std::string& path, const OpenOptions& options);

}  // namespace kinglet
