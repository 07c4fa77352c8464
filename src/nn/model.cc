// Loading: bind, plan, pack.
#include "nn/model.h"

#include <algorithm>
#include <cmath>

#include "formats/intact.h"
#include "nn/plan.h"
#include "nn/rope.h"
#include "nn/state.h"

namespace kinglet {
namespace {

std::string mebibytes(uint64_t bytes) {
  return std::to_string((bytes + (uint64_t{1} << 20) - 1) >> 20) + " MiB";
}

KvLayout layout_of(const LayerSpec& layer, const ModelOptions& options) {
  const AttentionSpec& a = layer.attention;
  KvLayout layout;
  layout.type = options.kv_type;
  layout.page_positions = options.page_positions;
  if (layer.recurs() || a.shares_kv()) return layout;  // no heads, no bytes
  const bool latent = layer.mixer == Mixer::kLatentAttention;
  const bool compressed = layer.mixer == Mixer::kCompressedAttention;
  layout.kv_heads = latent ? 1 : a.kv_heads;
  layout.head_dim = latent ? a.latent.kv_rank + a.latent.shared_dim : a.head_dim;
  layout.value_dim = latent ? a.latent.kv_rank : a.value_dim;
  layout.values_in_keys = latent || compressed;
  return layout;
}

// The indexer's keys, behind the layer's own in every page.
KvLayout index_layout_of(const LayerSpec& layer, const ModelOptions& options) {
  KvLayout layout;
  layout.type = options.kv_type;
  layout.page_positions = options.page_positions;
  if (!layer.attention.indexer.chooses()) return layout;
  layout.kv_heads = 1;
  layout.head_dim = layer.attention.indexer.key_dim;
  const int64_t ratio = layer.attention.compression.ratio;
  return ratio > 0 ? entry_layout(layout, ratio).keys : layout;
}

// Compressed entries, likewise.
EntryLayout entry_layout_of(const LayerSpec& layer, const ModelOptions& options) {
  const int64_t ratio = layer.attention.compression.ratio;
  return ratio > 0 ? entry_layout(layout_of(layer, options), ratio) : EntryLayout{};
}

// Bytes of the copies of a sequence's entries, and of its index keys, where pages do not have them in order: the most
// that a layer needs.
struct GatherBytes {
  uint64_t entries = 0, index = 0;
};
GatherBytes gather_bytes(const ModelSpec& spec, const ModelOptions& options, int64_t context) {
  GatherBytes most;
  for (const LayerSpec& layer : spec.layers) {
    EntryLayout layout = entry_layout_of(layer, options);
    if (layout.ratio == 0 || layout.in_order()) continue;
    most.entries = std::max(most.entries, gathered_bytes(layout, context / layout.ratio));
    layout.keys = index_layout_of(layer, options);
    if (layout.keys.kv_heads > 0) most.index = std::max(most.index, gathered_bytes(layout, context / layout.ratio));
  }
  return most;
}

// Most rows of bits that say which positions a token reads: none, one, or one a kv head.
int64_t chosen_rows(const ModelSpec& spec) {
  int64_t most = 0;
  for (const LayerSpec& layer : spec.layers) {
    const IndexerSpec& x = layer.attention.indexer;
    most = std::max(most, x.block > 0 ? x.heads : std::min<int64_t>(x.heads, 1));
  }
  return most;
}

std::vector<RopeSpec> distinct_ropes(const ModelSpec& spec) {
  std::vector<RopeSpec> ropes;
  for (const LayerSpec& layer : spec.layers) {
    const RopeSpec& rope = layer.attention.rope;
    if (rope.rotated > 0 && std::find(ropes.begin(), ropes.end(), rope) == ropes.end()) ropes.push_back(rope);
  }
  return ropes;
}

int64_t context_for(const ModelSpec& spec, const ModelOptions& options) {
  return options.context > 0 ? options.context : spec.context;
}

// An encoder sees a text as a whole or not at all.
int64_t step_tokens(const ModelSpec& spec, int64_t context) {
  return spec.is_encoder() ? std::max(Model::kMaxStepTokens, context) : Model::kMaxStepTokens;
}

MemoryPlan make_plan(const BoundModel& bound, const ModelOptions& options) {
  const ModelSpec& spec = bound.spec;
  MemoryPlan plan;
  plan.weight_bytes = packed_weight_bytes(bound);
  for (const LayerSpec& layer : spec.layers) {
    const uint64_t bytes = layout_of(layer, options).page_bytes() + index_layout_of(layer, options).page_bytes() +
                           entry_layout_of(layer, options).keys.page_bytes();
    plan.page_bytes = spec.is_encoder() ? std::max(plan.page_bytes, bytes) : plan.page_bytes + bytes;
    plan.state_bytes += recurrent_state_bytes(layer);
  }
  plan.kv_bytes_per_token = plan.page_bytes / static_cast<uint64_t>(options.page_positions);
  for (const RopeSpec& rope : distinct_ropes(spec))
    plan.rope_bytes +=
        static_cast<uint64_t>(context_for(spec, options)) * static_cast<uint64_t>(rope.rotated) * sizeof(float);
  const int64_t step = step_tokens(spec, context_for(spec, options));
  // A usual step asks for one row of logits a sequence; 16 stand for them here.
  const int64_t row = (2 * spec.streams + (options.keep_states ? 3 : 2)) * spec.width +
                      std::ssize(spec.layers) * spec.layers[0].input_dim;
  const int64_t floats =
      row * step + scratch_floats(spec, step) + (spec.is_encoder() ? int64_t{0} : 16 * spec.vocabulary);
  plan.working_bytes = static_cast<uint64_t>(floats) * sizeof(float);
  plan.working_bytes +=
      static_cast<uint64_t>(step * chosen_rows(spec) * words_of_bits(context_for(spec, options))) * sizeof(uint64_t);
  const GatherBytes gathered = gather_bytes(spec, options, context_for(spec, options));
  plan.working_bytes += gathered.entries + gathered.index;
  return plan;
}

Status check_options(const ModelOptions& options) {
  if (options.page_positions < 16 || options.page_positions % 16 != 0 || options.page_positions > 4096)
    return Error{ErrorCode::kInvalid, "page size: found " + std::to_string(options.page_positions) +
                                          " positions, expected a multiple of 16 up to 4096"};
  if (options.context < 0 || options.context > (int64_t{1} << 28))
    return Error{ErrorCode::kInvalid, "context: found " + std::to_string(options.context) + ", expected 1 to " +
                                          std::to_string(int64_t{1} << 28)};
  if (options.threads < 0 || options.threads > 1024)
    return Error{ErrorCode::kInvalid,
                 "threads: found " + std::to_string(options.threads) + ", expected 1 to 1024, or 0 for one a core"};
  return {};
}

// Learned places end somewhere.
Status check_places(const ModelSpec& spec, int64_t context) {
  if (!spec.is_encoder() || context <= spec.context) return {};
  return Error{ErrorCode::kInvalid, "context: found " + std::to_string(context) + " tokens, expected at most the " +
                                        std::to_string(spec.context) + " that the model has learned places for"};
}

Status check_memory(const MemoryPlan& plan, const ModelOptions& options, const std::string& path) {
  const uint64_t available = options.memory_limit > 0 ? options.memory_limit : available_memory_bytes();
  const uint64_t needed = plan.weight_bytes + plan.rope_bytes + plan.working_bytes + plan.page_bytes + plan.state_bytes;
  if (needed <= available) return {};
  return Error{ErrorCode::kResource,
               path + ": needs " + mebibytes(needed) + " of memory (weights " + mebibytes(plan.weight_bytes) +
                   ", rotary tables " + mebibytes(plan.rope_bytes) + ", working memory " +
                   mebibytes(plan.working_bytes) + ", first KV page " + mebibytes(plan.page_bytes) +
                   (plan.state_bytes > 0 ? ", recurrent state " + mebibytes(plan.state_bytes) : std::string()) +
                   "), but only " + mebibytes(available) +
                   " are available. Use a smaller model or quantisation, or a shorter context"};
}

struct WorkspaceSize {
  int64_t context = 0, tokens = 0;  // of the longest step
  bool head = true;
};

Status allocate_workspace(Workspace& work, const ModelSpec& spec, const ModelOptions& options, WorkspaceSize size) {
  const auto allocate_rows = [&size](AlignedBuffer& buffer, int64_t columns) -> Status {
    KL_TRY(buffer, AlignedBuffer::allocate(static_cast<size_t>(size.tokens * columns) * sizeof(float)));
    return {};
  };
  struct {
    AlignedBuffer& buffer;
    int64_t columns;
  } const all[] = {{work.residual, spec.streams * spec.width},
                   {work.normed, spec.width},
                   {work.branch, spec.width},
                   {work.selected, spec.streams * spec.width},
                   {work.logits, size.head ? spec.vocabulary : 0},
                   {work.kept_states, options.keep_states ? spec.width : 0},
                   {work.layer_inputs, std::ssize(spec.layers) * spec.layers[0].input_dim}};
  for (const auto& a : all) KL_RETURN_IF_ERROR(allocate_rows(a.buffer, a.columns));
  if (const int64_t words = chosen_rows(spec) * words_of_bits(size.context); words > 0)
    KL_RETURN_IF_ERROR(allocate_rows(work.chosen, words * int64_t{sizeof(uint64_t) / sizeof(float)}));
  const GatherBytes gathered = gather_bytes(spec, options, size.context);
  KL_TRY(work.entries, AlignedBuffer::allocate(gathered.entries));
  KL_TRY(work.index_entries, AlignedBuffer::allocate(gathered.index));
  return work.scratch.reserve(scratch_floats(spec, size.tokens));
}

// Rotary tables, page layout and scratch of a model whose weights are there.
Status prepare(Model::State& s) {
  const ModelSpec& spec = s.bound.spec;
  for (const RopeSpec& rope : distinct_ropes(spec)) {
    KL_TRY(RopeTable table,
           make_rope_table(s.compute, rope_inverse_frequencies(rope, s.context), rope_magnitude(rope), s.context));
    s.rope_tables.push_back(std::move(table));
  }
  const std::vector<RopeSpec> ropes = distinct_ropes(spec);
  uint64_t offset = 0, state_offset = 0;
  for (const LayerSpec& layer : spec.layers) {
    const auto at = std::find(ropes.begin(), ropes.end(), layer.attention.rope);
    s.rope_of_layer.push_back(at == ropes.end() ? -1 : static_cast<int>(at - ropes.begin()));
    s.kv_layouts.push_back(layout_of(layer, s.options));
    s.kv_offsets.push_back(offset);
    // What an encoder's layer stored is of no use to the next one, which takes its place.
    if (!spec.is_encoder()) offset += s.kv_layouts.back().page_bytes();
    if (layer.attention.shares_kv()) {
      const auto source = static_cast<size_t>(layer.attention.kv_layer);
      s.kv_layouts.back() = s.kv_layouts[source];
      s.kv_offsets.back() = s.kv_offsets[source];
    }
    s.index_layouts.push_back(index_layout_of(layer, s.options));
    s.index_offsets.push_back(offset);
    offset += s.index_layouts.back().page_bytes();
    s.entry_layouts.push_back(entry_layout_of(layer, s.options));
    s.entry_offsets.push_back(offset);
    offset += s.entry_layouts.back().keys.page_bytes();
    s.state_offsets.push_back(state_offset);
    state_offset += recurrent_state_bytes(layer);
    s.lightning_decay.push_back(lightning_decay(layer));
  }
  return allocate_workspace(s.work, spec, s.options,
                            {s.context, s.step_tokens, s.weights.model.has_matrices(Slot::kOutput)});
}

}  // namespace

Model::Model(std::unique_ptr<State> state) : state_(std::move(state)) {}
Model::~Model() = default;

Result<std::unique_ptr<Model>> Model::load(std::shared_ptr<const Checkpoint> checkpoint, const ModelOptions& options) {
  KL_RETURN_IF_ERROR(check_options(options));
  auto s = std::make_unique<State>();
  KL_TRY(s->isa, choose_isa_level(options.isa));
  KL_TRY(s->bound, bind_model(*checkpoint));
  s->bound.headless = s->bound.headless || options.states_only;
  s->checkpoint = std::move(checkpoint);
  s->options = options;
  s->context = context_for(s->bound.spec, options);
  s->step_tokens = step_tokens(s->bound.spec, s->context);
  KL_RETURN_IF_ERROR(check_places(s->bound.spec, s->context));
  s->plan = make_plan(s->bound, options);
  KL_RETURN_IF_ERROR(check_memory(s->plan, options, s->checkpoint->path));
  s->pool = std::make_shared<ThreadPool>(options.threads);
  s->compute = {&kernel_table(s->isa), s->pool.get()};
  KL_TRY(s->weights, pack_weights(s->compute, *s->checkpoint, s->bound, options.progress, s->notes));
  KL_RETURN_IF_ERROR(check_intact(*s->checkpoint));
  KL_RETURN_IF_ERROR(prepare(*s));
  if (!s->bound.ignored.empty())
    s->notes.push_back(std::to_string(s->bound.ignored.size()) + " tensors of the file are not used, " +
                       s->bound.ignored.front() + " among them");
  return std::unique_ptr<Model>(new Model(std::move(s)));
}

Result<std::unique_ptr<Model>> Model::load_predictor(const Model& model) {
  const State& of = *model.state_;
  std::optional<BoundModel> bound = bind_predictor(*of.checkpoint, of.bound);
  if (!bound || !of.weights.model.has_matrices(Slot::kOutput))
    return Error{ErrorCode::kUnsupported, of.checkpoint->path + ": has no prediction layer in a form that is known"};
  auto s = std::make_unique<State>();
  s->isa = of.isa;
  s->bound = *std::move(bound);
  s->checkpoint = of.checkpoint;
  s->options = of.options;
  s->options.keep_states = true;
  s->options.progress = {};
  s->context = of.context;
  s->step_tokens = of.step_tokens;
  s->plan = make_plan(s->bound, s->options);
  s->pool = of.pool;
  s->compute = of.compute;
  KL_TRY(s->weights, pack_weights(s->compute, *s->checkpoint, s->bound, s->options.progress, s->notes));
  KL_RETURN_IF_ERROR(check_intact(*s->checkpoint));
  s->weights.model.matrices_to_fill(Slot::kOutput) = of.weights.model.stack(Slot::kOutput);  // the memory is shared
  KL_RETURN_IF_ERROR(prepare(*s));
  return std::unique_ptr<Model>(new Model(std::move(s)));
}

const ModelSpec& Model::spec() const {
  return state_->bound.spec;
}
const ModelOptions& Model::options() const {
  return state_->options;
}
const MemoryPlan& Model::plan() const {
  return state_->plan;
}
IsaLevel Model::isa() const {
  return state_->isa;
}
int Model::threads() const {
  return state_->pool->size();
}
int64_t Model::context() const {
  return state_->context;
}
int64_t Model::max_step_tokens() const {
  return state_->step_tokens;
}
std::vector<std::string> Model::notes() const {
  return state_->notes;
}
uint64_t Model::weight_bytes_per_token() const {
  return weight_bytes_a_token(state_->bound, state_->weights);
}
Status Model::intact() const {
  return check_intact(*state_->checkpoint);
}
Compute Model::compute() const {
  return state_->compute;
}

Result<MemoryPlan> plan_memory(const BoundModel& bound, const ModelOptions& options) {
  KL_RETURN_IF_ERROR(check_options(options));
  return make_plan(bound, options);
}

Result<MemoryPlan> plan_memory(const Checkpoint& checkpoint, const ModelOptions& options) {
  KL_TRY(const BoundModel bound, bind_model(checkpoint));
  return plan_memory(bound, options);
}

}  // namespace kinglet
