#include "hub/documents.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "hub/files.h"

namespace kinglet::hub {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxFiles = 100'000;

Error invalid(const std::string& context, const std::string& what) {
  return {ErrorCode::kInvalid, context + ": " + what};
}

Result<Json> parse_json(std::string_view text, const std::string& context) {
  if (text.size() > kMaxDocumentBytes) return invalid(context, "more than 64 MiB of JSON");
  bool too_deep = false;
  auto depth_guard = [&](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > 64;
    return !too_deep;
  };
  Json value = Json::parse(text.begin(), text.end(), depth_guard, /*allow_exceptions=*/false);
  if (too_deep) return invalid(context, "JSON nested deeper than 64 levels");
  if (value.is_discarded()) return invalid(context, "not valid JSON");
  if (!value.is_object()) return invalid(context, "expected a JSON object");
  return value;
}

const Json* member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  auto it = object.find(key);
  return it == object.end() ? nullptr : &*it;
}

std::string text_of(const Json& object, const char* key) {
  const Json* value = member(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

// A size: an unsigned number up to kMaxFileBytes.
bool read_size(const Json& object, const char* key, uint64_t* out) {
  const Json* value = member(object, key);
  if (value == nullptr || !value->is_number_unsigned()) return false;
  *out = value->get<uint64_t>();
  return *out <= kMaxFileBytes;
}

const Json* array_of(const Json& object, const char* key) {
  const Json* value = member(object, key);
  return value != nullptr && value->is_array() && value->size() <= kMaxFiles ? value : nullptr;
}

// Invalid UTF-8 (a name given on the command line, say) is replaced, never thrown about.
std::string dump(const Json& value) {
  return value.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

bool is_plain_token(std::string_view text) {
  return !text.empty() && text.size() <= 100 && text.front() != '.' && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' ||
           c == '-';
  });
}

Result<HubFile> parse_hub_file(const Json& entry, const std::string& context) {
  HubFile file;
  file.path = text_of(entry, "rfilename");
  if (!is_safe_relative_path(file.path)) {
    return invalid(context, "it lists a file name that is not safe to use: \"" + printable(file.path) + "\"");
  }
  const std::string name = "\"" + printable(file.path) + "\"";
  if (const Json* lfs = member(entry, "lfs"); lfs != nullptr && lfs->is_object()) {
    file.sha256 = text_of(*lfs, "sha256");
    if (!is_lower_hex(file.sha256, 64)) return invalid(context, "bad lfs.sha256 of " + name);
    if (!read_size(*lfs, "size", &file.size)) return invalid(context, "bad lfs.size of " + name);
    return file;
  }
  // Mirrors that leave out sizes and ids of files are tolerated until such a file is wanted (selection.cc).
  if (member(entry, "size") != nullptr && !read_size(entry, "size", &file.size)) {
    return invalid(context, "bad size of " + name);
  }
  const std::string id = text_of(entry, "blobId");
  if (is_lower_hex(id, 40) && member(entry, "size") != nullptr) file.git_sha1 = id;
  return file;
}

Result<StoredFile> parse_stored_file(const Json& entry, const std::string& context) {
  StoredFile file{text_of(entry, "name"), 0, text_of(entry, "sha256")};
  if (!is_safe_relative_path(file.name)) return invalid(context, "unsafe file name \"" + printable(file.name) + "\"");
  if (!read_size(entry, "size", &file.size)) return invalid(context, "no valid size for " + printable(file.name));
  if (!is_lower_hex(file.sha256, 64)) return invalid(context, "no valid sha256 for " + printable(file.name));
  return file;
}

}  // namespace

std::string format_manifest(const StoredModel& model) {
  Json files = Json::array();
  for (const StoredFile& file : model.files) {
    files.push_back({{"name", file.name}, {"size", file.size}, {"sha256", file.sha256}});
  }
  return dump({{"format", 1},
               {"name", model.name},
               {"source", model.source},
               {"revision", model.revision},
               {"entry", model.entry},
               {"created", model.created},
               {"files", files}});
}

