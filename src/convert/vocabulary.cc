#include "convert/vocabulary.h"

#include <array>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "convert/vocabulary_kinds.h"
#include "formats/json_bounded.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace kinglet::convert {

using Json = nlohmann::json;

std::string text_or(const Json& object, const char* key, const std::string& fallback) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() && found->is_string() ? found->get<std::string>() : fallback;
}

// A step of the tokenizer, or the steps of a Sequence.
std::vector<Json> steps_of(const Json& tokenizer, const char* kind, const char* list) {
  if (!tokenizer.contains(kind) || !tokenizer[kind].is_object()) return {};
  const Json& step = tokenizer[kind];
  if (text_or(step, "type") != "Sequence") return {step};
  if (!step.contains(list) || !step[list].is_array()) return {};
  return step[list].get<std::vector<Json>>();
}

namespace {

// Names of llama.cpp for pre-tokenizers, by what tells them apart: their pattern, single digits split off before, NFC.
struct Pre {
  std::string_view name, pattern;
  bool digits, nfc;
};
#define KL_WORDS "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define KL_REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define KL_CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
constexpr std::array kPres = {
    Pre{"llama-bpe", KL_CONTRACTIONS KL_WORDS "\\p{N}{1,3}" KL_REST, false, false},
    Pre{"qwen2", KL_CONTRACTIONS KL_WORDS "\\p{N}" KL_REST, false, true},
    Pre{"smollm", "", true, false},
    Pre{"command-r", "", true, true},
    Pre{"gpt-2", "", false, false},
    Pre{"olmo", "", false, true},
};
#undef KL_WORDS
#undef KL_REST
#undef KL_CONTRACTIONS

struct Kind {
  bool byte_level = false, digits = false, nfc = false;
  std::string pattern;
};
Kind kind_of(const Json& tokenizer) {
  Kind kind;
  for (const Json& step : steps_of(tokenizer, "pre_tokenizer", "pretokenizers")) {
    const std::string type = text_or(step, "type");
    kind.byte_level = kind.byte_level || type == "ByteLevel";
    kind.digits = kind.digits || type == "Digits";
    if (type == "Split" && step.contains("pattern")) kind.pattern = text_or(step["pattern"], "Regex");
  }
  for (const Json& step : steps_of(tokenizer, "normalizer", "normalizers"))
    kind.nfc = kind.nfc || text_or(step, "type") == "NFC";
  return kind;
}

Result<std::string> pre_of(const Kind& kind, const std::string& forced, const std::string& path) {
  if (!forced.empty()) return forced;
  for (const Pre& pre : kPres)
    if (pre.pattern == kind.pattern && pre.digits == kind.digits && pre.nfc == kind.nfc) return std::string(pre.name);
  return Error{ErrorCode::kUnsupported, path +
                                            "/tokenizer.json: pre_tokenizer: found a pattern that has no name in GGUF "
                                            "files as far as Kinglet knows; name one by --pre"};
}

Result<std::vector<std::string>> merges_of(const Json& model, const std::string& path) {
  std::vector<std::string> merges;
  if (model.contains("merges") && model["merges"].is_array()) {
    for (const Json& merge : model["merges"]) {
      if (merge.is_string()) {
        merges.push_back(merge.get<std::string>());
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
      } else {
        return Error{ErrorCode::kInvalid, path + "/tokenizer.json: model.merges: expected pairs of tokens"};
      }
    }
  }
  return merges;
}

Tokens tokens_of(const Tokenizer& tokenizer, const Json& json, int64_t rows) {
  Tokens tokens;
  for (int64_t id = 0; id < rows; ++id) {
    const auto at = static_cast<int32_t>(id);
    std::string text(at < tokenizer.vocab_size() ? tokenizer.token_text(at) : "");
    int32_t type = tokenizer.is_special(at) ? kControl : kNormal;
    if (text.size() == 6 && text.starts_with("<0x") && text.ends_with(">")) type = kByte;
    if (text.empty()) {
      text = "[PAD" + std::to_string(id) + "]";
      type = kUnused;
    }
    tokens.texts.push_back(std::move(text));
    tokens.types.push_back(type);
  }
  if (!json.contains("added_tokens") || !json["added_tokens"].is_array()) return tokens;
  for (const Json& added : json["added_tokens"]) {
    const int64_t id = added.is_object() ? added.value("id", int64_t{-1}) : -1;
    if (id >= 0 && id < rows && !added.value("special", false) && tokens.types[static_cast<size_t>(id)] == kNormal)
      tokens.types[static_cast<size_t>(id)] = kUserDefined;
  }
  return tokens;
}

// SentencePiece models merge the pair of the highest score first: the merges' order, turned around.
std::vector<float> scores_of(const Tokens& tokens, const std::vector<std::string>& merges) {
  std::unordered_map<std::string, size_t> rank;
  for (size_t i = 0; i < merges.size(); ++i) {
    std::string merged = merges[i];
    merged.erase(merged.find(' '), 1);
    rank.emplace(std::move(merged), i);
  }
  std::vector<float> scores;
  for (const std::string& text : tokens.texts) {
    const auto found = rank.find(text);
    scores.push_back(-static_cast<float>(found == rank.end() ? merges.size() : found->second));
  }
  return scores;
}

// What the tokenizer puts around a text: [CLS] and [SEP], or what Qwen3-Embedding's puts behind it.
struct Around {
  std::optional<int32_t> before, behind;
};
Result<Around> tokens_around(const Tokenizer& tokenizer) {
  KL_TRY(const std::vector<int32_t> whole, tokenizer.encode("a"));
  KL_TRY(const std::vector<int32_t> bare, tokenizer.encode("a", {.add_special = false}));
  Around around;
  if (bare.empty() && whole.size() == 2) return Around{whole.front(), whole.back()};  // no token for the letter
  if (whole.size() <= bare.size() || bare.empty()) return around;
  if (whole.front() != bare.front()) around.before = whole.front();
  if (whole.back() != bare.back()) around.behind = whole.back();
  return around;
}

// Whether a pair of texts has two separators between them, as RoBERTa's has.
bool separates_twice(const Json& tokenizer) {
  for (const Json& step : steps_of(tokenizer, "post_processor", "processors")) {
    if (text_or(step, "type") == "RobertaProcessing") return true;
    if (text_or(step, "type") != "TemplateProcessing" || !step.contains("pair") || !step["pair"].is_array()) continue;
    int between = 0;
    bool first = false, second = false;
    for (const Json& piece : step["pair"]) {
      const bool text = piece.is_object() && piece.contains("Sequence");
      second = second || (text && first);
      first = first || text;
      between += first && !second && !text ? 1 : 0;
    }
    if (second && between == 2) return true;
  }
  return false;
}

// In GGUF files it is the end-of-sequence token that may stand behind a text.
Status add_special_ids(const Tokenizer& tokenizer, const Json& json, bool encoder, GgufKeys& keys) {
  SpecialTokens special = tokenizer.special();
  KL_TRY(const Around around, tokens_around(tokenizer));
  if (around.behind) special.eos = around.behind;
  if (encoder && around.before) special.bos = around.before;
  if (encoder && !special.sep) special.sep = around.behind;
  const std::pair<const char*, std::optional<int32_t>> ids[] = {
      {"bos", special.bos},     {"eos", special.eos},       {"eot", special.eot},  {"unknown", special.unk},
      {"padding", special.pad}, {"seperator", special.sep}, {"mask", special.mask}};
  for (const auto& [role, id] : ids)
    if (id) keys.set_u32("tokenizer.ggml." + std::string(role) + "_token_id", static_cast<uint32_t>(*id));
  keys.set_bool("tokenizer.ggml.add_bos_token", encoder ? around.before.has_value() : tokenizer.adds_bos());
  if (around.behind) keys.set_bool("tokenizer.ggml.add_eos_token", true);
  if (encoder) keys.set_bool("tokenizer.ggml.add_sep_token", separates_twice(json));
  return {};
}

// Byte-level or SentencePiece's, by merges.
Status add_merged(const Json& json, const Tokens& tokens, bool encoder, const std::string& forced,
                  const std::string& path, GgufKeys& keys) {
  KL_TRY(const std::vector<std::string> merges, merges_of(json["model"], path));
  const Kind kind = kind_of(json);
  keys.set_text("tokenizer.ggml.model", kind.byte_level ? "gpt2" : "llama");
  if (kind.byte_level) {
    KL_TRY(const std::string name, pre_of(kind, forced, path));
    // RoBERTa cuts text as GPT-2 does, under a name of its own.
    keys.set_text("tokenizer.ggml.pre", encoder && name == "gpt-2" ? "roberta-bpe" : name);
  } else {
    keys.set_text("tokenizer.ggml.pre", "default");
  }
  keys.set_texts("tokenizer.ggml.tokens", tokens.texts);
  if (!kind.byte_level) keys.set_f32s("tokenizer.ggml.scores", scores_of(tokens, merges));
  keys.set_i32s("tokenizer.ggml.token_type", tokens.types);
  if (kind.byte_level) {
    keys.set_texts("tokenizer.ggml.merges", merges);
    return {};
  }
  bool prefix = false;
  for (const Json& step : steps_of(json, "normalizer", "normalizers"))
    prefix = prefix || text_or(step, "type") == "Prepend";
  keys.set_bool("tokenizer.ggml.add_space_prefix", prefix);
  return {};
}

}  // namespace

