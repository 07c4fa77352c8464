#include "convert/hf_to_gguf.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <numbers>

#include "base/quote.h"
#include "convert/quantise.h"
#include "convert/vocabulary.h"
#include "families/family.h"
#include "kernels/math.h"

namespace kinglet::convert {
namespace {

// The architecture a family's GGUF files name, and the family that reads them (Mistral's files are Llama's).
struct Target {
  std::string architecture;
  const Family* family = nullptr;
};
Result<Target> target_of(const Family& source) {
  const std::string_view architecture =
      source.gguf_architectures.empty() ? std::string_view("llama") : source.gguf_architectures.front();
  for (const Family* family : all_families())
    for (const std::string_view name : family->gguf_architectures)
      if (name == architecture) return Target{std::string(name), family};
  return Error{ErrorCode::kUnsupported, "the family " + std::string(source.name) + " has no GGUF form"};
}

// Refuses what the keys below can't state: the file would be another model.
Status check_expressible(const ModelSpec& spec, const std::string& architecture) {
  constexpr std::string_view kArchitectures[] = {"llama", "qwen2", "qwen3", "smollm3", "gemma3"};
  if (std::find(std::begin(kArchitectures), std::end(kArchitectures), architecture) == std::end(kArchitectures))
    return Error{ErrorCode::kUnsupported, "the family " + spec.family + " can't be converted yet"};
  const bool says_windows = architecture == "llama" || architecture == "gemma3";
  for (const LayerSpec& layer : spec.layers) {
    if (layer.mixer != Mixer::kAttention || layer.ffn.moe.experts > 0)
      return Error{ErrorCode::kUnsupported, "the family " + spec.family +
                                                ": models with experts, latent attention or "
                                                "recurrent layers can't be converted yet"};
    if (layer.attention.window > 0 && !says_windows)
      return Error{ErrorCode::kUnsupported, "sliding windows: GGUF files of the architecture " + architecture +
                                                " can't state them; the converted model would be another one"};
  }
  return {};
}

void add_rope_keys(const RopeSpec& rope, const std::string& prefix, GgufKeys& keys) {
  keys.set_f32(prefix + "rope.freq_base", static_cast<float>(rope.theta));
  if (rope.scaling == RopeSpec::Scaling::kLinear || rope.scaling == RopeSpec::Scaling::kYarn) {
    const bool yarn = rope.scaling == RopeSpec::Scaling::kYarn;
    keys.set_text(prefix + "rope.scaling.type", yarn ? "yarn" : "linear");
    keys.set_f32(prefix + "rope.scaling.factor", static_cast<float>(rope.factor));
    if (!yarn) return;
    keys.set_u32(prefix + "rope.scaling.original_context_length", static_cast<uint32_t>(rope.original_context));
    keys.set_f32(prefix + "rope.scaling.yarn_beta_fast", static_cast<float>(rope.beta_fast));
    keys.set_f32(prefix + "rope.scaling.yarn_beta_slow", static_cast<float>(rope.beta_slow));
  }
}

// A layer whose rotary embedding stands for the model's: the first that sees everything and has one.
const LayerSpec& typical_layer(const ModelSpec& spec) {
  for (const bool windows_too : {false, true})
    for (const LayerSpec& layer : spec.layers)
      if (layer.attention.rope.rotated > 0 && (windows_too || layer.attention.window == 0)) return layer;
  return spec.layers.front();
}

void add_model_keys(const ModelSpec& spec, const std::string& architecture, GgufKeys& keys) {
  const std::string p = architecture + ".";
  const LayerSpec& layer = typical_layer(spec);
  const AttentionSpec& a = layer.attention;
  const auto set = [&](const char* key, int64_t value) { keys.set_u32(p + key, static_cast<uint32_t>(value)); };
  set("block_count", static_cast<int64_t>(spec.layers.size()));
  set("context_length", spec.context);
  set("embedding_length", spec.width);
  set("feed_forward_length", layer.ffn.hidden);
  set("attention.head_count", a.heads);
  set("attention.head_count_kv", a.kv_heads);
  keys.set_f32(p + "attention.layer_norm_rms_epsilon", static_cast<float>(spec.norm_epsilon));
  set("attention.key_length", a.head_dim);
  set("attention.value_length", a.value_dim);
  set("vocab_size", spec.vocabulary);
  set("rope.dimension_count", a.rope.rotated > 0 ? a.rope.rotated : a.head_dim);
  add_rope_keys(a.rope, p, keys);
  const auto windowed =
      std::find_if(spec.layers.begin(), spec.layers.end(), [](const LayerSpec& l) { return l.attention.window > 0; });
  if (windowed != spec.layers.end()) {
    set("attention.sliding_window", windowed->attention.window);
    if (windowed->attention.rope.theta != a.rope.theta)
      keys.set_f32(p + "rope.freq_base_swa", static_cast<float>(windowed->attention.rope.theta));
  }
  if (spec.final_soft_cap != 0) keys.set_f32(p + "final_logit_softcapping", static_cast<float>(spec.final_soft_cap));
  if (a.soft_cap != 0) keys.set_f32(p + "attn_logit_softcapping", static_cast<float>(a.soft_cap));
}

// Llama 3's frequency rule as divisors, one a pair.
std::vector<float> llama3_divisors(const RopeSpec& rope) {
  std::vector<float> out;
  for (int64_t i = 0; i < rope.rotated; i += 2) {
    const double wavelength =
        2 * std::numbers::pi * pow_f64(rope.theta, static_cast<double>(i) / static_cast<double>(rope.rotated));
    const double turns = static_cast<double>(rope.original_context) / wavelength;
    const double smooth =
        std::clamp((turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor), 0.0, 1.0);
    out.push_back(static_cast<float>(1.0 / ((1.0 - smooth) / rope.factor + smooth)));
  }
  return out;
}

std::string instantiate(std::string_view pattern, int layer) {
  std::string name(pattern);
  if (const size_t at = name.find("{}"); at != std::string::npos) name.replace(at, 2, std::to_string(layer));
  return name;
}

// Row of the file's tensor -> row of the folder's, both being layouts of the same weights.
std::vector<int32_t> rows_between(const StoredLayout& from, const StoredLayout& to, int64_t count) {
  const auto at = [](const StoredLayout& layout, int64_t matrix, int64_t row) {
    const int64_t within = layout.order.empty() ? row : layout.order[static_cast<size_t>(row)];
    return matrix * layout.stride + layout.offset + within;
  };
  const auto rows = static_cast<int64_t>(from.order.empty() ? from.rows : std::ssize(from.order));
  std::vector<int32_t> order(static_cast<size_t>(count * rows));
  for (int64_t i = 0; i < count; ++i)
    for (int64_t r = 0; r < rows; ++r) order[static_cast<size_t>(at(to, i, r))] = static_cast<int32_t>(at(from, i, r));
  return order;
}

bool is_identity(std::span<const int32_t> order) {
  for (size_t i = 0; i < order.size(); ++i)
    if (order[i] != static_cast<int32_t>(i)) return false;
  return true;
}

// What a transform does to values, apart from where they lie.
ValueStep value_step(Transform transform) {
  if (transform == Transform::kAddOne) return ValueStep::kAddOne;
  if (transform == Transform::kNegativeExp || transform == Transform::kTiledNegativeExp) return ValueStep::kNegativeExp;
  return ValueStep::kNone;
}

class Converter {
 public:
  Converter(const Checkpoint& checkpoint, const ConvertOptions& options) : checkpoint_(checkpoint), options_(options) {}

