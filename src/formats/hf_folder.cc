#include "formats/hf_folder.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "base/memory.h"
#include "base/quote.h"
#include "formats/checkpoint_parts.h"
#include "formats/config_json.h"
#include "formats/json_bounded.h"
#include "formats/quantised.h"
#include "formats/safetensors.h"

namespace kinglet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr uint64_t kMiB = 1u << 20;
constexpr uint64_t kMostConfigBytes = 4 * kMiB;
constexpr uint64_t kMostSideFileBytes = 256 * kMiB;  // the largest tokenizer.json in use have 35 MB
constexpr uint64_t kMostIndexBytes = 64 * kMiB;
constexpr const char* kIndexName = "model.safetensors.index.json";

Error invalid(const std::string& message) {
  return {ErrorCode::kInvalid, message};
}

// A file's contents; nothing where it does not exist.
Result<std::optional<std::string>> read_optional(const fs::path& path, uint64_t most_bytes) {
  auto file = MappedFile::open(path.string());
  if (!file.ok()) {
    if (file.error().code == ErrorCode::kNotFound) return std::optional<std::string>();
    return file.error();
  }
  const auto bytes = (*file)->bytes();
  if (bytes.size() > most_bytes) {
    return invalid(path.string() + ": expected at most " + std::to_string(most_bytes) + " bytes, found " +
                   std::to_string(bytes.size()));
  }
  return std::optional(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

Status read_side_files(const fs::path& folder, Checkpoint::SideFiles& side) {
  struct {
    const char* name;
    std::string& contents;
    uint64_t most_bytes;
  } const files[] = {
      {"config.json", side.config_json, kMostConfigBytes},
      {"generation_config.json", side.generation_config_json, kMostConfigBytes},
      {"tokenizer.json", side.tokenizer_json, kMostSideFileBytes},
      {"tokenizer_config.json", side.tokenizer_config_json, kMostSideFileBytes},
      {"chat_template.jinja", side.chat_template, kMostConfigBytes},
      {"special_tokens_map.json", side.special_tokens_map_json, kMostConfigBytes},
      {"tokenizer.model", side.tokenizer_model, kMostSideFileBytes},
      {"tiktoken.model", side.tiktoken_model, kMostSideFileBytes},
  };
  for (const auto& file : files) {
    KL_TRY(auto contents, read_optional(folder / file.name, file.most_bytes));
    if (contents) file.contents = std::move(*contents);
  }
  return {};
}

Status read_sentence_files(const fs::path& folder, Checkpoint::SentenceFiles& files) {
  struct {
    const char* name;
    Metadata& to;
  } const all[] = {{"modules.json", files.modules},
                   {"1_Pooling/config.json", files.pooling},
                   {"sentence_bert_config.json", files.texts}};
  for (const auto& file : all) {
    const fs::path path = folder / file.name;
    KL_TRY(auto contents, read_optional(path, kMostConfigBytes));
    if (!contents) continue;
    // modules.json is a list; members of an object have names.
    if (&file.to == &files.modules) contents = "{\"modules\":" + *contents + "}";
    KL_TRY(file.to, flatten_config(*contents, path.string()));
  }
  return {};
}

// A file named by an index must lie in the folder itself: no separators, no parent, nothing hidden.
bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name.size() < 256 && name[0] != '.' && name.ends_with(".safetensors") &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

// Tensor name -> file name.
using WeightMap = std::map<std::string, std::string>;

Result<WeightMap> read_index(std::string_view text, const std::string& source) {
  KL_TRY(const Json index, parse_json(text, source));
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (map == index.end() || !map->is_object()) return invalid(source + ": weight_map: expected an object, found none");
  WeightMap weights;
  for (const auto& [tensor, file] : map->items()) {
    const std::string field = source + ": weight_map: " + quote(tensor);
    if (!file.is_string()) return invalid(field + ": expected a file name, found another value");
    const auto& name = file.get_ref<const std::string&>();
    if (!is_plain_file_name(name)) {
      return invalid(field + ": expected the name of a .safetensors file in the same folder, found " + quote(name));
    }
    weights.emplace(tensor, name);
  }
  return weights;
}

Status add_file(Checkpoint& checkpoint, const fs::path& path, std::vector<TensorView>& tensors) {
  KL_TRY(auto file, MappedFile::open(path.string()));
  KL_TRY(tensors, parse_safetensors(file->bytes(), path.string()));
  checkpoint.files.push_back(std::move(file));
  return {};
}

// The tensors that the index names, from the files that it names. Other tensors in these files do not belong to the
// model.
Status add_indexed(Checkpoint& checkpoint, const fs::path& folder, const WeightMap& weights) {
  std::map<std::string, size_t> expected;  // file -> number of tensors
  for (const auto& [tensor, file] : weights) ++expected[file];
  for (const auto& [name, count] : expected) {
    std::vector<TensorView> tensors;
    KL_RETURN_IF_ERROR(add_file(checkpoint, folder / name, tensors));
    size_t found = 0;
    for (TensorView& tensor : tensors) {
      const auto entry = weights.find(tensor.name);
      if (entry == weights.end() || entry->second != name) continue;
      ++found;
      checkpoint.tensors.push_back(std::move(tensor));
    }
    if (found != count) {
      return invalid((folder / name).string() + ": expected the " + std::to_string(count) + " tensors that " +
                     kIndexName + " places in it, found " + std::to_string(found) + " of them");
    }
  }
  return {};
}

// All weight files of a folder but adapters.
Result<std::vector<fs::path>> weight_files(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> files;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (is_plain_file_name(name) && !name.starts_with("adapter")) files.push_back(entry->path());
  }
  if (error) return Error{ErrorCode::kIo, folder.string() + ": cannot be listed: " + error.message()};
  std::sort(files.begin(), files.end());
  return files;
}

// NAME-00002-of-00007.safetensors: a part of NAME.
struct Shard {
  std::string name;
  int number = 0, count = 0;
};
std::optional<Shard> shard_of(const std::string& file) {
  constexpr size_t kTail = std::string_view("-00002-of-00007.safetensors").size();
  if (file.size() <= kTail) return {};
  const std::string tail = file.substr(file.size() - kTail);
  const std::string digits = tail.substr(1, 5) + tail.substr(10, 5);
  const bool numbered = digits.find_first_not_of("0123456789") == std::string::npos;
  if (!numbered || tail[0] != '-' || tail.substr(6, 4) != "-of-" || tail[15] != '.') return {};
  return Shard{file.substr(0, file.size() - kTail), std::stoi(tail.substr(1, 5)), std::stoi(tail.substr(10, 5))};
}

// Shards number themselves from 1 to their count: each must be there.
Status check_shards(const fs::path& folder, const std::vector<fs::path>& files) {
  std::map<std::pair<std::string, int>, std::set<int>> found;
  for (const fs::path& file : files)
    if (const auto shard = shard_of(file.filename().string())) found[{shard->name, shard->count}].insert(shard->number);
  for (const auto& [model, numbers] : found) {
    const auto& [name, count] = model;
    int missing = 1;
    while (numbers.contains(missing)) ++missing;
    if (missing == count + 1 && std::ssize(numbers) == count) continue;
    return invalid(folder.string() + ": " + name + "-…-of-….safetensors: expected the parts 1 to " +
                   std::to_string(count) + ", found " + std::to_string(numbers.size()) + " files, " +
                   (missing <= count ? "part " + std::to_string(missing) + " is missing"
                                     : "part " + std::to_string(*numbers.rbegin()) + " is none of them"));
  }
  return {};
}

// Parts of the model that the index does not name would be left out in silence.
Status check_unnamed_shards(const fs::path& folder, const WeightMap& weights) {
  std::set<std::string> named, models;
  for (const auto& [tensor, file] : weights) {
    named.insert(file);
    if (const auto shard = shard_of(file)) models.insert(shard->name);
  }
  KL_TRY(const auto files, weight_files(folder));
  for (const fs::path& path : files) {
    const std::string file = path.filename().string();
    const auto shard = shard_of(file);
    if (shard && models.contains(shard->name) && !named.contains(file))
      return invalid(path.string() + ": found a part of the model that " + kIndexName +
                     " does not name, expected the " + std::to_string(named.size()) + " files that it names");
  }
  return {};
}

Status add_tensors(Checkpoint& checkpoint, const fs::path& folder) {
  const fs::path index_path = folder / kIndexName;
  KL_TRY(const auto index, read_optional(index_path, kMostIndexBytes));
  if (index) {
    KL_TRY(const auto weights, read_index(*index, index_path.string()));
    KL_RETURN_IF_ERROR(check_unnamed_shards(folder, weights));
    return add_indexed(checkpoint, folder, weights);
  }
  std::error_code error;
  std::vector<fs::path> files = {folder / "model.safetensors"};
  if (!fs::exists(files.front(), error)) {
    KL_TRY(files, weight_files(folder));
    KL_RETURN_IF_ERROR(check_shards(folder, files));
  }
  for (const fs::path& file : files) {
    std::vector<TensorView> tensors;
    KL_RETURN_IF_ERROR(add_file(checkpoint, file, tensors));
    std::move(tensors.begin(), tensors.end(), std::back_inserter(checkpoint.tensors));
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const Checkpoint>> open_hf_folder(const std::string& path, const OpenOptions& options) {
  const fs::path folder(path);
  auto checkpoint = std::make_shared<Checkpoint>();
  checkpoint->format = CheckpointFormat::kHuggingFace;
  checkpoint->path = path;
  KL_RETURN_IF_ERROR(read_side_files(folder, checkpoint->side_files));
  const std::string config_path = (folder / "config.json").string();
  const Checkpoint::SideFiles& side = checkpoint->side_files;
  if (!side.config_json.empty()) {
    KL_TRY(checkpoint->metadata, flatten_config(side.config_json, config_path));
  } else {
    const bool has_vocabulary =
        !side.tokenizer_json.empty() || !side.tokenizer_model.empty() || !side.tiktoken_model.empty();
    if (!options.vocabulary_only || !has_vocabulary) {
      return Error{
          ErrorCode::kNotFound,
          path + ": expected a model folder with config.json, found none (for a GGUF file, name the file itself)"};
    }
    checkpoint->metadata = Metadata(config_path);
  }
  KL_RETURN_IF_ERROR(read_sentence_files(folder, checkpoint->sentence_files));
  KL_RETURN_IF_ERROR(add_tensors(*checkpoint, folder));
  if (checkpoint->tensors.empty() && !options.vocabulary_only) {
    return Error{ErrorCode::kNotFound, path + ": expected *.safetensors files with tensors, found none"};
  }
  KL_RETURN_IF_ERROR(index_tensors(*checkpoint));
  KL_RETURN_IF_ERROR(assemble_quantised(*checkpoint));
  return std::shared_ptr<const Checkpoint>(std::move(checkpoint));
}

}  // namespace kinglet
