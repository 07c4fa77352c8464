#include "convert/quantise_model.h"

#include "base/memory.h"
#include "base/output_file.h"
#include "base/quote.h"
#include "formats/decode.h"

namespace kinglet::convert {
namespace {

constexpr int64_t kMostCount = int64_t{1} << 24;  // of layers, heads, experts that a file may claim

// The first of a list that a key may hold (one a layer), or the number itself.
Result<int64_t> first_count(const Metadata& metadata, const std::string& key, int64_t fallback) {
  if (!metadata.has(key)) return fallback;
  if (const auto list = metadata.get_ints(key); list.ok()) return list->empty() ? fallback : list->front();
  return metadata.get_int(key, 0, kMostCount);
}

Result<MixFacts> facts_of(const Checkpoint& checkpoint) {
  MixFacts facts;
  KL_TRY(facts.architecture, checkpoint.metadata.get_string("general.architecture"));
  const std::string prefix = facts.architecture + ".";
  KL_TRY(facts.layers, checkpoint.metadata.int_or(prefix + "block_count", 0, kMostCount, 0));
  KL_TRY(facts.experts, checkpoint.metadata.int_or(prefix + "expert_count", 0, kMostCount, 0));
  KL_TRY(const int64_t heads, first_count(checkpoint.metadata, prefix + "attention.head_count", 1));
  KL_TRY(const int64_t kv_heads, first_count(checkpoint.metadata, prefix + "attention.head_count_kv", heads));
  facts.heads_per_kv_head = kv_heads > 0 ? heads / kv_heads : 0;
  return facts;
}

Status check_importance(const TensorJob& job, const std::string& source) {
  const std::vector<int64_t>& shape = job.planned.shape;
  const int64_t columns = shape.back();
  const auto size = static_cast<int64_t>(job.importance.size());
  const int64_t experts = shape.size() == 3 ? shape.front() : 1;
  // DeepSeek-V4's groups of heads have inputs of their own, but their matrices are stored as one.
  const bool grouped = shape.size() == 2 && job.planned.name.ends_with(".attn_output_a.weight");
  if (size == columns || size == columns * experts) return {};
  if (grouped && size % columns == 0 && shape.front() % (size / columns) == 0) return {};
  return Error{ErrorCode::kInvalid, source + ": found " + std::to_string(size) + " values for tensor " +
                                        quote(job.planned.name) + ", expected " + std::to_string(columns * experts) +
                                        "; the importance matrix was made of another model"};
}

}  // namespace

Status refuse_same_file(const Checkpoint& checkpoint, const std::string& path) {
  std::vector<std::string> inputs;
  for (const auto& file : checkpoint.files) inputs.push_back(file->path());
  return check_output_file(path, inputs);
}

Status apply_mix(std::vector<TensorJob>& jobs, MixFacts facts, const QuantiseOptions& options) {
  facts.has_importance = options.importance != nullptr;
  std::vector<MixTensor> tensors;
  for (const TensorJob& job : jobs) tensors.push_back({job.planned.name, job.planned.shape, job.planned.type});
  bool known = false;
  KL_TRY(const std::vector<DType> types, choose_types(options.mix, facts, tensors, options.overrides));
  for (size_t i = 0; i < jobs.size(); ++i) {
    TensorJob& job = jobs[i];
    job.planned.type = types[i];
    for (const TensorView& source : job.sources)
      if (source.dtype != types[i] && !can_decode(source.dtype))
        return Error{ErrorCode::kUnsupported, "tensor " + quote(source.name) + ": the type " +
                                                  std::string(dtype_info(source.dtype).name) + " can't be quantised"};
    if (options.importance == nullptr) continue;
    job.importance = options.importance->find(job.planned.name);
    if (job.importance.empty()) continue;
    KL_RETURN_IF_ERROR(check_importance(job, options.importance->source()));
    known = true;
  }
  if (options.importance != nullptr && !known)
    return Error{ErrorCode::kInvalid, options.importance->source() +
                                          ": found values for none of the model's tensors; the importance matrix was "
                                          "made of another model"};
  return {};
}

Result<StreamReport> quantise_model(const Checkpoint& checkpoint, const std::string& path,
                                    const QuantiseOptions& options, ThreadPool& pool) {
  KL_RETURN_IF_ERROR(refuse_same_file(checkpoint, path));
  KL_TRY(const MixFacts facts, facts_of(checkpoint));
  GgufKeys keys;
  for (const Checkpoint::RawKey& raw : checkpoint.raw_keys) keys.set_raw(raw.key, raw.typed_value);
  for (const char* key : {"split.no", "split.count", "split.tensors.count", "general.alignment"}) keys.remove(key);
  keys.set_u32("general.file_type", options.mix.file_type);
  keys.set_u32("general.quantization_version", 2);
  std::vector<TensorJob> jobs;
  for (const TensorView& tensor : checkpoint.tensors)
    jobs.push_back({{tensor.name, tensor.shape, tensor.dtype}, {tensor}, {}, ValueStep::kNone, {}});
  KL_RETURN_IF_ERROR(apply_mix(jobs, facts, options));
  return write_gguf(path, keys, checkpoint, jobs, pool, options.progress);
}

}  // namespace kinglet::convert
