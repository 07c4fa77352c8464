// Checkpoint: a model as it lies on disk, opened and checked: metadata plus named tensor views into memory-mapped
// files. The border between file formats and everything behind them. It knows no model family and computes nothing.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/tensor_view.h"
#include "formats/metadata.h"

namespace kinglet {

class MappedFile;

enum class CheckpointFormat { kGguf, kHuggingFace };

struct Checkpoint {
  CheckpointFormat format = CheckpointFormat::kGguf;
  std::string path;   // as the user named it: a .gguf file, the first of a split, or a folder
  Metadata metadata;  // GGUF key-values, or config.json flattened
  std::vector<TensorView> tensors;
  std::string quantisation;  // how a Hugging Face folder's matrices are quantised, for people; empty: they are not
  uint64_t total_bytes = 0;  // of tensor data

  // GGUF only: the key-value section as the file has it, for tools that write it again. The bytes are a type number and
  // the value; they lie in `files`.
  struct RawKey {
    std::string_view key;
    std::span<const std::byte> typed_value;
  };
  std::vector<RawKey> raw_keys;

  // Hugging Face folders only: contents of the side files, empty where absent. GGUF carries all of it in `metadata`.
  struct SideFiles {
    std::string config_json, generation_config_json, tokenizer_json, tokenizer_config_json, chat_template,
        special_tokens_map_json;
    std::string tokenizer_model;  // SentencePiece protobuf bytes (tokenizer.model)
    std::string tiktoken_model;   // tiktoken.model
  } side_files;

  // What sentence-transformers keeps in such a folder, flattened: modules.json ("modules.0.type", …), the settings of
  // its pooling (1_Pooling/config.json) and of its texts (sentence_bert_config.json). Without keys where absent.
  struct SentenceFiles {
    Metadata modules, pooling, texts;
  } sentence_files;

  // nullptr when absent.
  const TensorView* find(std::string_view name) const;
  // Lets the kernel drop the resident pages of a tensor's data, which has been copied; memory of other origin stays.
  // Who reads it again waits for the file.
  void release(std::span<const std::byte> data) const;

  std::vector<std::shared_ptr<const RowSource>> sources;  // of the tensors that have no bytes of their own

  // Keeps the maps alive as long as the checkpoint (and its copies of the pointers) live.
  std::vector<std::shared_ptr<MappedFile>> files;
  std::unordered_map<std::string_view, size_t> index;  // tensor name -> position in `tensors` (keys view their names)
};

// Opens a GGUF file (v2/v3; any part of a split finds its siblings), or a Hugging Face folder (config.json and
// *.safetensors, sharded or not; a folder without tensors is an error unless vocabulary_only). Everything read from the
// files is checked before use; errors name file, field, found and expected. Checkpoints are shared and immutable.
struct OpenOptions {
  bool vocabulary_only = false;  // accept files and folders without tensors (tokenizer work)
};
Result<std::shared_ptr<const Checkpoint>> open_checkpoint(const std::string& path, const OpenOptions& options = {});

}  // namespace kinglet
