#include "convert/vocabulary_kinds.h"

#include <cmath>

#include "base/quote.h"

namespace kinglet::convert {
namespace {

using Json = nlohmann::json;

const std::string kSpace = "\u2581";  // U+2581 stands for a space

Error refused(const std::string& path, const std::string& where, const std::string& found,
              const std::string& expected) {
  return {ErrorCode::kUnsupported,
          path + "/tokenizer.json: " + where + ": found " + found + ", GGUF files can only state " + expected};
}

// null, an absent key and a value of another type are all `fallback`.
bool flag_or(const Json& object, const char* key, bool fallback) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() ? found->get<bool>() : fallback;
}

// "Type", or the types of several steps.
std::string type_names(const std::vector<Json>& steps) {
  std::string names;
  for (const Json& step : steps) names += (names.empty() ? "" : ", ") + text_or(step, "type");
  return names.empty() ? "none" : names;
}

Status only_step(const Json& tokenizer, const char* kind, const char* list, const char* expected,
                 const std::string& path) {
  const auto steps = steps_of(tokenizer, kind, list);
  if (steps.size() != 1 || text_or(steps.front(), "type") != expected)
    return refused(path, kind, type_names(steps), expected);
  return {};
}

int digit_of(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

Result<std::string> from_base64(const std::string& text, const std::string& path) {
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    const int digit = digit_of(c);
    if (digit < 0)
      return Error{ErrorCode::kInvalid, path + "/tokenizer.json: normalizer.precompiled_charsmap: expected base64"};
    bits = (bits << 6 | static_cast<uint32_t>(digit)) & 0xffffff;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xff);
  }
  return bytes;
}

// What a unigram vocabulary does to text before it is cut.
struct UnigramText {
  std::string charsmap;
  bool collapses_spaces = false, space_in_front = false;
};

Result<UnigramText> unigram_text(const Json& tokenizer, const std::string& path) {
  UnigramText text;
  for (const Json& step : steps_of(tokenizer, "normalizer", "normalizers")) {
    const std::string type = text_or(step, "type");
    if (type == "Precompiled") {
      KL_TRY(text.charsmap, from_base64(text_or(step, "precompiled_charsmap"), path));
    } else if (type == "Replace" && step.contains("pattern") && text_or(step["pattern"], "Regex") == " {2,}") {
      text.collapses_spaces = true;
    } else if (type != "Strip" || flag_or(step, "strip_left", true)) {
      return refused(path, "normalizer", type_names({step}),
                     "Precompiled, Strip (right) and Replace of several spaces");
    }
  }
  bool found = false, words = false;
  for (const Json& step : steps_of(tokenizer, "pre_tokenizer", "pretokenizers")) {
    const std::string type = text_or(step, "type");
    if (type != "Metaspace" && type != "WhitespaceSplit")
      return refused(path, "pre_tokenizer", quote(type), "Metaspace, after WhitespaceSplit or alone");
    found = found || type == "Metaspace";
    words = words || type == "WhitespaceSplit";
    if (type != "Metaspace") continue;
    const std::string scheme =
        text_or(step, "prepend_scheme", flag_or(step, "add_prefix_space", true) ? "always" : "never");
    if (scheme == "first")
      return refused(path, "pre_tokenizer.prepend_scheme", "\"first\"", "\"always\" and \"never\"");
    text.space_in_front = scheme == "always";
  }
  if (!found) return refused(path, "pre_tokenizer", "none", "Metaspace");
  // Such a map makes one kind of space of all.
  if (words && text.charsmap.empty())
    return refused(path, "pre_tokenizer", "WhitespaceSplit without a precompiled_charsmap",
                   "Metaspace alone in that case");
  text.collapses_spaces = text.collapses_spaces || words;
  return text;
}

// A unigram vocabulary is a list of [text, score]; added tokens behind it have none.
Result<std::vector<float>> unigram_scores(const Json& model, size_t rows, const std::string& path) {
  constexpr float kNever = -10000.0f;  // of rows without a token
  std::vector<float> scores(rows, kNever);
  const auto list = model.find("vocab");
  const bool listed = list != model.end() && list->is_array() && list->size() <= rows;
  for (size_t i = 0; listed && i < list->size(); ++i) {
    const Json& entry = (*list)[i];
    if (!entry.is_array() || entry.size() != 2 || !entry[1].is_number()) break;
    scores[i] = static_cast<float>(entry[1].get<double>());
    if (!std::isfinite(scores[i])) break;
    if (i + 1 == list->size()) return scores;
  }
  return Error{ErrorCode::kInvalid, path + "/tokenizer.json: model.vocab: expected at most " + std::to_string(rows) +
                                        " pairs of a text and a finite score"};
}

}  // namespace

