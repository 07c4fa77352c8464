// linear_many: the inputs of all products are quantised in one parallel region, then all row blocks of all matrices lie
// on one line, which is cut into pieces of equal cost.
#include <algorithm>
#include <tuple>

#include "base/check.h"
#include "kernels/input_form.h"
#include "kernels/ops_experts.h"
#include "kernels/table.h"

namespace kinglet {
namespace {

// Pieces a worker, so that one that was interrupted does not hold up the rest.
constexpr int64_t kPiecesPerWorker = 4;
// Up to this many tokens, reading the weights is what takes time.
constexpr int64_t kFreeTokens = 4;
// Cost (bytes of weights times tokens) that is worth a piece of its own.
constexpr int64_t kPieceCost = kFreeTokens * (64 << 10);

struct Input {
  FloatRows x;
  int64_t columns = 0;
  InputForm form = InputForm::kFloat;
  size_t job = 0;           // whose input it is
  int64_t first_entry = 0;  // in the buffer of quantised entries

  auto key() const { return std::tuple(form, x.x, x.ld, x.tokens, columns); }
  int64_t entries() const { return group_count(columns) * x.tokens; }
};

struct Job {
  const Product* product = nullptr;
  InputForm form = InputForm::kFloat;
  int64_t first_entry = 0;
  int64_t units = 0, unit_cost = 0;  // a unit is row_blocks_at_once row blocks
  int64_t cost_before = 0;           // of the jobs before it

  // The first unit that begins at or after `cost` on the line of all jobs.
  int64_t unit_at(int64_t cost) const {
    return std::clamp<int64_t>((cost - cost_before + unit_cost - 1) / unit_cost, 0, units);
  }
};

}  // namespace

struct ProductScratch::Buffers {
  std::vector<Job> jobs;
  std::vector<Input> inputs;  // each once, those that are quantised
  AlignedBuffer entries;
  Activations alone;
  int64_t entry_count = 0, cost = 0;

  void plan(const Compute& compute, ComputeMode mode, std::span<const Product> products);
  void share_inputs();
  void quantise(const Compute& compute);
  void run(const LinearKernels& kernels, const Job& job, int64_t first, int64_t last) const;
};

ProductScratch::ProductScratch() : buffers_(std::make_unique<Buffers>()) {}
ProductScratch::~ProductScratch() = default;

void ProductScratch::Buffers::plan(const Compute& compute, ComputeMode mode, std::span<const Product> products) {
  jobs.clear();
  inputs.clear();
  cost = 0;
  const int64_t at_once = compute.kernels->linear.row_blocks_at_once;
  for (const Product& p : products) {
    KL_CHECK(p.tokens >= 0 && p.ldx >= p.w->columns() && p.ldy >= p.w->rows(), "a product of an impossible shape");
    if (p.tokens == 0 || p.w->rows() == 0 || !p.w->column_order().empty()) continue;
    const InputForm form = input_form(mode, p.w->dtype());
    if (form != InputForm::kFloat) inputs.push_back({{p.x, p.tokens, p.ldx}, p.w->columns(), form, jobs.size()});
    const int64_t units = (row_block_count(*p.w) + at_once - 1) / at_once;
    const auto bytes = static_cast<int64_t>(matrix_ref(*p.w).block_bytes);
    const int64_t unit_cost = at_once * bytes * std::max(p.tokens, kFreeTokens);
    jobs.push_back({&p, form, 0, units, unit_cost, cost});
    cost += units * unit_cost;
  }
}

// Equal inputs get the same entries, and only the first of them stays in the list.
void ProductScratch::Buffers::share_inputs() {
  std::sort(inputs.begin(), inputs.end(), [](const Input& a, const Input& b) { return a.key() < b.key(); });
  size_t kept = 0;
  entry_count = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (kept == 0 || inputs[i].key() != inputs[kept - 1].key()) {
      inputs[kept] = inputs[i];
      inputs[kept].first_entry = entry_count;
      entry_count += inputs[kept++].entries();
    }
    jobs[inputs[i].job].first_entry = inputs[kept - 1].first_entry;
  }
  inputs.resize(kept);
}

void ProductScratch::Buffers::quantise(const Compute& compute) {
  const size_t bytes = static_cast<size_t>(entry_count + kQuantisedSlack) * kGroupBytes;
  if (entry_count > 0 && entries.size() < bytes) {
    auto grown = AlignedBuffer::allocate(bytes);
    KL_CHECK(grown.ok(), "no memory for the activations of a batch");
    entries = std::move(grown).value();
  }
  compute.pool->parallel_for(entry_count, 64, [&](int64_t first, int64_t last) {
    auto input = std::upper_bound(inputs.begin(), inputs.end(), first,
                                  [](int64_t entry, const Input& i) { return entry < i.first_entry; });
    for (--input; input != inputs.end() && input->first_entry < last; ++input) {
      const int64_t begin = std::max<int64_t>(first - input->first_entry, 0);
      const int64_t end = std::min(last - input->first_entry, input->entries());
      quantise_entries(compute.kernels->linear, input->form, input->x, input->columns, begin, end,
                       entries.data() + static_cast<size_t>(input->first_entry) * kGroupBytes);
    }
  });
}

void ProductScratch::Buffers::run(const LinearKernels& kernels, const Job& job, int64_t first, int64_t last) const {
  const Product& p = *job.product;
  first *= kernels.row_blocks_at_once;
  last = std::min(last * kernels.row_blocks_at_once, row_block_count(*p.w));
  if (job.form == InputForm::kFloat) {
    kernels.f32(matrix_ref(*p.w), {p.x, p.tokens, p.ldx}, p.y, p.ldy, first, last);
  } else {
    const std::byte* form = entries.data() + static_cast<size_t>(job.first_entry) * kGroupBytes;
    kernels.int8(matrix_ref(*p.w), {form, p.tokens}, p.y, p.ldy, first, last);
  }
}

void linear_many(const Compute& compute, ComputeMode mode, std::span<const Product> products, ProductScratch& scratch) {
  ProductScratch::Buffers& b = *scratch.buffers_;
  // Those whose columns stand in an order of their own share no input with others.
  for (const Product& p : products) {
    if (p.tokens == 0 || p.w->column_order().empty()) continue;
    b.alone.set(p.x, p.tokens, p.w->columns(), p.ldx);
    linear(compute, mode, *p.w, b.alone, p.y, p.ldy);
  }
  b.plan(compute, mode, products);
  if (b.jobs.empty()) return;
  b.share_inputs();
  b.quantise(compute);
  const int64_t pieces = std::clamp<int64_t>(b.cost / kPieceCost, 1, compute.pool->size() * kPiecesPerWorker);
  const int64_t piece = (b.cost + pieces - 1) / pieces;
  compute.pool->parallel_for(pieces, 1, [&](int64_t first, int64_t last) {
    const int64_t begin = first * piece, end = last * piece;
    auto job = std::upper_bound(b.jobs.begin(), b.jobs.end(), begin,
                                [](int64_t cost, const Job& j) { return cost < j.cost_before; });
    for (--job; job != b.jobs.end() && job->cost_before < end; ++job) {
      const int64_t from = job->unit_at(begin), to = job->unit_at(end);
      if (from < to) b.run(compute.kernels->linear, *job, from, to);
    }
  });
}

}  // namespace kinglet
