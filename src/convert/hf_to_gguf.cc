#include "convert/hf_to_gguf.h"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <numbers>
#include <numeric>
#include <optional>

#include "base/quote.h"
#include "convert/judge_head.h"
#include "convert/model_keys.h"
#include "convert/quantise.h"
#include "convert/turned_rows.h"
#include "convert/vocabulary.h"
#include "families/gguf_names.h"
#include "families/pooling.h"
#include "formats/decode.h"
#include "kernels/math.h"

namespace kinglet::convert {
namespace {

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

// Whether the file can have the type that a matrix has.
bool holds_exactly(const TensorJob& job) {
  const auto plain = [](const TensorView& source) { return source.multiplier == 1.0f && source.column_order.empty(); };
  if (job.planned.type == DType::kMXFP4) return std::all_of(job.sources.begin(), job.sources.end(), plain);
  return dtype_info(job.planned.type).block_values == 1 && can_quantise(job.planned.type);
}

constexpr uint32_t kMxfp4File = 38;  // general.file_type
uint32_t file_type_of(DType type) {
  if (type == DType::kMXFP4) return kMxfp4File;
  return type == DType::kF16 ? 1 : 32;
}

// What a transform does to values, apart from where they lie.
ValueStep value_step(Transform transform) {
  if (transform == Transform::kAddOne) return ValueStep::kAddOne;
  if (transform == Transform::kNegativeExp || transform == Transform::kTiledNegativeExp) return ValueStep::kNegativeExp;
  return ValueStep::kNone;
}

// Where the columns of `source` stand in the file, the folder's layout being `from` and the file's plain: as
// TensorView::column_order.
std::vector<int32_t> column_places(const TensorView& source, const StoredLayout& from) {
  std::vector<int32_t> place(from.column_order.size());
  for (size_t i = 0; i < place.size(); ++i) place[static_cast<size_t>(from.column_order[i])] = static_cast<int32_t>(i);
  std::vector<int32_t> places = source.column_order.empty()
                                    ? place
                                    : std::vector<int32_t>(source.column_order.begin(), source.column_order.end());
  if (!source.column_order.empty())
    for (int32_t& at : places) at = place[static_cast<size_t>(at)];
  return places;
}

// Of a classification head, as the configuration names them.
std::vector<std::string> label_names(const Checkpoint& checkpoint, int64_t count) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < count; ++i) {
    const std::string number = std::to_string(i);
    const auto name = checkpoint.metadata.string_or("id2label." + number, "LABEL_" + number);
    names.push_back(name.ok() ? *name : "LABEL_" + number);
  }
  return names;
}

class Converter {
 public:
  Converter(const Checkpoint& checkpoint, const ConvertOptions& options) : checkpoint_(checkpoint), options_(options) {}

  Status plan() {
    KL_TRY(bound_, bind_model(checkpoint_));
    KL_TRY(target_, gguf_form(*bound_.family, bound_.spec));
    name_ = options_.name;
    const std::filesystem::path folder(checkpoint_.path);
    if (name_.empty()) name_ = (folder.has_filename() ? folder : folder.parent_path()).filename().string();
    KL_TRY(judge_, judge_head(checkpoint_, bound_, name_));
    if (judge_) bound_.spec.labels = 2;
    const ModelSpec stated = bound_.spec;
    add_prediction_layers();
    add_keys();
    for (const BoundTensor& bound : bound_.tensors) KL_RETURN_IF_ERROR(add_tensor(bound));
    add_rope_factors();
    if (judge_) add_judge();
    KL_RETURN_IF_ERROR(add_pooling());
    KL_RETURN_IF_ERROR(check_expressible(stated, target_, keys_, jobs_));
    KL_RETURN_IF_ERROR(add_vocabulary(checkpoint_, bound_.spec, options_.pre_tokenizer, keys_));
    return choose_types();
  }

  Result<StreamReport> write(const std::string& path, ThreadPool& pool) const {
    KL_TRY(StreamReport report, write_gguf(path, keys_, checkpoint_, jobs_, pool, options_.quantise.progress));
    report.left_out = bound_.kept;
    return report;
  }

