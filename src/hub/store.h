// The model store: the folder where pulled models live. A model is one folder that appears by a single rename once
// every file in it has been verified, so a half-written one is never seen.
//
//   ROOT/ready/KEY/manifest.json   what it is: name, source, revision, files with sizes and SHA-256
//   ROOT/ready/KEY/files/...       the files, under the names they have at their source
//   ROOT/staging/KEY/...           pulls under way or interrupted; resumed by the next pull, never listed
//   ROOT/lock, ROOT/staging/KEY.lock: flock()ed by whoever changes the store / pulls KEY
//
// KEY is the model's name with everything outside [A-Za-z0-9._-] percent-encoded. Not for reading models (formats/) nor
// for fetching them (pull.h). Functions are safe to call from several threads and processes at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kinglet {

struct StoredFile {
  std::string name;  // relative to the files folder, '/' between components; never escapes it
  uint64_t size = 0;
  std::string sha256;  // 64 lower-case hex digits
};

struct StoredModel {
  std::string name;      // as a user names it: "smollm2", "qwen3:0.6b", "org/repo:Q4_K_M@rev"
  std::string source;    // where it came from: "hf:org/repo" or "pypi:package==version ..."
  std::string revision;  // the commit at the source; empty where there is none
  std::vector<StoredFile> files;
  std::string entry;      // the file to open (a GGUF file, the first of a split), or empty: open the folder
  int64_t created = 0;    // seconds since 1970, UTC
  std::string files_dir;  // absolute folder that holds `files`; not part of the manifest
  std::string path() const { return entry.empty() ? files_dir : files_dir + "/" + entry; }  // what formats/ opens
  uint64_t total_bytes() const;
};

// A folder under ready/ that is not a readable model. One never hides the others.
struct BrokenModel {
  std::string name;     // decoded from the folder's name
  std::string path;     // the file at fault
  std::string message;  // what is wrong and what to do
};

struct StoreListing {
  std::vector<StoredModel> models;  // sorted by name
  std::vector<BrokenModel> broken;
};

class Store {
 public:
  // Opens nothing and creates nothing: folders come into being with the first pull.
  explicit Store(std::string root) : root_(std::move(root)) {}
  // $KINGLET_HOME/models, else ${XDG_CACHE_HOME:-~/.cache}/kinglet/models. kInvalid when no home folder is known.
  static Result<Store> open_default();

  const std::string& root() const { return root_; }

  // Checks manifests and file sizes, not contents. A missing store is an empty one. Errors: kIo.
  Result<StoreListing> list() const;
  // kNotFound when there is no such model; kInvalid when its entry is broken (says how to repair).
  Result<StoredModel> find(std::string_view name) const;
  bool contains(std::string_view name) const;  // a folder of the name exists, broken or not

  // Removes a model, broken or not, and what an interrupted pull of it left. Returns the bytes freed. kNotFound.
  Result<uint64_t> remove(std::string_view name);

  // Reads every file and compares SHA-256. `progress(done, total)` in bytes may be empty; `cancel` may be null.
  Status verify(const StoredModel& model, const std::function<void(uint64_t, uint64_t)>& progress = {},
                const std::atomic<bool>* cancel = nullptr) const;

  // --- for pull ---
  // Where the files of a pull of `name` are gathered: .../files of it becomes the model's.
  std::string staging_dir(std::string_view name) const;
  std::string staging_files_dir(std::string_view name) const { return staging_dir(name) + "/files"; }
  std::string staging_lock_path(std::string_view name) const;
  // Makes ROOT, ready/ and staging/; says which folder can't be written. kIo.
  Status create_folders() const;
  // Turns the staged, already verified files into the model `model.name`, replacing an older one. Everything is
  // fsync()ed before the rename. Staged files that `model.files` doesn't list are deleted. Returns it as find() would.
  Result<StoredModel> commit(const StoredModel& model) const;
  // A stored file with this hash and size, to be linked instead of fetched; empty when there is none.
  std::string find_content(std::string_view sha256, uint64_t size) const;

 private:
  std::string root_;
};

// Folder name <-> model name. encode: kInvalid for empty names, control characters, or more than 240 bytes encoded.
Result<std::string> encode_model_key(std::string_view name);
std::string decode_model_key(std::string_view key);

}  // namespace kinglet
