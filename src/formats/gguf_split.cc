// Opening GGUF files from disk, and finding the other files of a split.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "base/memory.h"
#include "base/quote.h"
#include "formats/checkpoint_parts.h"
#include "formats/gguf.h"

namespace kinglet {
namespace {

constexpr int64_t kMostParts = 99999;  // five digits

Error invalid(const std::string& message) {
  return {ErrorCode::kInvalid, message};
}

std::string part_suffix(int64_t number, int64_t count) {
  char text[32];
  std::snprintf(text, sizeof text, "-%05d-of-%05d.gguf", static_cast<int>(number), static_cast<int>(count));
  return text;
}

// The files of a split, first one first. Their names are the only thing that tells where the others are.
Result<std::vector<std::string>> part_paths(const std::string& path, int64_t number, int64_t count) {
  const std::string suffix = part_suffix(number + 1, count);
  if (!path.ends_with(suffix)) {
    return invalid(path + ": metadata \"split.no\" and \"split.count\": expected a file name that ends in " + suffix +
                   ", found " + quote(std::filesystem::path(path).filename().string()));
  }
  const std::string stem = path.substr(0, path.size() - suffix.size());
  std::vector<std::string> paths;
  for (int64_t i = 1; i <= count; ++i) paths.push_back(stem + part_suffix(i, count));
  return paths;
}

// Appends one file's tensors; the first file's metadata is the model's.
Status add_file(Checkpoint& checkpoint, std::shared_ptr<MappedFile> file, GgufFile parsed) {
  if (checkpoint.files.empty()) {
    checkpoint.metadata = std::move(parsed.metadata);
    checkpoint.raw_keys = std::move(parsed.raw_keys);
  }
  std::move(parsed.tensors.begin(), parsed.tensors.end(), std::back_inserter(checkpoint.tensors));
  checkpoint.files.push_back(std::move(file));
  return {};
}

Status add_part(Checkpoint& checkpoint, const std::string& path, int64_t number, int64_t count) {
  auto opened = MappedFile::open(path);
  if (!opened.ok()) {
    return opened.error().with_context("part " + std::to_string(number + 1) + " of " + std::to_string(count));
  }
  std::shared_ptr<MappedFile> file = std::move(opened).value();
  KL_TRY(auto parsed, parse_gguf(file->bytes(), path));
  KL_TRY(const auto found_number, parsed.metadata.get_int("split.no", 0, kMostParts - 1));
  KL_TRY(const auto found_count, parsed.metadata.get_int("split.count", 1, kMostParts));
  if (found_number != number || found_count != count) {
    return invalid(path + ": metadata \"split.no\" and \"split.count\": expected part " + std::to_string(number) +
                   " (from 0) of " + std::to_string(count) + ", found part " + std::to_string(found_number) + " of " +
                   std::to_string(found_count));
  }
  return add_file(checkpoint, std::move(file), std::move(parsed));
}

Status add_split(Checkpoint& checkpoint, const std::string& path, const Metadata& named) {
  KL_TRY(const auto count, named.get_int("split.count", 1, kMostParts));
  KL_TRY(const auto number, named.get_int("split.no", 0, count - 1));
  KL_TRY(const auto paths, part_paths(path, number, count));
  for (int64_t i = 0; i < count; ++i) {
    KL_RETURN_IF_ERROR(add_part(checkpoint, paths[static_cast<size_t>(i)], i, count));
  }
  if (!checkpoint.metadata.has("split.tensors.count")) return {};
  KL_TRY(const auto expected, checkpoint.metadata.get_int("split.tensors.count", 0, INT64_MAX));
  if (static_cast<uint64_t>(expected) != checkpoint.tensors.size()) {
    return invalid(path + ": metadata \"split.tensors.count\": expected " + std::to_string(expected) +
                   " tensors in all parts, found " + std::to_string(checkpoint.tensors.size()));
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const Checkpoint>> open_gguf(const std::string& path, const OpenOptions& options) {
  KL_TRY(auto file, MappedFile::open(path));
  KL_TRY(auto parsed, parse_gguf(file->bytes(), path));
  KL_TRY(const auto parts, parsed.metadata.int_or("split.count", 0, kMostParts, 1));
  auto checkpoint = std::make_shared<Checkpoint>();
  checkpoint->format = CheckpointFormat::kGguf;
  checkpoint->path = path;
  if (parts > 1) {
    KL_RETURN_IF_ERROR(add_split(*checkpoint, path, parsed.metadata));
  } else {
    KL_RETURN_IF_ERROR(add_file(*checkpoint, std::move(file), std::move(parsed)));
  }
  if (checkpoint->tensors.empty() && !options.vocabulary_only) {
    return invalid(path + ": expected tensors, found none: a file that holds a vocabulary only");
  }
  KL_RETURN_IF_ERROR(index_tensors(*checkpoint));
  return std::shared_ptr<const Checkpoint>(std::move(checkpoint));
}

}  // namespace kinglet