Status add_word_piece(const Json& tokenizer, Tokens tokens, const std::string& path, GgufKeys& keys) {
  const Json& model = tokenizer["model"];
  const std::string continuing = text_or(model, "continuing_subword_prefix", "##");
  if (continuing != "##") return refused(path, "model.continuing_subword_prefix", quote(continuing), "\"##\"");
  if (const auto most = model.find("max_input_chars_per_word"); most != model.end() && *most != 100)
    return refused(path, "model.max_input_chars_per_word", most->dump(), "100");
  KL_RETURN_IF_ERROR(only_step(tokenizer, "normalizer", "normalizers", "BertNormalizer", path));
  KL_RETURN_IF_ERROR(only_step(tokenizer, "pre_tokenizer", "pretokenizers", "BertPreTokenizer", path));
  const Json normalizer = steps_of(tokenizer, "normalizer", "normalizers").front();
  for (const char* fixed : {"clean_text", "handle_chinese_chars"})
    if (!flag_or(normalizer, fixed, true)) return refused(path, "normalizer." + std::string(fixed), "false", "true");
  // WordPiece marks what continues a word; files mark where words begin.
  for (size_t i = 0; i < tokens.texts.size(); ++i) {
    std::string& text = tokens.texts[i];
    if (tokens.types[i] == kControl) continue;
    text = text.starts_with(continuing) ? text.substr(continuing.size()) : kSpace + text;
  }
  keys.set_text("tokenizer.ggml.model", "bert");
  keys.set_text("tokenizer.ggml.pre", "default");  // readers look at it for byte-level vocabularies only
  keys.set_texts("tokenizer.ggml.tokens", tokens.texts);
  keys.set_i32s("tokenizer.ggml.token_type", tokens.types);
  const bool lowercase = flag_or(normalizer, "lowercase", true);
  keys.set_bool("tokenizer.ggml.normalizer.lowercase", lowercase);
  if (const auto strip = normalizer.find("strip_accents"); strip != normalizer.end() && strip->is_boolean())
    keys.set_bool("tokenizer.ggml.normalizer.strip_accents", strip->get<bool>());
  return {};
}

Status add_unigrams(const Json& tokenizer, Tokens tokens, const std::string& path, GgufKeys& keys) {
  const Json& model = tokenizer["model"];
  KL_TRY(const UnigramText text, unigram_text(tokenizer, path));
  KL_TRY(std::vector<float> scores, unigram_scores(model, tokens.texts.size(), path));
  for (size_t i = 0; i < tokens.types.size(); ++i)
    if (tokens.types[i] == kControl || tokens.types[i] == kUserDefined) scores[i] = 0.0f;
  const int64_t unknown =
      model.contains("unk_id") && model["unk_id"].is_number_integer() ? model["unk_id"].get<int64_t>() : -1;
  if (unknown < 0 || unknown >= std::ssize(tokens.types))
    return refused(path, "model.unk_id", unknown < 0 ? "none" : std::to_string(unknown), "a token of the vocabulary");
  tokens.types[static_cast<size_t>(unknown)] = kUnknown;
  keys.set_text("tokenizer.ggml.model", "t5");
  keys.set_text("tokenizer.ggml.pre", "default");
  keys.set_texts("tokenizer.ggml.tokens", tokens.texts);
  keys.set_f32s("tokenizer.ggml.scores", scores);
  keys.set_i32s("tokenizer.ggml.token_type", tokens.types);
  keys.set_u32("tokenizer.ggml.unknown_token_id", static_cast<uint32_t>(unknown));
  keys.set_bool("tokenizer.ggml.add_space_prefix", text.space_in_front);
  keys.set_bool("tokenizer.ggml.remove_extra_whitespaces", text.collapses_spaces);
  if (!text.charsmap.empty()) keys.set_bytes("tokenizer.ggml.precompiled_charsmap", text.charsmap);
  return {};
}

}  // namespace kinglet::convert