 private:
  void add_keys() {
    keys_.set_text("general.architecture", target_.architecture);
    keys_.set_text("general.type", "model");
    keys_.set_text("general.name", name_);
    keys_.set_u32("general.quantization_version", 2);
    add_model_keys(bound_.spec, predictions_, target_.architecture, keys_);
  }

  // The folder's layers that predict further tokens, where files of the architecture hold such: all of them or none.
  void add_prediction_layers() {
    std::optional<BoundModel> longer = bind_prediction_layers(checkpoint_, bound_);
    if (!longer) return;
    std::vector<TensorJob> jobs;
    const auto first = static_cast<int64_t>(bound_.spec.layers.size());
    const auto layers = static_cast<int64_t>(longer->spec.layers.size());
    for (int64_t i = first; i < layers; ++i)
      for (const PredictionTensor& wanted : prediction_tensors()) {
        const auto kept = std::find_if(longer->kept.begin(), longer->kept.end(), [&](const std::string& name) {
          return name == "mtp." + std::string(wanted.hf_beside_model) ||
                 name.ends_with("layers." + std::to_string(i) + "." + std::string(wanted.hf_name));
        });
        if (kept == longer->kept.end() && wanted.required) return;
        if (kept == longer->kept.end()) continue;
        const TensorView& source = *checkpoint_.find(*kept);
        TensorJob job{
            {tensor_name(wanted.gguf_name, static_cast<int>(i)), source.shape, source.dtype}, {source}, {}, {}, {}};
        if (wanted.adds_one && kept->starts_with("mtp.")) job.values = ValueStep::kAddOne;
        jobs.push_back(std::move(job));
        longer->kept.erase(kept);
      }
    bound_ = *std::move(longer);
    predictions_ = layers - first;
    jobs_ = std::move(jobs);
  }

  // How an embedding model's states are pooled, and what a classification head tells apart.
  Status add_pooling() {
    if (judge_) {
      add_judge_keys(target_.architecture, keys_);
      return {};
    }
    if (bound_.spec.labels > 0)
      keys_.set_texts(target_.architecture + ".classifier.output_labels", label_names(checkpoint_, bound_.spec.labels));
    KL_TRY(const std::optional<Pooling> pooling, stated_pooling(checkpoint_));
    if (pooling) keys_.set_u32(target_.architecture + ".pooling_type", gguf_number_of(*pooling));
    return {};
  }

  Status add_tensor(const BoundTensor& bound) {
    const bool pooler = bound.slot == Slot::kPooler || bound.slot == Slot::kPoolerBias;
    if (pooler && bound_.spec.labels == 0) return {};  // nothing reads it
    if (judge_ && (bound.slot == Slot::kOutput || bound.slot == Slot::kClassifier)) return {};
    const TensorRule* rule = gguf_rule(*target_.family, bound);
    if (rule == nullptr)
      return Error{ErrorCode::kUnsupported, checkpoint_.path + ": tensor " + quote(bound.tensor->name) +
                                                " has no name in GGUF files of " + target_.architecture};
    const std::string name = tensor_name(rule->gguf_name, bound.layer);
    if (slot_kind(bound.slot) == SlotKind::kTable) return add_table(name, *bound.tensor);
    if (const auto known = job_of_.find(name); known != job_of_.end()) {
      // The next expert, or another slot of a tensor that is copied whole.
      if (bound.expert >= 0) jobs_[known->second].sources.push_back(*bound.tensor);
      return {};
    }
    job_of_.emplace(name, jobs_.size());
    TensorJob job;
    job.planned = {name, bound.tensor->shape, bound.tensor->dtype};
    job.sources = {*bound.tensor};
    // Floats even where they have two dimensions (convolutions); what chooses is small and kept exact.
    if (slot_kind(bound.slot) == SlotKind::kVector || chooses(bound) || is_place_or_type(bound.slot))
      job.planned.type = DType::kF32;
    if (bound.slot == Slot::kPositionEmbedding) start_at_first_position(job);
    // Convolutions have two dimensions in files, but for Kimi Linear's.
    if (auto& shape = job.planned.shape; bound.slot == Slot::kConvolution && shape.size() == 3 && shape[1] == 1)
      shape.erase(shape.begin() + 1);
    if (bound.transform != rule->gguf_transform) KL_RETURN_IF_ERROR(rearrange(bound, rule->gguf_transform, job));
    if (bound.expert >= 0) {
      const int64_t count = slot_shape(bound.slot, bound_.spec, bound_.layer_of(bound)).count;
      job.planned.shape.insert(job.planned.shape.begin(), count);
    }
    jobs_.push_back(std::move(job));
    return {};
  }