Status add_vocabulary(const Checkpoint& checkpoint, const ModelSpec& spec, const std::string& pre, GgufKeys& keys) {
  if (checkpoint.side_files.tokenizer_json.empty()) return {};
  const std::string& path = checkpoint.path;
  KL_TRY(const Json json, parse_json(checkpoint.side_files.tokenizer_json, path + "/tokenizer.json"));
  KL_TRY(const auto tokenizer, Tokenizer::from_checkpoint(checkpoint));
  KL_RETURN_IF_ERROR(tokenizer->check_vocabulary(spec.vocabulary));
  const std::string type = json.contains("model") ? text_or(json["model"], "type") : "";
  Tokens tokens = tokens_of(*tokenizer, json, spec.vocabulary);
  if (type == "BPE")
    KL_RETURN_IF_ERROR(add_merged(json, tokens, spec.is_encoder(), pre, path, keys));
  else if (type == "WordPiece")
    KL_RETURN_IF_ERROR(add_word_piece(json, std::move(tokens), path, keys));
  else if (type == "Unigram")
    KL_RETURN_IF_ERROR(add_unigrams(json, std::move(tokens), path, keys));
  else
    return Error{ErrorCode::kUnsupported, path + "/tokenizer.json: model.type: found \"" + type +
                                              "\", only BPE, WordPiece and Unigram can be converted"};
  KL_RETURN_IF_ERROR(add_special_ids(*tokenizer, json, spec.is_encoder(), keys));
  const auto chat = ChatTemplate::from_checkpoint(checkpoint);
  if (chat.ok()) keys.set_text("tokenizer.chat_template", (*chat)->source());
  return {};
}

}  // namespace kinglet::convert
