#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "formats/checkpoint.h"
#include "text/textlib_bridge.h"
#include "text/tokenizer_loading.h"

namespace kinglet {
namespace {

using Json = nlohmann::json;

// Depth is bounded before parsing: the parser recurses when values are destroyed.
constexpr int kMaxDepth = 128;

Result<Json> parse_object(std::string_view text, const std::string& name) {
  if (text.empty()) return Json::object();
  bool too_deep = false;
  auto watch = [&](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;
  };
  Json json = Json::parse(text, watch, /*allow_exceptions=*/false);
  if (too_deep || json.is_discarded() || !json.is_object()) {
    return Error{ErrorCode::kInvalid, name + ": expected a JSON object"};
  }
  return json;
}

// A role's text: a string, or an object with "content".
std::optional<std::string> role_text(const Json& json, const char* role) {
  auto found = json.find(role);
  if (found == json.end()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (found->is_object() && found->contains("content") && (*found)["content"].is_string()) {
    return (*found)["content"].get<std::string>();
  }
  return std::nullopt;
}

std::optional<int32_t> id_in(const KtTokenizer* handle, const std::string& text) {
  int64_t id = kt_tokenizer_token_id(handle, textlib::slice(text));
  return id < 0 ? std::nullopt : std::optional<int32_t>(static_cast<int32_t>(id));
}

void append_ids(const Json& json, const char* key, std::vector<int64_t>* ids) {
  auto found = json.find(key);
  if (found == json.end()) return;
  auto add = [&](const Json& value) {
    if (value.is_number_integer()) ids->push_back(value.get<int64_t>());
  };
  if (found->is_array()) {
    for (const Json& value : *found) add(value);
  } else {
    add(*found);
  }
}

Status read_roles(const Checkpoint& checkpoint, LoadedTokenizer* loaded) {
  const auto& files = checkpoint.side_files;
  KL_TRY(Json tokenizer, parse_object(files.tokenizer_config_json, "tokenizer_config.json"));
  KL_TRY(Json special_map, parse_object(files.special_tokens_map_json, "special_tokens_map.json"));
  KL_TRY(Json generation, parse_object(files.generation_config_json, "generation_config.json"));
  KL_TRY(Json model, parse_object(files.config_json, "config.json"));
  SpecialTokens& special = loaded->special;
  const std::array<std::pair<const char*, std::optional<int32_t>*>, 6> roles{{{"bos", &special.bos},
                                                                              {"eos", &special.eos},
                                                                              {"unk", &special.unk},
                                                                              {"pad", &special.pad},
                                                                              {"sep", &special.sep},
                                                                              {"mask", &special.mask}}};
  for (const auto& [name, role] : roles) {
    std::string text_key = std::string(name) + "_token";
    std::optional<std::string> text = role_text(tokenizer, text_key.c_str());
    if (!text) text = role_text(special_map, text_key.c_str());
    if (text) *role = id_in(loaded->handle, *text);
    std::string id_key = text_key + "_id";
    for (const Json* json : {&generation, &model}) {
      std::vector<int64_t> ids;
      append_ids(*json, id_key.c_str(), &ids);
      if (!*role && !ids.empty() && ids[0] >= 0 && ids[0] < kt_tokenizer_vocab_size(loaded->handle)) {
        *role = static_cast<int32_t>(ids[0]);
      }
    }
  }
  append_ids(generation, "eos_token_id", &loaded->end_ids);
  append_ids(model, "eos_token_id", &loaded->end_ids);
  return {};
}

// Ids that the tokenizer file itself names, for roles that nothing else named.
void read_file_roles(LoadedTokenizer* loaded) {
  SpecialTokens& special = loaded->special;
  std::optional<int32_t>* roles[] = {&special.bos, &special.eos, &special.unk, &special.pad};
  for (int which = 0; which < 4; ++which) {
    int64_t id = kt_tokenizer_role(loaded->handle, which);
    if (!*roles[which] && id >= 0 && id < kt_tokenizer_vocab_size(loaded->handle)) {
      *roles[which] = static_cast<int32_t>(id);
    }
  }
}

}  // namespace

Result<LoadedTokenizer> load_json_tokenizer(std::string_view tokenizer_json, std::string_view tokenizer_config) {
  LoadedTokenizer loaded;
  textlib::Buffer out;
  KtStatus status = kt_tokenizer_from_json(textlib::slice(tokenizer_json), textlib::slice(tokenizer_config),
                                           &loaded.handle, out.out());
  if (status != KT_OK) return textlib::error(status, out);
  return loaded;
}

Result<LoadedTokenizer> load_folder_tokenizer(const Checkpoint& checkpoint) {
  const auto& files = checkpoint.side_files;
  LoadedTokenizer loaded;
  if (!files.tokenizer_json.empty()) {
    KL_TRY(loaded, load_json_tokenizer(files.tokenizer_json, files.tokenizer_config_json));
  } else if (!files.tokenizer_model.empty() || !files.tiktoken_model.empty()) {
    bool sentencepiece = !files.tokenizer_model.empty();
    auto build = sentencepiece ? kt_tokenizer_from_sentencepiece : kt_tokenizer_from_tiktoken;
    textlib::Buffer out;
    KtStatus status = build(textlib::slice(sentencepiece ? files.tokenizer_model : files.tiktoken_model),
                            textlib::slice(files.tokenizer_config_json), &loaded.handle, out.out());
    if (status != KT_OK) return textlib::error(status, out);
  } else {
    return Error{ErrorCode::kNotFound,
                 "the folder carries no tokenizer (tokenizer.json, tokenizer.model or tiktoken.model)"};
  }
  Status roles = read_roles(checkpoint, &loaded);
  if (!roles.ok()) {
    kt_tokenizer_free(loaded.handle);
    return roles.error();
  }
  read_file_roles(&loaded);
  return loaded;
}

}  // namespace kinglet
