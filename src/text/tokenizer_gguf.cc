#include <string>
#include <utility>

#include "formats/checkpoint.h"
#include "text/textlib_bridge.h"
#include "text/tokenizer_loading.h"

namespace kinglet {
namespace {

// Keeps what a KtVocabulary points to.
struct VocabularyData {
  std::string model, pre, architecture, charsmap;
  std::vector<KtSlice> tokens, merges;
  std::vector<float> scores;
  std::vector<int32_t> types;
};

constexpr int64_t kMaxId = (1 << 24) - 1;

Result<std::optional<int32_t>> id_of_key(const Metadata& metadata, std::string_view key) {
  if (!metadata.has(key)) return std::optional<int32_t>();
  // Some converters write 2^32 - 1 for "none".
  KL_TRY(int64_t id, metadata.get_int(key, -1, UINT32_MAX));
  if (id < 0 || id == UINT32_MAX) return std::optional<int32_t>();
  if (id > kMaxId) {
    return Error{ErrorCode::kInvalid, std::string(key) + ": found " + std::to_string(id) + ", expected a token id"};
  }
  return std::optional<int32_t>(static_cast<int32_t>(id));
}

Result<int32_t> flag_of_key(const Metadata& metadata, std::string_view key) {
  if (!metadata.has(key)) return -1;
  KL_TRY(bool value, metadata.get_bool(key));
  return value ? 1 : 0;
}

// The strings stay where the metadata keeps them.
Result<std::vector<KtSlice>> slices(const Metadata& metadata, std::string_view key) {
  const MetadataValue* value = metadata.find(key);
  std::vector<KtSlice> result;
  if (value == nullptr) return result;
  const auto* strings = std::get_if<std::vector<std::string>>(value);
  if (strings == nullptr) {
    return Error{ErrorCode::kInvalid, std::string(key) + ": expected an array of strings"};
  }
  result.reserve(strings->size());
  for (const std::string& text : *strings) result.push_back(textlib::slice(text));
  return result;
}

Error wrong_length(std::string_view key, size_t found, size_t expected) {
  return {ErrorCode::kInvalid, std::string(key) + ": found " + std::to_string(found) +
                                   " entries, expected one for each of the " + std::to_string(expected) + " tokens"};
}

Status read_arrays(const Metadata& metadata, VocabularyData* data) {
  KL_TRY(data->tokens, slices(metadata, "tokenizer.ggml.tokens"));
  KL_TRY(data->merges, slices(metadata, "tokenizer.ggml.merges"));
  if (metadata.has("tokenizer.ggml.scores")) {
    KL_TRY(std::vector<double> scores, metadata.get_floats("tokenizer.ggml.scores"));
    if (scores.size() != data->tokens.size()) {
      return wrong_length("tokenizer.ggml.scores", scores.size(), data->tokens.size());
    }
    data->scores.reserve(scores.size());
    for (double score : scores) data->scores.push_back(static_cast<float>(score));
  }
  if (metadata.has("tokenizer.ggml.token_type")) {
    KL_TRY(std::vector<int64_t> types, metadata.get_ints("tokenizer.ggml.token_type"));
    if (types.size() != data->tokens.size()) {
      return wrong_length("tokenizer.ggml.token_type", types.size(), data->tokens.size());
    }
    data->types.reserve(types.size());
    for (int64_t type : types) data->types.push_back(type >= 0 && type <= 6 ? static_cast<int32_t>(type) : 0);
  }
  if (metadata.has("tokenizer.ggml.precompiled_charsmap")) {
    KL_TRY(std::vector<int64_t> bytes, metadata.get_ints("tokenizer.ggml.precompiled_charsmap"));
    data->charsmap.reserve(bytes.size());
    for (int64_t byte : bytes) data->charsmap.push_back(static_cast<char>(byte));
  }
  return {};
}

Status read_special(const Metadata& metadata, LoadedTokenizer* loaded) {
  SpecialTokens& special = loaded->special;
  const std::pair<std::string_view, std::optional<int32_t>*> roles[] = {
      {"tokenizer.ggml.bos_token_id", &special.bos},
      {"tokenizer.ggml.eos_token_id", &special.eos},
      {"tokenizer.ggml.eot_token_id", &special.eot},
      {"tokenizer.ggml.unknown_token_id", &special.unk},
      {"tokenizer.ggml.padding_token_id", &special.pad},
      {"tokenizer.ggml.seperator_token_id", &special.sep},  // spelled so by the format
      {"tokenizer.ggml.mask_token_id", &special.mask},
      {"tokenizer.ggml.prefix_token_id", &special.fim_prefix},
      {"tokenizer.ggml.suffix_token_id", &special.fim_suffix},
      {"tokenizer.ggml.middle_token_id", &special.fim_middle},
      {"tokenizer.ggml.fim_pre_token_id", &special.fim_prefix},
      {"tokenizer.ggml.fim_suf_token_id", &special.fim_suffix},
      {"tokenizer.ggml.fim_mid_token_id", &special.fim_middle},
      {"tokenizer.ggml.fim_pad_token_id", &special.fim_pad},
      {"tokenizer.ggml.fim_rep_token_id", &special.fim_repo},
      {"tokenizer.ggml.fim_sep_token_id", &special.fim_sep},
  };
  for (const auto& [key, role] : roles) {
    KL_TRY(std::optional<int32_t> id, id_of_key(metadata, key));
    if (id) *role = id;
  }
  KL_TRY(std::optional<int32_t> eom, id_of_key(metadata, "tokenizer.ggml.eom_token_id"));
  if (eom) loaded->end_ids.push_back(*eom);
  return {};
}

Status read_flags(const Metadata& metadata, KtVocabulary* raw) {
  KL_TRY(raw->add_bos, flag_of_key(metadata, "tokenizer.ggml.add_bos_token"));
  KL_TRY(raw->add_eos, flag_of_key(metadata, "tokenizer.ggml.add_eos_token"));
  KL_TRY(raw->add_sep, flag_of_key(metadata, "tokenizer.ggml.add_sep_token"));
  KL_TRY(raw->add_space_prefix, flag_of_key(metadata, "tokenizer.ggml.add_space_prefix"));
  KL_TRY(raw->remove_extra_whitespaces, flag_of_key(metadata, "tokenizer.ggml.remove_extra_whitespaces"));
  KL_TRY(raw->lowercase, flag_of_key(metadata, "tokenizer.ggml.normalizer.lowercase"));
  KL_TRY(raw->strip_accents, flag_of_key(metadata, "tokenizer.ggml.normalizer.strip_accents"));
  return {};
}

}  // namespace

Result<LoadedTokenizer> load_gguf_tokenizer(const Checkpoint& checkpoint) {
  const Metadata& metadata = checkpoint.metadata;
  if (!metadata.has("tokenizer.ggml.model")) {
    return Error{ErrorCode::kNotFound, "the file carries no tokenizer (tokenizer.ggml.model is missing)"};
  }
  VocabularyData data;
  LoadedTokenizer loaded;
  KL_TRY(data.model, metadata.get_string("tokenizer.ggml.model"));
  KL_TRY(data.pre, metadata.string_or("tokenizer.ggml.pre", ""));
  KL_TRY(data.architecture, metadata.string_or("general.architecture", ""));
  KL_RETURN_IF_ERROR(read_arrays(metadata, &data));
  KL_RETURN_IF_ERROR(read_special(metadata, &loaded));

  KtVocabulary raw{};
  raw.model = textlib::slice(data.model);
  raw.pre = textlib::slice(data.pre);
  raw.architecture = textlib::slice(data.architecture);
  raw.tokens = data.tokens.data();
  raw.token_count = data.tokens.size();
  raw.scores = data.scores.empty() ? nullptr : data.scores.data();
  raw.types = data.types.empty() ? nullptr : data.types.data();
  raw.merges = data.merges.data();
  raw.merge_count = data.merges.size();
  raw.charsmap = textlib::slice(data.charsmap);
  raw.bos = loaded.special.bos.value_or(-1);
  raw.eos = loaded.special.eos.value_or(-1);
  raw.unk = loaded.special.unk.value_or(-1);
  raw.sep = loaded.special.sep.value_or(-1);
  KL_RETURN_IF_ERROR(read_flags(metadata, &raw));

  textlib::Buffer out;
  KtStatus status = kt_tokenizer_from_vocabulary(&raw, &loaded.handle, out.out());
  if (status != KT_OK) return textlib::error(status, out);
  return loaded;
}

}  // namespace kinglet
