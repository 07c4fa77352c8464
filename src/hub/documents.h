// The JSON documents of the hub, to and from plain structs: manifests of the store, the listing that a hub sends, the
// state of an interrupted download, the index of a sharded checkpoint. All of them are bounded and checked here;
// nothing else in hub/ sees JSON. Internal to hub/.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hub/store.h"

namespace kinglet::hub {

inline constexpr uint64_t kMaxDocumentBytes = 64u << 20;
inline constexpr uint64_t kMaxFileBytes = uint64_t{1} << 42;  // 4 TiB; keeps every sum of sizes far from overflow

// --- ROOT/models/KEY/manifest.json ---
std::string format_manifest(const StoredModel& model);
// Checks every name, size and hash; files_dir is left empty. kInvalid.
Result<StoredModel> parse_manifest(std::string_view text, const std::string& context);

// --- GET /api/models/REPO/revision/REV?blobs=true ---
struct HubFile {
  std::string path;  // inside the repository; safe (is_safe_relative_path)
  uint64_t size = 0;
  std::string sha256;    // of large files; empty for small ones
  std::string git_sha1;  // the git blob id of small files
};
struct HubListing {
  std::string commit;  // 40 hex digits, or whatever a mirror uses: [A-Za-z0-9._-]
  std::vector<HubFile> files;
};
// kInvalid for a malformed answer, one whose names would leave the folder, or absurd sizes.
Result<HubListing> parse_hub_listing(std::string_view text, const std::string& context);

// --- staging/KEY/partial/N.json ---
struct PieceState {
  uint64_t begin = 0;  // [begin, end) of the file; the first `done` bytes are on disk
  uint64_t end = 0;
  uint64_t done = 0;
};
struct PartialState {
  std::string file;
  uint64_t size = 0;
  std::string digest;  // the expected SHA-256 or git SHA-1
  std::string etag;
  std::vector<PieceState> pieces;  // tile [0, size) in order
};
std::string format_partial_state(const PartialState& state);
Result<PartialState> parse_partial_state(std::string_view text, const std::string& context);

// --- model.safetensors.index.json ---
// The distinct files its weight_map names, sorted. kInvalid.
Result<std::vector<std::string>> parse_weight_index(std::string_view text, const std::string& context);

}  // namespace kinglet::hub
