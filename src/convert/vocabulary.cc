#include "convert/vocabulary.h"

#include <array>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "formats/json_bounded.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace kinglet::convert {
namespace {

using Json = nlohmann::json;

enum TokenType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

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

std::string text_or(const Json& object, const char* key, const std::string& fallback = "") {
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

// Tokens with their types, one a row of the embedding.
struct Tokens {
  std::vector<std::string> texts;
  std::vector<int32_t> types;
};
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

// The token that the tokenizer puts behind a text, as Qwen3-Embedding's does.
Result<std::optional<int32_t>> token_behind(const Tokenizer& tokenizer) {
  KL_TRY(const std::vector<int32_t> whole, tokenizer.encode("a"));
  KL_TRY(const std::vector<int32_t> bare, tokenizer.encode("a", {.add_special = false}));
  const bool none = whole.size() <= bare.size() || bare.empty() || whole.back() == bare.back();
  return none ? std::optional<int32_t>() : std::optional(whole.back());
}

// In GGUF files it is the end-of-sequence token that may stand behind a text.
Status add_special_ids(const Tokenizer& tokenizer, GgufKeys& keys) {
  SpecialTokens special = tokenizer.special();
  KL_TRY(const std::optional<int32_t> behind, token_behind(tokenizer));
  if (behind) special.eos = behind;
  const std::pair<const char*, std::optional<int32_t>> ids[] = {
      {"bos", special.bos},     {"eos", special.eos},       {"eot", special.eot},  {"unknown", special.unk},
      {"padding", special.pad}, {"seperator", special.sep}, {"mask", special.mask}};
  for (const auto& [role, id] : ids)
    if (id) keys.set_u32("tokenizer.ggml." + std::string(role) + "_token_id", static_cast<uint32_t>(*id));
  keys.set_bool("tokenizer.ggml.add_bos_token", tokenizer.adds_bos());
  if (behind) keys.set_bool("tokenizer.ggml.add_eos_token", true);
  return {};
}

}  // namespace

Status add_vocabulary(const Checkpoint& checkpoint, int64_t rows, const std::string& pre, GgufKeys& keys) {
  if (checkpoint.side_files.tokenizer_json.empty()) return {};
  const std::string& path = checkpoint.path;
  KL_TRY(const Json json, parse_json(checkpoint.side_files.tokenizer_json, path + "/tokenizer.json"));
  KL_TRY(const auto tokenizer, Tokenizer::from_checkpoint(checkpoint));
  KL_RETURN_IF_ERROR(tokenizer->check_vocabulary(rows));
  if (!json.contains("model") || text_or(json["model"], "type") != "BPE")
    return Error{ErrorCode::kUnsupported, path + "/tokenizer.json: model.type: found \"" +
                                              (json.contains("model") ? text_or(json["model"], "type") : "") +
                                              "\", only BPE can be converted"};
  KL_TRY(const std::vector<std::string> merges, merges_of(json["model"], path));
  const Kind kind = kind_of(json);
  const Tokens tokens = tokens_of(*tokenizer, json, rows);
  keys.set_text("tokenizer.ggml.model", kind.byte_level ? "gpt2" : "llama");
  if (kind.byte_level) {
    KL_TRY(const std::string name, pre_of(kind, pre, path));
    keys.set_text("tokenizer.ggml.pre", name);
  } else {
    keys.set_text("tokenizer.ggml.pre", "default");
  }
  keys.set_texts("tokenizer.ggml.tokens", tokens.texts);
  if (!kind.byte_level) keys.set_f32s("tokenizer.ggml.scores", scores_of(tokens, merges));
  keys.set_i32s("tokenizer.ggml.token_type", tokens.types);
  if (kind.byte_level) keys.set_texts("tokenizer.ggml.merges", merges);
  KL_RETURN_IF_ERROR(add_special_ids(*tokenizer, keys));
  if (!kind.byte_level) {
    bool prefix = false;
    for (const Json& step : steps_of(json, "normalizer", "normalizers"))
      prefix = prefix || text_or(step, "type") == "Prepend";
    keys.set_bool("tokenizer.ggml.add_space_prefix", prefix);
  }
  const auto chat = ChatTemplate::from_checkpoint(checkpoint);
  if (chat.ok()) keys.set_text("tokenizer.chat_template", (*chat)->source());
  return {};
}

}  // namespace kinglet::convert
