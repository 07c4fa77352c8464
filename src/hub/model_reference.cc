#include "hub/model_reference.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>

#include "base/near_match.h"
#include "hub/files.h"
#include "hub/selection.h"

namespace kinglet {
namespace {

using namespace hub;

Error invalid(const std::string& message) {
  return {ErrorCode::kInvalid, message};
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

bool is_name_part(std::string_view text) {
  if (text.empty() || text.size() > 96 || text.front() == '.' || text.front() == '-') return false;
  if (text.find("..") != std::string_view::npos) return false;
  return std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' ||
           c == '-';
  });
}

bool is_revision(std::string_view text) {
  if (text.empty() || text.size() > 200 || !is_safe_relative_path(text)) return false;
  return std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' ||
           c == '-' || c == '/' || c == '+';
  });
}

bool is_repo(std::string_view text) {
  const size_t slash = text.find('/');
  return slash != std::string_view::npos && is_name_part(text.substr(0, slash)) && is_name_part(text.substr(slash + 1));
}

std::string home_expanded(std::string_view path) {
  const char* home = std::getenv("HOME");
  if (path.starts_with("~/") && home != nullptr) return std::string(home) + std::string(path.substr(1));
  return std::string(path);
}

bool looks_like_path(std::string_view text) {
  if (text.starts_with('/') || text.starts_with("./") || text.starts_with("../") || text.starts_with("~/")) return true;
  if (text == "." || text == "..") return true;
  // "org/repo:file.gguf" is the hub's, "file.gguf" and "folder/file.gguf" are paths.
  return lower(text).ends_with(".gguf") && text.find(':') == std::string_view::npos;
}

bool exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

// Splits "text@revision" at the last '@'; no '@' leaves the revision empty.
Status split_revision(std::string_view* text, std::string* revision) {
  const size_t at = text->find_last_of('@');
  if (at == std::string_view::npos) return {};
  *revision = std::string(text->substr(at + 1));
  *text = text->substr(0, at);
  if (!is_revision(*revision)) {
    return invalid("\"@" + printable(*revision) + "\" is no revision: expected a branch, tag or commit after the '@'");
  }
  return {};
}

ModelReference hub_reference(std::string name, HubSource source) {
  ModelReference reference;
  reference.kind = ModelReference::Kind::kHub;
  if (!source.revision.empty()) name += "@" + source.revision;
  if (source.revision.empty()) source.revision = "main";
  reference.name = std::move(name);
  reference.hub = std::move(source);
  return reference;
}

