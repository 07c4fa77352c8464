// Fetches files over HTTP into a folder, several ranges at once, resuming what an earlier attempt left, retrying what
// may pass, and letting a file appear under its name only when size and hash are right. Internal to hub/.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "hub/http.h"
#include "hub/progress.h"
#include "hub/pull.h"

namespace kinglet::hub {

struct DownloadFile {
  std::string name;  // for messages and progress
  std::string url;
  std::string target;   // where it appears once verified
  std::string partial;  // where it grows; "partial.json" beside it remembers which ranges are there
  uint64_t size = 0;
  std::string sha256;  // exactly one of the two is given
  std::string git_sha1;
};

struct DownloadJob {
  std::vector<DownloadFile> files;
  std::string help_url;  // the repository's page, for messages about access
};

// On success every target exists. On failure finished targets and resumable partials stay, wrong ones are deleted.
Status download_files(const DownloadJob& job, const PullOptions& options, ProgressMeter& meter);

// Bytes of `file` that an earlier attempt left and that a download would resume from.
uint64_t resumable_bytes(const DownloadFile& file);

// GET of a small document with the same retries; at most `max_bytes`.
Result<std::string> fetch_document(const std::string& url, uint64_t max_bytes, const std::string& help_url,
                                   const PullOptions& options);

// Checks a finished file against its hash. kInvalid when it differs; `sha256` receives the file's SHA-256.
Status check_digest(const DownloadFile& file, const std::string& path, const PullOptions& options, std::string* sha256);

}  // namespace kinglet::hub