  // Numbers of experts, one row a token: 32 bits wide in files.
  Status add_table(const std::string& name, const TensorView& table) {
    KL_TRY(std::vector<int32_t> decoded, decode_indices(table, most_experts()));
    const std::vector<int32_t>& numbers = tables_.emplace_back(std::move(decoded));
    TensorView view;
    view.name = name;
    view.dtype = DType::kI32;
    view.shape = table.shape;
    view.data = std::as_bytes(std::span(numbers));
    jobs_.push_back({{name, view.shape, DType::kI32}, {view}, {}, ValueStep::kNone, {}});
    return {};
  }

  // Matrices that choose experts, positions or blocks.
  bool chooses(const BoundTensor& bound) const {
    const bool of_blocks = bound.slot == Slot::kIndexQ || bound.slot == Slot::kIndexK;
    if (of_blocks) return bound_.layer_of(bound)->attention.indexer.block > 0;
    return bound.slot == Slot::kRouter || bound.slot == Slot::kSharedRouter || bound.slot == Slot::kIndexWeights;
  }

  void add_judge() {
    TensorJob job;
    const TensorView& yes = judge_->yes;
    job.planned = {"cls.output.weight", {2, yes.columns()}, yes.dtype};
    if (!judge_->zeros.empty()) judge_->no.data = judge_->zeros;
    job.sources = {yes, judge_->no};
    jobs_.push_back(std::move(job));
  }

  static bool is_place_or_type(Slot slot) { return slot == Slot::kPositionEmbedding || slot == Slot::kTokenTypes; }

  // RoBERTa's first rows belong to no position; files leave them out.
  void start_at_first_position(TensorJob& job) const {
    const EncoderSpec& e = bound_.spec.encoder;
    if (e.position_offset == 0) return;
    job.row_order.resize(static_cast<size_t>(e.positions - e.position_offset));
    std::iota(job.row_order.begin(), job.row_order.end(), static_cast<int32_t>(e.position_offset));
    job.planned.shape.front() = std::ssize(job.row_order);
  }

  // From the folder's form to the one that nn/ computes with, and from there to the file's.
  Status rearrange(const BoundTensor& bound, Transform wanted, TensorJob& job) {
    const LayerSpec* layer = bound_.layer_of(bound);
    const StoredLayout from = stored_layout(bound.transform, bound.slot, bound_.spec, layer);
    const StoredLayout to = stored_layout(wanted, bound.slot, bound_.spec, layer);
    const int64_t count = bound.expert >= 0 ? 1 : slot_shape(bound.slot, bound_.spec, layer).count;
    const bool alone = to.offset == 0 && to.stride == to.rows && value_step(wanted) == ValueStep::kNone;
    const bool turned_columns = from.transposed && !from.column_order.empty();
    if (to.transposed || turned_columns || !to.column_order.empty() || !alone)
      return Error{ErrorCode::kUnsupported, checkpoint_.path + ": tensor " + quote(bound.tensor->name) +
                                                ": what GGUF files hold in its place can't be made of it yet"};
    if (from.transposed) {
      turned_.push_back(std::make_unique<TurnedRows>(*bound.tensor, from, count));
      job.sources.front() = turned_.back()->view();
      set_shape(job, count);
      return {};
    }
    job.values = value_step(bound.transform);
    job.row_order = rows_between(from, to, count);
    TensorView& source = job.sources.front();
    const bool vector = source.shape.size() == 1;
    source.shape = {source.elements() / from.columns, from.columns};
    if (!from.column_order.empty()) source.column_order = column_orders_.emplace_back(column_places(source, from));
    set_shape(job, vector ? 0 : count);
    if (source.rows() == std::ssize(job.row_order) && is_identity(job.row_order)) job.row_order.clear();
    return {};
  }

