#include "hub/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "hub/documents.h"
#include "hub/files.h"

namespace kinglet {
namespace {

using namespace hub;

constexpr const char* kReady = "/ready";
constexpr uint64_t kMaxManifestBytes = 16u << 20;
constexpr size_t kMaxKeyBytes = 240;  // leaves room for suffixes within the 255 that file systems allow

bool is_plain(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' || c == '-';
}

std::string manifest_path(const std::string& folder) {
  return folder + "/manifest.json";
}

// Names in a folder, sorted; empty when the folder doesn't exist.
Result<std::vector<std::string>> folder_entries(const std::string& path) {
  std::vector<std::string> names;
  DIR* handle = ::opendir(path.c_str());
  if (handle == nullptr) {
    if (errno == ENOENT) return names;
    return io_error("cannot read the folder", path, errno);
  }
  while (const dirent* entry = ::readdir(handle)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  ::closedir(handle);
  std::ranges::sort(names);
  return names;
}

Result<StoredModel> load_model(const std::string& folder) {
  const std::string path = manifest_path(folder);
  KL_TRY(const std::string text, read_small_file(path, kMaxManifestBytes));
  KL_TRY(StoredModel model, parse_manifest(text, path));
  auto key = encode_model_key(model.name);
  if (!key.ok() || folder.substr(folder.find_last_of('/') + 1) != *key) {
    return Error{ErrorCode::kInvalid,
                 path + ": field \"name\" is \"" + printable(model.name) + "\", which does not belong in this folder"};
  }
  model.files_dir = folder + "/files";
  for (const StoredFile& file : model.files) {
    const std::string file_path = model.files_dir + "/" + file.name;
    uint64_t size = 0;
    if (!is_regular_file(file_path, &size)) return Error{ErrorCode::kInvalid, file_path + ": the file is missing"};
    if (size != file.size) {
      return Error{ErrorCode::kInvalid, file_path + ": has " + std::to_string(size) + " bytes, the manifest says " +
                                            std::to_string(file.size)};
    }
  }
  return model;
}

std::string repair_advice(const std::string& name) {
  return ". Repair: `kinglet rm " + name + "`, then pull it again";
}

uint64_t tree_bytes(const std::string& path) {
  uint64_t bytes = 0;
  std::error_code error;
  std::filesystem::recursive_directory_iterator it(path, error);
  for (; !error && it != std::filesystem::recursive_directory_iterator(); it.increment(error)) {
    std::error_code size_error;
    if (it->is_regular_file(size_error) && !it->is_symlink(size_error)) {
      const uint64_t size = it->file_size(size_error);
      if (!size_error) bytes += size;
    }
  }
  return bytes;
}

std::string trash_path(const std::string& root) {
  static std::atomic<int> counter{0};
  return root + "/staging/trash-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
}

// What a killed process left half removed.
void empty_trash(const std::string& root) {
  auto names = folder_entries(root + "/staging");
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (name.starts_with("trash-")) remove_tree(root + "/staging/" + name);
  }
}

// Puts `staged` in the place of `final_path` in one step, also where an older model stands there.
Status exchange_or_rename(const std::string& staged, const std::string& final_path, const std::string& trash) {
  struct stat info{};
  if (::lstat(final_path.c_str(), &info) != 0) return rename_path(staged, final_path);
  if (::renameat2(AT_FDCWD, staged.c_str(), AT_FDCWD, final_path.c_str(), RENAME_EXCHANGE) == 0) {
    return rename_path(staged, trash);
  }
  // Not every file system can exchange; then there is a moment without the model, never one with half of it.
  KL_RETURN_IF_ERROR(rename_path(final_path, trash));
  return rename_path(staged, final_path);
}

// Deletes staged files that the model doesn't list, and everything beside files/.
Status prune_staging(const std::string& staging, const StoredModel& model) {
  KL_TRY(const std::vector<std::string> beside, folder_entries(staging));
  for (const std::string& name : beside) {
    if (name != "files") remove_tree(staging + "/" + name);
  }
  std::set<std::string> wanted;
  for (const StoredFile& file : model.files) wanted.insert(file.name);
  const std::string files = staging + "/files";
  std::vector<std::string> surplus;
  std::error_code error;
  std::filesystem::recursive_directory_iterator it(files, error);
  for (; !error && it != std::filesystem::recursive_directory_iterator(); it.increment(error)) {
    std::error_code ignored;
    const std::string relative = it->path().string().substr(files.size() + 1);
    if (!it->is_directory(ignored) && !wanted.contains(relative)) surplus.push_back(it->path().string());
  }
  for (const std::string& path : surplus) ::unlink(path.c_str());
  return {};
}

}  // namespace

uint64_t StoredModel::total_bytes() const {
  uint64_t total = 0;
  for (const StoredFile& file : files) total += file.size;
  return total;
}

Result<std::string> encode_model_key(std::string_view name) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  if (name.empty()) return Error{ErrorCode::kInvalid, "the model's name is empty"};
  std::string key;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      return Error{ErrorCode::kInvalid, "the model's name holds a control character: \"" + printable(name) + "\""};
    }
    // A leading dot would hide the folder, or be "..".
    if (is_plain(c) && !(c == '.' && key.empty())) {
      key += c;
    } else {
      key += '%';
      key += kDigits[byte >> 4];
      key += kDigits[byte & 15];
    }
  }
  if (key.size() > kMaxKeyBytes) return Error{ErrorCode::kInvalid, "the model's name is too long: " + printable(name)};
  return key;
}