Result<StoredModel> parse_manifest(std::string_view text, const std::string& context) {
  KL_TRY(const Json root, parse_json(text, context));
  uint64_t format = 0;
  if (!read_size(root, "format", &format) || format != 1) {
    return invalid(context, "field \"format\": expected 1 (written by a newer Kinglet?)");
  }
  StoredModel model;
  model.name = text_of(root, "name");
  model.source = text_of(root, "source");
  model.revision = text_of(root, "revision");
  model.entry = text_of(root, "entry");
  if (const Json* created = member(root, "created"); created != nullptr && created->is_number_integer()) {
    model.created = created->get<int64_t>();
  }
  const Json* files = array_of(root, "files");
  if (model.name.empty()) return invalid(context, "field \"name\" is missing");
  if (files == nullptr || files->empty()) return invalid(context, "field \"files\": expected a list of files");
  for (const Json& entry : *files) {
    KL_TRY(StoredFile file, parse_stored_file(entry, context));
    model.files.push_back(std::move(file));
  }
  const bool entry_listed =
      std::ranges::any_of(model.files, [&](const StoredFile& file) { return file.name == model.entry; });
  if (!model.entry.empty() && !entry_listed) return invalid(context, "field \"entry\" names a file that is not listed");
  return model;
}

Result<HubListing> parse_hub_listing(std::string_view text, const std::string& context) {
  KL_TRY(const Json root, parse_json(text, context));
  HubListing listing;
  listing.commit = text_of(root, "sha");
  if (!is_plain_token(listing.commit)) return invalid(context, "field \"sha\": expected the commit's id");
  const Json* files = array_of(root, "siblings");
  if (files == nullptr) return invalid(context, "field \"siblings\": expected a list of at most 100,000 files");
  std::set<std::string> seen;
  for (const Json& entry : *files) {
    KL_TRY(HubFile file, parse_hub_file(entry, context));
    if (!seen.insert(file.path).second) return invalid(context, "it lists " + printable(file.path) + " twice");
    listing.files.push_back(std::move(file));
  }
  return listing;
}

std::string format_partial_state(const PartialState& state) {
  Json pieces = Json::array();
  for (const PieceState& piece : state.pieces) pieces.push_back({piece.begin, piece.end, piece.done});
  return dump(
      {{"file", state.file}, {"size", state.size}, {"digest", state.digest}, {"etag", state.etag}, {"pieces", pieces}});
}

Result<PartialState> parse_partial_state(std::string_view text, const std::string& context) {
  KL_TRY(const Json root, parse_json(text, context));
  PartialState state;
  state.file = text_of(root, "file");
  state.digest = text_of(root, "digest");
  state.etag = text_of(root, "etag");
  const Json* pieces = array_of(root, "pieces");
  if (!read_size(root, "size", &state.size) || pieces == nullptr) return invalid(context, "fields are missing");
  uint64_t position = 0;
  for (const Json& entry : *pieces) {
    if (!entry.is_array() || entry.size() != 3 ||
        !std::ranges::all_of(entry, [](const Json& n) { return n.is_number_unsigned(); })) {
      return invalid(context, "malformed piece");
    }
    const PieceState piece{entry[0].get<uint64_t>(), entry[1].get<uint64_t>(), entry[2].get<uint64_t>()};
    if (piece.begin != position || piece.end <= piece.begin || piece.end > state.size ||
        piece.done > piece.end - piece.begin) {
      return invalid(context, "the pieces do not tile the file");
    }
    position = piece.end;
    state.pieces.push_back(piece);
  }
  if (position != state.size) return invalid(context, "the pieces do not tile the file");
  return state;
}

Result<std::vector<std::string>> parse_weight_index(std::string_view text, const std::string& context) {
  KL_TRY(const Json root, parse_json(text, context));
  const Json* map = member(root, "weight_map");
  if (map == nullptr || !map->is_object()) return invalid(context, "field \"weight_map\": expected an object");
  std::set<std::string> names;
  for (const Json& value : *map) {
    if (!value.is_string() || !is_safe_relative_path(value.get_ref<const std::string&>())) {
      return invalid(context, "field \"weight_map\" names a file that is not safe to use");
    }
    names.insert(value.get<std::string>());
  }
  return std::vector<std::string>(names.begin(), names.end());
}

}  // namespace kinglet::hub
