// Grammars: which tokens may come next so that the text follows a JSON schema, a regular expression or a Lark grammar.
// A Grammar is compiled once and shared; a GrammarState is one sequence's place in it. Sampling applies the masks.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

struct KtGrammar;
struct KtMatcher;

namespace kinglet {

class Grammar : public std::enable_shared_from_this<Grammar> {
 public:
  // `schema`: a JSON schema's text; "{}" accepts any JSON value, `{"type":"object"}` any object.
  static Result<std::shared_ptr<const Grammar>> from_json_schema(std::shared_ptr<const Tokenizer> tokenizer,
                                                                 std::string_view schema);
  static Result<std::shared_ptr<const Grammar>> from_regex(std::shared_ptr<const Tokenizer> tokenizer,
                                                           std::string_view regex);
  static Result<std::shared_ptr<const Grammar>> from_lark(std::shared_ptr<const Tokenizer> tokenizer,
                                                          std::string_view grammar);
  ~Grammar();
  Grammar(const Grammar&) = delete;
  Grammar& operator=(const Grammar&) = delete;

  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }
  const KtGrammar* handle() const { return handle_; }

 private:
  Grammar(std::shared_ptr<const Tokenizer> tokenizer, KtGrammar* handle)
      : tokenizer_(std::move(tokenizer)), handle_(handle) {}
  static Result<std::shared_ptr<const Grammar>> compile(std::shared_ptr<const Tokenizer> tokenizer, int kind,
                                                        std::string_view source);
  std::shared_ptr<const Tokenizer> tokenizer_;
  KtGrammar* handle_;
};

class GrammarState {
 public:
  explicit GrammarState(std::shared_ptr<const Grammar> grammar);
  ~GrammarState();
  GrammarState(GrammarState&& other) noexcept;
  GrammarState& operator=(GrammarState&& other) noexcept;

  // The allowed next tokens: bit id % 32 of word id / 32, ceil(vocab_size / 32) words, valid until the next call. Where
  // the text may end, every end-of-generation token is allowed. kResource when the grammar is too complex for its
  // bounds.
  Result<std::span<const uint32_t>> mask();
  // Moves on by a sampled token. kInvalid, leaving the state as it was, when the mask does not allow it.
  Status commit(int32_t id);
  // Whether the text so far is a complete sentence of the grammar.
  bool is_complete() const;
  // Whether nothing can follow: an end-of-generation token was committed, or the sentence cannot grow.
  bool is_finished() const;
  // A second state at the same place (speculation, several answers to one prompt).
  GrammarState clone() const;

 private:
  GrammarState(std::shared_ptr<const Grammar> grammar, KtMatcher* matcher);
  std::shared_ptr<const Grammar> grammar_;
  KtMatcher* matcher_ = nullptr;
  bool ended_ = false;
  std::vector<uint32_t> words_;
};

}  // namespace kinglet