std::string decode_model_key(std::string_view key) {
  auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  std::string name;
  for (size_t i = 0; i < key.size(); ++i) {
    if (key[i] == '%' && i + 2 < key.size() && digit(key[i + 1]) >= 0 && digit(key[i + 2]) >= 0) {
      name += static_cast<char>(digit(key[i + 1]) * 16 + digit(key[i + 2]));
      i += 2;
    } else {
      name += key[i];
    }
  }
  return name;
}

Result<Store> Store::open_default() {
  auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (const std::string home = variable("KINGLET_HOME"); !home.empty()) {
    std::error_code error;
    const std::string absolute = std::filesystem::absolute(home, error).string();
    return Store((error ? home : absolute) + "/models");
  }
  // The XDG specification: a relative value counts as unset.
  if (const std::string cache = variable("XDG_CACHE_HOME"); cache.starts_with('/'))
    return Store(cache + "/kinglet/models");
  if (const std::string home = variable("HOME"); !home.empty()) return Store(home + "/.cache/kinglet/models");
  return Error{ErrorCode::kInvalid, "no place for models is known: set KINGLET_HOME (or HOME)"};
}

Result<StoreListing> Store::list() const {
  StoreListing listing;
  KL_TRY(const std::vector<std::string> keys, folder_entries(root_ + kReady));
  for (const std::string& key : keys) {
    const std::string folder = root_ + kReady + "/" + key;
    auto model = load_model(folder);
    if (model.ok()) {
      listing.models.push_back(*model);
    } else {
      const std::string name = decode_model_key(key);
      listing.broken.push_back({name, manifest_path(folder), model.error().message + repair_advice(name)});
    }
  }
  std::ranges::sort(listing.models, {}, &StoredModel::name);
  return listing;
}

bool Store::contains(std::string_view name) const {
  auto key = encode_model_key(name);
  struct stat info{};
  return key.ok() && ::lstat((root_ + kReady + "/" + *key).c_str(), &info) == 0;
}

Result<StoredModel> Store::find(std::string_view name) const {
  KL_TRY(const std::string key, encode_model_key(name));
  if (!contains(name)) {
    return Error{ErrorCode::kNotFound, "no model \"" + printable(name) + "\" in the store " + root_};
  }
  auto model = load_model(root_ + kReady + "/" + key);
  if (!model.ok()) {
    return Error{ErrorCode::kInvalid,
                 "the stored model is broken: " + model.error().message + repair_advice(std::string(name))};
  }
  return model;
}

std::string Store::staging_dir(std::string_view name) const {
  auto key = encode_model_key(name);
  return root_ + "/staging/" + (key.ok() ? *key : "invalid");
}

