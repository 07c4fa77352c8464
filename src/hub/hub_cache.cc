#include "hub/hub_cache.h"

#include <algorithm>
#include <filesystem>

#include "hub/files.h"

namespace kinglet::hub {
namespace {

namespace fs = std::filesystem;

std::string repo_folder(const std::string& cache, const std::string& repo) {
  std::string name = "models--" + repo;
  name.replace(name.find('/'), 1, "--");
  return cache + "/" + name;
}

std::string commit_of(const std::string& folder, const std::string& revision) {
  if (is_folder(folder + "/snapshots/" + revision)) return revision;
  auto text = read_small_file(folder + "/refs/" + revision, 200);
  if (!text.ok()) return {};
  std::string commit = *text;
  while (!commit.empty() && (commit.back() == '\n' || commit.back() == ' ')) commit.pop_back();
  return is_lower_hex(commit, 40) && is_folder(folder + "/snapshots/" + commit) ? commit : "";
}

}  // namespace

std::string cached_file(const std::string& cache, const std::string& repo, const std::string& commit,
                        const std::string& path) {
  if (cache.empty()) return {};
  const std::string file = repo_folder(cache, repo) + "/snapshots/" + commit + "/" + path;
  return is_regular_file(file) ? file : "";
}

Result<HubListing> cached_listing(const std::string& cache, const std::string& repo, const std::string& revision) {
  const std::string folder = repo_folder(cache, repo);
  HubListing listing;
  if (!cache.empty()) listing.commit = commit_of(folder, revision);
  if (listing.commit.empty()) {
    return Error{ErrorCode::kNotFound,
                 "the Hugging Face cache " + cache + " does not hold " + repo + " at revision " + revision};
  }
  const std::string snapshot = folder + "/snapshots/" + listing.commit;
  std::error_code error;
  fs::recursive_directory_iterator it(snapshot, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    HubFile file;
    const std::string path = it->path().string();
    if (!is_regular_file(path, &file.size) || listing.files.size() >= 10'000) continue;
    file.path = path.substr(snapshot.size() + 1);
    if (!is_safe_relative_path(file.path)) continue;
    std::error_code no_link;
    const std::string blob = fs::read_symlink(it->path(), no_link).filename().string();
    if (is_lower_hex(blob, 64)) file.sha256 = blob;
    if (is_lower_hex(blob, 40)) file.git_sha1 = blob;
    listing.files.push_back(std::move(file));
  }
  std::ranges::sort(listing.files, {}, &HubFile::path);
  return listing;
}

}  // namespace kinglet::hub
