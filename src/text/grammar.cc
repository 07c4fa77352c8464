#include "text/grammar.h"

#include <utility>

#include "text/textlib_bridge.h"

namespace kinglet {
namespace {

enum Kind { kJsonSchema = 0, kRegex = 1, kLark = 2 };

}  // namespace

Result<std::shared_ptr<const Grammar>> Grammar::compile(std::shared_ptr<const Tokenizer> tokenizer, int kind,
                                                        std::string_view source) {
  std::vector<uint32_t> stops(tokenizer->end_of_generation().begin(), tokenizer->end_of_generation().end());
  textlib::Buffer out;
  KtGrammar* handle = nullptr;
  KtStatus status = kt_grammar_compile(tokenizer->handle(), kind, textlib::slice(source), stops.data(), stops.size(),
                                       &handle, out.out());
  if (status != KT_OK) return textlib::error(status, out);
  return std::shared_ptr<const Grammar>(new Grammar(std::move(tokenizer), handle));
}

Result<std::shared_ptr<const Grammar>> Grammar::from_json_schema(std::shared_ptr<const Tokenizer> tokenizer,
                                                                 std::string_view schema) {
  return compile(std::move(tokenizer), kJsonSchema, schema);
}

Result<std::shared_ptr<const Grammar>> Grammar::from_regex(std::shared_ptr<const Tokenizer> tokenizer,
                                                           std::string_view regex) {
  return compile(std::move(tokenizer), kRegex, regex);
}

Result<std::shared_ptr<const Grammar>> Grammar::from_lark(std::shared_ptr<const Tokenizer> tokenizer,
                                                          std::string_view grammar) {
  return compile(std::move(tokenizer), kLark, grammar);
}

Grammar::~Grammar() {
  kt_grammar_free(handle_);
}

GrammarState::GrammarState(std::shared_ptr<const Grammar> grammar)
    : grammar_(std::move(grammar)), matcher_(kt_matcher_new(grammar_->handle())) {}

GrammarState::GrammarState(std::shared_ptr<const Grammar> grammar, KtMatcher* matcher)
    : grammar_(std::move(grammar)), matcher_(matcher) {}

GrammarState::~GrammarState() {
  kt_matcher_free(matcher_);
}

GrammarState::GrammarState(GrammarState&& other) noexcept
    : grammar_(std::move(other.grammar_)),
      matcher_(std::exchange(other.matcher_, nullptr)),
      ended_(other.ended_),
      words_(std::move(other.words_)) {}

GrammarState& GrammarState::operator=(GrammarState&& other) noexcept {
  std::swap(grammar_, other.grammar_);
  std::swap(matcher_, other.matcher_);
  std::swap(ended_, other.ended_);
  std::swap(words_, other.words_);
  return *this;
}

Result<std::span<const uint32_t>> GrammarState::mask() {
  if (matcher_ == nullptr) return Error{ErrorCode::kUnsupported, "grammar: the state was moved away or never made"};
  auto vocab = static_cast<size_t>(grammar_->tokenizer()->vocab_size());
  words_.assign((vocab + 31) / 32, 0);
  if (ended_) return std::span<const uint32_t>(words_);
  textlib::Buffer out;
  KtStatus status = kt_matcher_mask(matcher_, words_.data(), words_.size(), out.out());
  if (status != KT_OK) return textlib::error(status, out);
  return std::span<const uint32_t>(words_);
}

Status GrammarState::commit(int32_t id) {
  if (matcher_ == nullptr || id < 0) return Error{ErrorCode::kInvalid, "grammar: no such token"};
  if (ended_) return Error{ErrorCode::kInvalid, "grammar: the text has ended"};
  if (grammar_->tokenizer()->is_end_of_generation(id)) {
    if (!is_complete()) return Error{ErrorCode::kInvalid, "grammar: the text cannot end here"};
    ended_ = true;
    return {};
  }
  textlib::Buffer out;
  KtStatus status = kt_matcher_commit(matcher_, static_cast<uint32_t>(id), out.out());
  if (status != KT_OK) return textlib::error(status, out);
  return {};
}

bool GrammarState::is_complete() const {
  if (matcher_ == nullptr) return false;
  return ended_ || kt_matcher_is_stopped(matcher_) != 0 || kt_matcher_is_accepting(matcher_) != 0;
}

bool GrammarState::is_finished() const {
  return ended_ || (matcher_ != nullptr && kt_matcher_is_stopped(matcher_) != 0);
}

GrammarState GrammarState::clone() const {
  GrammarState copy(grammar_, matcher_ == nullptr ? nullptr : kt_matcher_clone(matcher_));
  copy.ended_ = ended_;
  return copy;
}

}  // namespace kinglet
