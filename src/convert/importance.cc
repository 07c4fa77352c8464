#include "convert/importance.h"

#include <cmath>
#include <cstring>

#include "base/quote.h"
#include "convert/gguf_writer.h"
#include "formats/checkpoint.h"

namespace kinglet::convert {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";

Error wrong(const Checkpoint& file, const std::string& tensor, const std::string& what) {
  return {ErrorCode::kInvalid, file.path + ": tensor " + quote(tensor) + ": " + what};
}

Result<std::vector<float>> floats_of(const Checkpoint& file, const TensorView& tensor) {
  if (tensor.dtype != DType::kF32) return wrong(file, tensor.name, "expected the type F32");
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  if (!values.empty()) std::memcpy(values.data(), tensor.data.data(), values.size() * sizeof(float));
  for (const float value : values)
    if (!std::isfinite(value) || value < 0) return wrong(file, tensor.name, "expected numbers of 0 or more");
  return values;
}

// Sums over counts. A part that was never met counts all its columns the same.
Result<std::vector<float>> means_of(const Checkpoint& file, const TensorView& sums, const TensorView& counts) {
  KL_TRY(std::vector<float> means, floats_of(file, sums));
  KL_TRY(const std::vector<float> met, floats_of(file, counts));
  if (met.empty() || means.size() % met.size() != 0)
    return wrong(file, sums.name,
                 "found " + std::to_string(means.size()) + " sums, expected a multiple of the " +
                     std::to_string(met.size()) + " counts");
  const size_t columns = means.size() / met.size();
  for (size_t i = 0; i < means.size(); ++i) {
    const float count = met[i / columns];
    means[i] = count > 0 ? means[i] / count : 1.0f;
  }
  return means;
}

}  // namespace

Result<Importance> Importance::read(const std::string& path) {
  KL_TRY(const auto file, open_checkpoint(path));
  KL_TRY(const std::string type, file->metadata.string_or("general.type", ""));
  if (file->format != CheckpointFormat::kGguf || type != "imatrix")
    return Error{ErrorCode::kInvalid, path + ": expected an importance matrix (general.type \"imatrix\"), found " +
                                          (type.empty() ? "a model" : quote(type)) + "; make one by kinglet imatrix"};
  Importance importance;
  importance.source_ = path;
  for (const TensorView& tensor : file->tensors) {
    if (!tensor.name.ends_with(kSums)) continue;
    const std::string name = tensor.name.substr(0, tensor.name.size() - kSums.size());
    const TensorView* counts = file->find(name + std::string(kCounts));
    if (counts == nullptr) return wrong(*file, tensor.name, "its counts are missing");
    KL_TRY(importance.means_[name], means_of(*file, tensor, *counts));
  }
  return importance;
}

std::span<const float> Importance::find(const std::string& tensor) const {
  const auto found = means_.find(tensor);
  return found == means_.end() ? std::span<const float>() : found->second;
}

Status write_importance(const std::string& path, const std::map<std::string, MeasuredInputs>& measured,
                        int64_t chunk_size, const std::string& source) {
  std::vector<PlannedTensor> tensors;
  int64_t most = 0;
  for (const auto& [name, inputs] : measured) {
    const auto parts = static_cast<int64_t>(inputs.counts.size());
    tensors.push_back(
        {name + std::string(kSums), {parts, static_cast<int64_t>(inputs.sums.size()) / parts}, DType::kF32});
    tensors.push_back({name + std::string(kCounts), {parts, 1}, DType::kF32});
    for (const int64_t count : inputs.counts) most = std::max(most, count);
  }
  GgufKeys keys;
  keys.set_text("general.type", "imatrix");
  keys.set_texts("imatrix.datasets", std::vector<std::string>{source});
  keys.set_u32("imatrix.chunk_count", static_cast<uint32_t>((most + chunk_size - 1) / chunk_size));
  keys.set_u32("imatrix.chunk_size", static_cast<uint32_t>(chunk_size));
  KL_TRY(GgufWriter writer, GgufWriter::create(path, keys, tensors));
  for (const auto& [name, inputs] : measured) {
    const std::vector<float> sums(inputs.sums.begin(), inputs.sums.end());
    const std::vector<float> counts(inputs.counts.begin(), inputs.counts.end());
    KL_RETURN_IF_ERROR(writer.write(std::as_bytes(std::span(sums))));
    KL_RETURN_IF_ERROR(writer.write(std::as_bytes(std::span(counts))));
  }
  return writer.finish();
}

}  // namespace kinglet::convert