Result<ModelReference> parse_hub_reference(std::string_view text) {
  const std::string original(text);
  if (text.find("://") != std::string_view::npos) {
    return invalid("\"" + printable(original) +
                   "\" is a web address: name the repository, as org/repo or hf:org/repo:file.gguf");
  }
  HubSource source;
  KL_RETURN_IF_ERROR(split_revision(&text, &source.revision));
  if (const size_t colon = text.find(':'); colon != std::string_view::npos) {
    source.selector = std::string(text.substr(colon + 1));
    text = text.substr(0, colon);
    if (!is_safe_relative_path(source.selector)) {
      return invalid("\"" + printable(original) + "\": expected a file or a quantisation after the ':'");
    }
    if (is_quantisation(source.selector)) {
      std::ranges::transform(source.selector, source.selector.begin(),
                             [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    }
  }
  if (!is_repo(text)) {
    return invalid("\"" + printable(original) + "\" names no repository: expected org/repo, org/repo:Q4_K_M or " +
                   "org/repo:file.gguf, each with @revision if wanted");
  }
  source.repo = std::string(text);
  std::string name = source.repo + (source.selector.empty() ? "" : ":" + source.selector);
  return hub_reference(std::move(name), std::move(source));
}

// Package models and short names; nullopt when `text` is neither.
std::optional<Result<ModelReference>> parse_short_name(std::string_view text) {
  std::string revision;
  std::string_view name = text;
  if (auto status = split_revision(&name, &revision); !status.ok()) return status.error();
  if (const PackageModel* package = find_package_model(name)) {
    if (!revision.empty()) {
      return invalid("\"" + std::string(package->name) + "\" comes from a pinned package and takes no @revision");
    }
    ModelReference reference;
    reference.kind = ModelReference::Kind::kPackage;
    reference.name = std::string(package->name);
    reference.package = package;
    return reference;
  }
  if (const ShortName* entry = find_short_name(name)) {
    return hub_reference(std::string(entry->name), {std::string(entry->repo), std::string(entry->selector), revision});
  }
  return std::nullopt;
}

Error unknown_name(std::string_view text, const Store* store) {
  std::vector<std::string> known;
  if (store != nullptr) {
    if (auto listing = store->list(); listing.ok()) {
      for (const StoredModel& model : listing->models) known.push_back(model.name);
    }
  }
  for (const PackageModel& package : package_models()) known.emplace_back(package.name);
  for (const ShortName& entry : short_names()) known.emplace_back(entry.name);
  std::string message = "no model is called \"" + printable(text) + "\"";
  const std::vector<std::string> near = near_matches(text, known);
  for (size_t i = 0; i < near.size(); ++i)
    message += (i == 0 ? "; did you mean " : i + 1 == near.size() ? " or " : ", ") + near[i];
  message += near.empty() ? ". " : "? ";
  message +=
      "A model is a path (./model.gguf), a name in `kinglet list`, a short name (qwen3:0.6b), or org/repo on the hub";
  return {ErrorCode::kNotFound, message};
}

Result<ModelReference> path_reference(std::string_view text) {
  ModelReference reference;
  reference.kind = ModelReference::Kind::kPath;
  reference.name = std::string(text);
  KL_TRY(reference.path, resolve_model_path(text));
  return reference;
}

Result<std::string> resolve_folder(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator it(folder, error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    if (names.size() >= 10'000) return invalid(folder + ": more than 10,000 files; name the model's file");
    names.push_back(it->path().filename().string());
  }
  if (error) return io_error("cannot read the folder", folder, error.value());
  const std::vector<ModelFiles> models = gguf_models(names);
  const bool checkpoint =
      std::ranges::find(names, "config.json") != names.end() &&
      std::ranges::any_of(names, [](const std::string& name) { return name.ends_with(".safetensors"); });
  if (checkpoint && models.empty()) return folder;
  if (!checkpoint && models.size() == 1) return folder + (folder.ends_with('/') ? "" : "/") + models.front().entry;
  if (checkpoint || models.size() > 1) {
    std::string listed;
    for (const ModelFiles& model : models) listed += " " + model.entry;
    return invalid(folder + ": holds several models" + (checkpoint ? " (safetensors, too)" : "") +
                   "; name the file:" + printable(listed, 500));
  }
  return Error{ErrorCode::kNotFound, folder + ": holds no model (a complete .gguf, or config.json with .safetensors)"};
}

}  // namespace

Result<std::string> resolve_model_path(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return invalid("a path with a NUL byte names no file");
  const std::string path = home_expanded(text);
  if (!exists(path)) return Error{ErrorCode::kNotFound, printable(path, 500) + ": no such file or folder"};
  if (is_folder(path)) return resolve_folder(path);
  if (!is_regular_file(path)) return invalid(path + ": neither a file nor a folder");
  auto split = parse_split_name(path, ".gguf");
  if (!split) return path;
  const std::string suffix = path.substr(path.size() - 5);
  if (split->part != 1) {
    return invalid(path + ": part " + std::to_string(split->part) + " of " + std::to_string(split->parts) +
                   "; name the first one, " + format_split_name(*split, 1, suffix));
  }
  for (int part = 2; part <= split->parts; ++part) {
    const std::string other = format_split_name(*split, part, suffix);
    if (!is_regular_file(other)) return Error{ErrorCode::kNotFound, other + ": this part of the model is missing"};
  }
  return path;
}

Result<ModelReference> parse_remote_reference(std::string_view text) {
  if (text.empty()) return invalid("the model's name is empty");
  if (text.starts_with("hf:")) return parse_hub_reference(text.substr(3));
  if (auto reference = parse_short_name(text)) return *reference;
  if (text.find('/') == std::string_view::npos) return unknown_name(text, nullptr);
  return parse_hub_reference(text);
}

Result<ModelReference> resolve_model(std::string_view text, const Store& store) {
  if (text.empty()) return invalid("the model's name is empty");
  const bool explicit_hub = text.starts_with("hf:");
  const bool has_slash = text.find('/') != std::string_view::npos;
  if (!explicit_hub) {
    if (looks_like_path(text)) return path_reference(text);
    if (has_slash && exists(std::string(text))) return path_reference(text);
  }
  auto remote = parse_remote_reference(text);
  const std::string name = remote.ok() ? remote->name : std::string(text);
  if (store.contains(name)) {
    ModelReference reference;
    reference.kind = ModelReference::Kind::kStored;
    reference.name = name;
    KL_TRY(reference.stored, store.find(name));
    reference.path = reference.stored.path();
    return reference;
  }
  if (remote.ok() || explicit_hub) return remote;
  if (!has_slash && exists(std::string(text))) return path_reference(text);
  if (!has_slash && remote.error().code == ErrorCode::kNotFound) return unknown_name(text, &store);
  return remote;
}

std::vector<std::string> near_matches(std::string_view text, const std::vector<std::string>& candidates) {
  const std::string wanted = lower(text.substr(0, 100));
  std::vector<std::pair<size_t, std::string>> scored;
  for (const std::string& candidate : candidates) {
    const std::string name = lower(candidate);
    if (name.size() > 200) continue;
    const size_t limit = std::max<size_t>(1, std::min(wanted.size(), name.size()) / 3);
    size_t distance = edit_distance(wanted, name);
    // "qwen3" should find "qwen3:0.6b".
    if (wanted.size() >= 3 && name.starts_with(wanted)) distance = std::min<size_t>(distance, 1);
    if (distance <= limit && std::ranges::none_of(scored, [&](const auto& s) { return s.second == candidate; })) {
      scored.emplace_back(distance, candidate);
    }
  }
  std::ranges::stable_sort(scored, {}, &std::pair<size_t, std::string>::first);
  std::vector<std::string> names;
  for (size_t i = 0; i < scored.size() && i < 3; ++i) names.push_back(scored[i].second);
  return names;
}

}  // namespace kinglet
