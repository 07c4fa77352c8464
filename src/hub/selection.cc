#include "hub/selection.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <map>
#include <set>

namespace kinglet::hub {
namespace {

constexpr std::string_view kPreference[] = {"Q4_K_M",  "Q4_K_S", "Q5_K_M",  "Q5_K_S", "Q4_0",   "Q4_1",   "IQ4_XS",
                                            "IQ4_NL",  "Q5_0",   "Q5_1",    "Q6_K",   "Q8_0",   "MXFP4",  "Q4_K_L",
                                            "Q4_K_XL", "Q5_K_L", "Q6_K_L",  "Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M",
                                            "IQ3_S",   "IQ3_XS", "IQ3_XXS", "Q2_K",   "BF16",   "F16",    "F32"};

// What a safetensors checkpoint needs beside its weights, where the repository has it.
constexpr std::string_view kSideFiles[] = {"config.json",
                                           "generation_config.json",
                                           "tokenizer.json",
                                           "tokenizer_config.json",
                                           "tokenizer.model",
                                           "tiktoken.model",
                                           "special_tokens_map.json",
                                           "added_tokens.json",
                                           "vocab.json",
                                           "merges.txt",
                                           "vocab.txt",
                                           "chat_template.jinja",
                                           "chat_template.json",
                                           "modules.json",
                                           "sentence_bert_config.json",
                                           "1_Pooling/config.json"};

std::string upper(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

bool has_suffix(std::string_view text, std::string_view suffix) {
  return lower(text).ends_with(suffix);
}

std::string_view base_name(std::string_view path) {
  const size_t slash = path.find_last_of('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

// Q4_K_M, IQ2_XXS, TQ1_0, BF16, MXFP4_MOE ...: a head, then '_' and short upper-case tails.
bool looks_like_quantisation(std::string_view word) {
  if (word == "FP16" || word == "FP32") return true;
  for (const std::string_view plain : {"BF16", "F16", "F32", "MXFP4", "NVFP4"}) {
    if (word == plain) return true;
  }
  if (word == "MXFP4_MOE") return true;
  std::string_view rest = word;
  if (rest.starts_with("IQ") || rest.starts_with("TQ")) rest.remove_prefix(1);
  if (rest.size() < 4 || rest[0] != 'Q' || rest[1] < '1' || rest[1] > '8' || rest[2] != '_') return false;
  rest.remove_prefix(3);
  static constexpr std::string_view kTails[] = {"0", "1", "K", "K_S", "K_M", "K_L", "K_XL", "K_XXL",
                                                "S", "M", "L", "XS",  "XXS", "NL",  "XL",   "K_H"};
  return std::ranges::find(kTails, rest) != std::end(kTails);
}

std::string canonical_quantisation(const std::string& word) {
  if (word == "FP16") return "F16";
  if (word == "FP32") return "F32";
  if (word == "MXFP4_MOE") return "MXFP4";
  return word;
}

bool is_model_gguf(std::string_view path) {
  const std::string name = lower(base_name(path));
  if (!name.ends_with(".gguf")) return false;
  for (const std::string_view other : {"mmproj", "imatrix", "lora"}) {
    if (name.find(other) != std::string::npos) return false;
  }
  return true;
}

std::string join(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

std::string describe(const std::vector<ModelFiles>& models) {
  std::vector<std::string> names;
  for (const ModelFiles& model : models) {
    if (names.size() == 20) {
      names.push_back("...");
      break;
    }
    names.push_back(model.entry);
  }
  return join(names);
}

std::optional<ModelFiles> safetensors_model(const std::vector<std::string>& paths) {
  const std::set<std::string> present(paths.begin(), paths.end());
  ModelFiles model;
  if (present.contains("model.safetensors.index.json")) {
    model.files.push_back("model.safetensors.index.json");
    for (const std::string& path : present) {
      auto split = parse_split_name(path, ".safetensors");
      if (split && split->stem == "model") model.files.push_back(path);
    }
    if (model.files.size() == 1) return std::nullopt;
  } else if (present.contains("model.safetensors")) {
    model.files.push_back("model.safetensors");
  } else {
    return std::nullopt;
  }
  if (!present.contains("config.json")) return std::nullopt;
  for (const std::string_view side : kSideFiles) {
    if (present.contains(std::string(side))) model.files.emplace_back(side);
  }
  return model;
}

Result<ModelFiles> one_of(const std::vector<ModelFiles>& fitting, const std::string& where, const std::string& label) {
  if (fitting.size() == 1) return fitting.front();
  return Error{ErrorCode::kInvalid, where + " holds several " + label + " models; name a file: " + describe(fitting)};
}

std::vector<ModelFiles> with_quantisation(const std::vector<ModelFiles>& models, std::string_view label) {
  std::vector<ModelFiles> fitting;
  for (const ModelFiles& model : models) {
    if (quantisation_of(model.entry) == label) fitting.push_back(model);
  }
  return fitting;
}

Result<ModelFiles> select_default(const std::vector<std::string>& paths, const std::vector<ModelFiles>& models,
                                  const std::string& where) {
  for (const std::string_view label : kPreference) {
    const std::vector<ModelFiles> fitting = with_quantisation(models, label);
    if (!fitting.empty()) return one_of(fitting, where, std::string(label));
  }
  if (!models.empty()) return one_of(models, where, "GGUF");
  if (auto model = safetensors_model(paths)) return *model;
  std::vector<std::string> shown(paths.begin(),
                                 paths.begin() + static_cast<ptrdiff_t>(std::min<size_t>(paths.size(), 20)));
  return Error{ErrorCode::kNotFound, where +
                                         " holds no model that Kinglet can read (a .gguf file, or config.json with " +
                                         "model.safetensors). It holds: " + (shown.empty() ? "nothing" : join(shown))};
}

}  // namespace

std::string quantisation_of(std::string_view file_name) {
  const std::string name = upper(base_name(file_name));
  std::string found;
  std::string word;
  for (size_t i = 0; i <= name.size(); ++i) {
    const char c = i < name.size() ? name[i] : '.';
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '_') {
      word += c;
      continue;
    }
    // "model_Q4_K_M" joins the label to the name with a '_': try every tail.
    for (size_t start = 0; start < word.size(); ++start) {
      if (start > 0 && word[start - 1] != '_') continue;
      const std::string tail = word.substr(start);
      if (looks_like_quantisation(tail)) {
        found = canonical_quantisation(tail);
        break;
      }
    }
    word.clear();
  }
  return found;
}

bool is_quantisation(std::string_view text) {
  return looks_like_quantisation(upper(text));
}

std::optional<SplitName> parse_split_name(std::string_view path, std::string_view suffix) {
  if (!has_suffix(path, suffix)) return std::nullopt;
  const std::string_view name = path.substr(0, path.size() - suffix.size());
  constexpr size_t kTail = 15;  // "-00001-of-00005"
  if (name.size() <= kTail) return std::nullopt;
  const std::string_view tail = name.substr(name.size() - kTail);
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-") return std::nullopt;
  auto number = [&](size_t at) {
    int value = 0;
    for (size_t i = at; i < at + 5; ++i) {
      if (tail[i] < '0' || tail[i] > '9') return -1;
      value = value * 10 + (tail[i] - '0');
    }
    return value;
  };
  SplitName split{std::string(name.substr(0, name.size() - kTail)), number(1), number(10)};
  if (split.part < 1 || split.parts < 1 || split.part > split.parts) return std::nullopt;
  return split;
}

std::string format_split_name(const SplitName& name, int part, std::string_view suffix) {
  std::array<char, 32> tail;
  std::snprintf(tail.data(), tail.size(), "-%05d-of-%05d", part, name.parts);
  return name.stem + tail.data() + std::string(suffix);
}

std::vector<ModelFiles> gguf_models(const std::vector<std::string>& paths) {
  std::map<std::string, ModelFiles> by_stem;
  const std::set<std::string> present(paths.begin(), paths.end());
  for (const std::string& path : present) {
    if (!is_model_gguf(path) || parse_split_name(path, ".gguf")) continue;
    by_stem[path.substr(0, path.size() - 5)] = {{path}, path};
  }
  for (const std::string& path : present) {
    auto split = parse_split_name(path, ".gguf");
    // A repository that holds a model both whole and split: the whole file is the simpler one.
    if (!is_model_gguf(path) || !split || split->part != 1 || by_stem.contains(split->stem)) continue;
    ModelFiles model{{}, path};
    for (int part = 1; part <= split->parts; ++part) {
      const std::string name = format_split_name(*split, part, path.substr(path.size() - 5));
      if (!present.contains(name)) break;
      model.files.push_back(name);
    }
    if (static_cast<int>(model.files.size()) == split->parts) by_stem[split->stem] = model;
  }
  std::vector<ModelFiles> models;
  for (auto& [stem, model] : by_stem) models.push_back(std::move(model));
  return models;
}

Result<ModelFiles> select_model_files(const std::vector<std::string>& paths, const std::string& selector,
                                      const std::string& where) {
  const std::vector<ModelFiles> models = gguf_models(paths);
  if (selector.empty()) return select_default(paths, models, where);
  if (lower(selector) == "safetensors") {
    if (auto model = safetensors_model(paths)) return *model;
    return Error{ErrorCode::kNotFound, where + " holds no safetensors model (config.json with model.safetensors)"};
  }
  for (const ModelFiles& model : models) {
    if (std::ranges::find(model.files, selector) != model.files.end()) return model;
  }
  if (is_quantisation(selector)) {
    const std::string label = canonical_quantisation(upper(selector));
    const std::vector<ModelFiles> fitting = with_quantisation(models, label);
    if (!fitting.empty()) return one_of(fitting, where, label);
  }
  const std::string there = models.empty() ? "no GGUF model" : "these: " + describe(models);
  return Error{ErrorCode::kNotFound, where + " has no file or quantisation \"" + selector + "\"; it holds " + there};
}

}  // namespace kinglet::hub