  Status plan() {
    KL_TRY(bound_, bind_model(checkpoint_));
    KL_TRY(target_, target_of(*bound_.family));
    KL_RETURN_IF_ERROR(check_expressible(bound_.spec, target_.architecture));
    KL_RETURN_IF_ERROR(add_keys());
    for (const BoundTensor& bound : bound_.tensors) KL_RETURN_IF_ERROR(add_tensor(bound));
    add_rope_factors();
    return choose_types();
  }

  Result<StreamReport> write(const std::string& path, ThreadPool& pool) const {
    return write_gguf(path, keys_, checkpoint_, jobs_, pool, options_.quantise.progress);
  }

 private:
  Status add_keys() {
    std::string name = options_.name;
    const std::filesystem::path folder(checkpoint_.path);
    if (name.empty()) name = (folder.has_filename() ? folder : folder.parent_path()).filename().string();
    keys_.set_text("general.architecture", target_.architecture);
    keys_.set_text("general.type", "model");
    keys_.set_text("general.name", name);
    add_model_keys(bound_.spec, target_.architecture, keys_);
    return add_vocabulary(checkpoint_, bound_.spec.vocabulary, options_.pre_tokenizer, keys_);
  }

  const TensorRule* rule_of(Slot slot) const {
    for (const TensorRule& rule : target_.family->tensors)
      if (rule.slot == slot && !rule.gguf_name.empty()) return &rule;
    return nullptr;
  }

  Status add_tensor(const BoundTensor& bound) {
    const TensorRule* rule = rule_of(bound.slot);
    if (rule == nullptr)
      return Error{ErrorCode::kUnsupported, checkpoint_.path + ": tensor " + quote(bound.tensor->name) +
                                                " has no name in GGUF files of " + target_.architecture};
    const std::string name = instantiate(rule->gguf_name, bound.layer);
    if (const auto known = job_of_.find(name); known != job_of_.end()) {
      // The next expert, or another slot of a tensor that is copied whole.
      if (bound.expert >= 0) jobs_[known->second].sources.push_back(*bound.tensor);
      return {};
    }
    job_of_.emplace(name, jobs_.size());
    TensorJob job;
    job.planned = {name, bound.tensor->shape, bound.tensor->dtype};
    job.sources = {*bound.tensor};
    if (bound.transform != rule->gguf_transform) KL_RETURN_IF_ERROR(rearrange(bound, rule->gguf_transform, job));
    if (bound.expert >= 0) {
      const int64_t count = slot_shape(bound.slot, bound_.spec, bound_.layer_of(bound)).count;
      job.planned.shape.insert(job.planned.shape.begin(), count);
    }
    jobs_.push_back(std::move(job));
    return {};
  }

