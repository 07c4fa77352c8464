// Tokenizer: text to token ids and back, for one model's vocabulary, whatever file it came from. Immutable and
// thread-safe. Not for text that arrives token by token (detokenizer.h) and not for prompts (chat_template.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

struct KtTokenizer;  // textlib's handle

namespace kinglet {

struct Checkpoint;
struct LoadedTokenizer;

struct EncodeOptions {
  bool add_special = true;    // what the model's rules put around a text: BOS, EOS, [CLS] …
  bool parse_special = true;  // "<|im_end|>" in the text becomes that one token; false: it is ordinary text
};

// Ids that have a meaning to the engine; absent where the vocabulary has none.
struct SpecialTokens {
  std::optional<int32_t> bos, eos, eot, unk, pad, sep, mask;
  std::optional<int32_t> fim_prefix, fim_suffix, fim_middle, fim_pad, fim_repo, fim_sep;
};

class Tokenizer {
 public:
  // From GGUF metadata, or from a Hugging Face folder: tokenizer.json, else tokenizer.model (SentencePiece), else
  // tiktoken.model. kNotFound when the checkpoint carries no tokenizer; kUnsupported for a kind that Kinglet doesn't
  // know.
  static Result<std::shared_ptr<const Tokenizer>> from_checkpoint(const Checkpoint& checkpoint);
  // From the contents of a tokenizer.json alone.
  static Result<std::shared_ptr<const Tokenizer>> from_json(std::string_view tokenizer_json);

  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Bytes that are not UTF-8 become U+FFFD first (one for each maximal invalid part). Every id is in [0, vocab_size()).
  Result<std::vector<int32_t>> encode(std::string_view text, const EncodeOptions& options = {}) const;

  // The text of `ids` as a whole; invalid UTF-8 becomes U+FFFD. Ids outside the vocabulary contribute nothing.
  std::string decode(std::span<const int32_t> ids, bool skip_special = true) const;

  // The bytes that a token stands for, possibly a part of a character; a special token's are its text. Empty outside
  // the vocabulary. A leading space is a space, also where decode() drops it at the start of a text. Lives as long as
  // *this.
  std::string_view token_bytes(int32_t id) const;
  // The token as the vocabulary spells it ("Ġthe", "▁the", "<0x0A>").
  std::string_view token_text(int32_t id) const;
  // The id of a vocabulary entry by its spelling.
  std::optional<int32_t> id_of(std::string_view text) const;

  int32_t vocab_size() const { return vocab_size_; }  // one past the largest id
  bool is_special(int32_t id) const;                  // control and unknown tokens: hidden by skip_special
  const SpecialTokens& special() const { return special_; }
  bool adds_bos() const { return adds_bos_; }  // whether add_special puts BOS in front

  // Ids that end an answer, sorted: EOS, end-of-turn and their relatives.
  std::span<const int32_t> end_of_generation() const { return end_of_generation_; }
  bool is_end_of_generation(int32_t id) const;

  // "gpt2/qwen2", "llama/spm", "tokenizer.json/BPE" …: for `inspect` and logs.
  const std::string& kind() const { return kind_; }

  // kInvalid, naming both numbers, when an id of this tokenizer has no row in the model's embedding.
  Status check_vocabulary(int64_t model_vocab_size) const;

  const KtTokenizer* handle() const { return handle_; }  // for this folder's own use

 private:
  explicit Tokenizer(KtTokenizer* handle);  // owns it
  static Result<std::shared_ptr<const Tokenizer>> finish(const LoadedTokenizer& loaded, const std::string& source);
  void find_roles_by_text();
  Status check_special_ids() const;
  void find_end_of_generation(std::span<const int64_t> more);

  KtTokenizer* handle_;
  std::string kind_;
  std::string source_;  // the checkpoint's path, for messages
  int32_t vocab_size_ = 0;
  bool adds_bos_ = false;
  SpecialTokens special_;
  std::vector<int32_t> end_of_generation_;
};

}  // namespace kinglet