std::string Store::staging_lock_path(std::string_view name) const {
  return staging_dir(name) + ".lock";
}

Status Store::create_folders() const {
  KL_RETURN_IF_ERROR(make_directories(root_ + kReady));
  KL_RETURN_IF_ERROR(make_directories(root_ + "/staging"));
  empty_trash(root_);
  return {};
}

Result<uint64_t> Store::remove(std::string_view name) {
  KL_TRY(const std::string key, encode_model_key(name));
  const std::string final_path = root_ + kReady + "/" + key;
  const std::string staging = staging_dir(name);
  const bool stored = contains(name);
  if (!stored && !is_folder(staging)) {
    return Error{ErrorCode::kNotFound, "no model \"" + printable(name) + "\" in the store " + root_};
  }
  KL_RETURN_IF_ERROR(create_folders());
  uint64_t freed = 0;
  if (stored) {
    freed += tree_bytes(final_path);
    const std::string trash = trash_path(root_);
    {
      KL_TRY(const FileLock lock, FileLock::acquire(root_ + "/lock", nullptr));
      KL_RETURN_IF_ERROR(rename_path(final_path, trash));
    }
    remove_tree(trash);
  }
  // A pull under way keeps its files; it holds the lock.
  auto pull_lock = FileLock::try_acquire(staging_lock_path(name));
  if (pull_lock.ok()) {
    freed += tree_bytes(staging);
    remove_tree(staging);
  } else if (!stored) {
    return Error{ErrorCode::kResource, "\"" + printable(name) + "\" is being pulled by another process"};
  }
  return freed;
}

Status Store::verify(const StoredModel& model, const std::function<void(uint64_t, uint64_t)>& progress,
                     const std::atomic<bool>* cancel) const {
  const uint64_t total = model.total_bytes();
  uint64_t done = 0;
  for (const StoredFile& file : model.files) {
    const std::string path = model.files_dir + "/" + file.name;
    KL_TRY(const FileDigests digests, digest_file(path, cancel, [&](uint64_t bytes) {
             done += bytes;
             if (progress) progress(done, total);
           }));
    if (digests.sha256 != file.sha256) {
      return Error{ErrorCode::kInvalid,
                   path + ": SHA-256 is " + digests.sha256 + ", expected " + file.sha256 + repair_advice(model.name)};
    }
  }
  return {};
}

Result<StoredModel> Store::commit(const StoredModel& model) const {
  KL_TRY(const std::string key, encode_model_key(model.name));
  const std::string staging = staging_dir(model.name);
  const std::string final_path = root_ + kReady + "/" + key;
  KL_RETURN_IF_ERROR(prune_staging(staging, model));
  std::set<std::string> folders;
  for (const StoredFile& file : model.files) {
    const std::string path = staging + "/files/" + file.name;
    KL_RETURN_IF_ERROR(sync_path(path));
    for (std::string folder = parent_folder(path); folder.size() > staging.size(); folder = parent_folder(folder)) {
      folders.insert(folder);
    }
  }
  for (const std::string& folder : folders) KL_RETURN_IF_ERROR(sync_path(folder));
  KL_RETURN_IF_ERROR(write_file_atomically(manifest_path(staging), format_manifest(model)));
  const std::string trash = trash_path(root_);
  {
    KL_TRY(const FileLock lock, FileLock::acquire(root_ + "/lock", nullptr));
    KL_RETURN_IF_ERROR(exchange_or_rename(staging, final_path, trash));
    KL_RETURN_IF_ERROR(sync_path(root_ + kReady));
  }
  remove_tree(trash);
  return find(model.name);
}

std::string Store::find_content(std::string_view sha256, uint64_t size) const {
  auto listing = list();
  if (!listing.ok()) return {};
  for (const StoredModel& model : listing->models) {
    for (const StoredFile& file : model.files) {
      if (file.sha256 == sha256 && file.size == size) return model.files_dir + "/" + file.name;
    }
  }
  return {};
}

}  // namespace kinglet
