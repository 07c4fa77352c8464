// Reads (never writes) the cache that Hugging Face's own libraries keep:
//   CACHE/models--ORG--NAME/refs/REV            the commit a branch or tag stood at
//   CACHE/models--ORG--NAME/snapshots/COMMIT/F  links to ../../blobs/HASH, HASH being SHA-256 or git SHA-1
// Internal to hub/.
#pragma once

#include <string>

#include "base/result.h"
#include "hub/documents.h"

namespace kinglet::hub {

// The file in the cache, or empty.
std::string cached_file(const std::string& cache, const std::string& repo, const std::string& commit,
                        const std::string& path);

// What the cache holds of a revision (it may be a part of the repository only). Hashes come from the names of the
// blobs; files without one have neither. kNotFound when the revision isn't there.
Result<HubListing> cached_listing(const std::string& cache, const std::string& repo, const std::string& revision);

}  // namespace kinglet::hub