  // From the folder's form to the one that nn/ computes with, and from there to the file's.
  Status rearrange(const BoundTensor& bound, Transform wanted, TensorJob& job) const {
    const LayerSpec* layer = bound_.layer_of(bound);
    const StoredLayout from = stored_layout(bound.transform, bound.slot, bound_.spec, layer);
    const StoredLayout to = stored_layout(wanted, bound.slot, bound_.spec, layer);
    const int64_t count = bound.expert >= 0 ? 1 : slot_shape(bound.slot, bound_.spec, layer).count;
    const bool alone = to.offset == 0 && to.stride == to.rows && value_step(wanted) == ValueStep::kNone;
    if (from.transposed || to.transposed || !from.column_order.empty() || !to.column_order.empty() || !alone)
      return Error{ErrorCode::kUnsupported, checkpoint_.path + ": tensor " + quote(bound.tensor->name) +
                                                ": what GGUF files hold in its place can't be made of it yet"};
    job.values = value_step(bound.transform);
    job.row_order = rows_between(from, to, count);
    const auto rows = std::ssize(job.row_order);
    TensorView& source = job.sources.front();
    if (source.shape.size() > 1) {
      job.planned.shape = {rows / count, from.columns};
      if (count > 1) job.planned.shape.insert(job.planned.shape.begin(), count);
    } else {
      job.planned.shape = {rows * from.columns};
    }
    source.shape = {source.elements() / from.columns, from.columns};
    if (source.rows() == rows && is_identity(job.row_order)) job.row_order.clear();
    return {};
  }

  void add_rope_factors() {
    const RopeSpec& rope = typical_layer(bound_.spec).attention.rope;
    if (rope.scaling != RopeSpec::Scaling::kLlama3) return;
    factors_ = llama3_divisors(rope);
    TensorView view;
    view.name = "rope_freqs.weight";
    view.shape = {static_cast<int64_t>(factors_.size())};
    view.data = std::as_bytes(std::span(factors_));
    jobs_.push_back({{view.name, view.shape, DType::kF32}, {view}, {}, ValueStep::kNone, {}});
  }

  Status choose_types() {
    // Vectors are F32 in GGUF files.
    for (TensorJob& job : jobs_)
      if (job.planned.shape.size() < 2) job.planned.type = DType::kF32;
    if (options_.keep_types) {
      uint32_t file_type = 0;
      // Matrices of the quantised schemes of folders have no type in GGUF files that holds them exactly.
      for (TensorJob& job : jobs_)
        if (dtype_info(job.planned.type).block_values > 1 || !can_quantise(job.planned.type))
          job.planned.type = DType::kBF16;
      for (const TensorJob& job : jobs_)
        if (job.planned.type == DType::kF16 || job.planned.type == DType::kBF16)
          file_type = job.planned.type == DType::kF16 ? 1 : 32;
      keys_.set_u32("general.file_type", file_type);
      return {};
    }
    keys_.set_u32("general.file_type", options_.quantise.mix.file_type);
    keys_.set_u32("general.quantization_version", 2);
    const AttentionSpec& a = bound_.spec.layers.front().attention;
    return apply_mix(
        jobs_, {target_.architecture, static_cast<int64_t>(bound_.spec.layers.size()), 0, a.heads / a.kv_heads, false},
        options_.quantise);
  }

  const Checkpoint& checkpoint_;
  const ConvertOptions& options_;
  BoundModel bound_;
  Target target_;
  GgufKeys keys_;
  std::vector<TensorJob> jobs_;
  std::map<std::string, size_t> job_of_;  // by the file's tensor name
  std::vector<float> factors_;
};

}  // namespace

Result<StreamReport> convert_folder(const Checkpoint& checkpoint, const std::string& path,
                                    const ConvertOptions& options, ThreadPool& pool) {
  if (checkpoint.format != CheckpointFormat::kHuggingFace)
    return Error{ErrorCode::kInvalid, checkpoint.path +
                                          ": found a GGUF file, expected a Hugging Face folder; kinglet "
                                          "quantize changes the types of a GGUF file"};
  KL_RETURN_IF_ERROR(refuse_same_file(checkpoint, path));
  Converter converter(checkpoint, options);
  KL_RETURN_IF_ERROR(converter.plan());
  return converter.write(path, pool);
}

}  // namespace kinglet::convert