  // `count` matrices; 0: a vector.
  static void set_shape(TensorJob& job, int64_t count) {
    const int64_t columns = job.sources.front().columns();
    const int64_t rows = job.row_order.empty() ? job.sources.front().rows() : std::ssize(job.row_order);
    if (count == 0)
      job.planned.shape = {rows * columns};
    else if (count == 1)
      job.planned.shape = {rows, columns};
    else
      job.planned.shape = {count, rows / count, columns};
    if (count > 1 && columns == 1) job.planned.shape.pop_back();  // a vector an expert
  }

  // Divisors of the inverse frequencies, where the family's files have a place for them.
  void add_rope_factors() {
    const auto stretched = [](const LayerSpec& layer) {
      return layer.attention.rope.rotated > 0 && layer.attention.rope.scaling != RopeSpec::Scaling::kNone;
    };
    const auto layer = std::find_if(bound_.spec.layers.begin(), bound_.spec.layers.end(), stretched);
    if (layer == bound_.spec.layers.end()) return;
    const RopeSpec& rope = layer->attention.rope;
    if (rope.scaling == RopeSpec::Scaling::kLlama3) add_factors(Slot::kRopeFactors, llama3_divisors(rope));
    if (rope.scaling != RopeSpec::Scaling::kFactors) return;
    add_factors(Slot::kRopeFactors, {rope.factors.begin(), rope.factors.end()});
    add_factors(Slot::kRopeFactorsLong, {rope.long_factors.begin(), rope.long_factors.end()});
  }

  void add_factors(Slot slot, std::vector<float> factors) {
    const TensorRule* rule = gguf_rule(
        *target_.family, {.slot = slot, .layer = -1, .tensor = nullptr, .transform = Transform::kNone, .expert = -1});
    if (rule == nullptr || factors.empty()) return;
    factors_.push_back(std::move(factors));
    TensorView view;
    view.name = rule->gguf_name;
    view.shape = {std::ssize(factors_.back())};
    view.data = std::as_bytes(std::span(factors_.back()));
    jobs_.push_back({{view.name, view.shape, DType::kF32}, {view}, {}, ValueStep::kNone, {}});
  }

  int64_t most_experts() const {
    int64_t most = 0;
    for (const LayerSpec& layer : bound_.spec.layers) most = std::max(most, layer.ffn.moe.experts);
    return most;
  }

  Status choose_types() {
    // Vectors are F32 in GGUF files; of the quantised schemes of folders they hold MXFP4 as it is.
    for (TensorJob& job : jobs_) {
      if (job.planned.type == DType::kI32) continue;
      if (job.planned.shape.size() < 2) job.planned.type = DType::kF32;
      if (!holds_exactly(job)) job.planned.type = DType::kBF16;
    }
    if (options_.keep_types) {
      uint32_t file_type = 0;
      for (const TensorJob& job : jobs_)
        if (file_type != kMxfp4File && job.planned.type != DType::kF32 && job.planned.type != DType::kI32)
          file_type = file_type_of(job.planned.type);
      keys_.set_u32("general.file_type", file_type);
      return {};
    }
    const Mix& mix = options_.quantise.mix;
    keys_.set_u32("general.file_type", mix.file_type);
    // What a mix does not touch has its type all the same where that is a float.
    if (dtype_info(mix.base).block_values == 1)
      for (TensorJob& job : jobs_)
        if (job.planned.type != DType::kF32 && job.planned.type != DType::kI32) job.planned.type = mix.base;
    const AttentionSpec& a = bound_.spec.layers.front().attention;
    return apply_mix(
        jobs_, {target_.architecture, std::ssize(bound_.spec.layers), most_experts(), a.heads / a.kv_heads, false},
        options_.quantise);
  }

  const Checkpoint& checkpoint_;
  const ConvertOptions& options_;
  BoundModel bound_;
  int64_t predictions_ = 0;  // of its layers, the last ones
  GgufForm target_;
  std::string name_;
  std::optional<JudgeHead> judge_;
  GgufKeys keys_;
  std::vector<TensorJob> jobs_;
  std::map<std::string, size_t> job_of_;    // by the file's tensor name
  std::deque<std::vector<float>> factors_;  // what jobs point to
  std::deque<std::vector<int32_t>> tables_;
  std::deque<std::vector<int32_t>> column_orders_;
  std::vector<std::unique_ptr<TurnedRows>> turned_;
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
