// linear() and Activations: shapes, quantised forms on demand, work split over row blocks.
#include <algorithm>

#include "base/check.h"
#include "kernels/ops.h"
#include "kernels/packed/layout.h"
#include "kernels/table.h"

namespace kinglet {
namespace {

constexpr int64_t kGroupColumns = 256;

// Bytes of packed weights that are worth a chunk of their own.
constexpr int64_t kChunkBytes = 256 << 10;

int64_t chunk_of(const MatrixRef& w, int64_t tokens, int64_t blocks, int64_t at_once, int64_t threads) {
  int64_t chunk = std::max<int64_t>(1, kChunkBytes / static_cast<int64_t>(w.block_bytes));
  // Several token blocks: long chunks, so that a block's activations stay in the cache over many rows.
  if (tokens > 64) chunk = std::max(chunk, blocks / (4 * threads));
  chunk = std::min(chunk, (blocks + 2 * threads - 1) / (2 * threads));
  return std::max<int64_t>(1, (chunk + at_once - 1) / at_once);
}

}  // namespace

struct Activations::Buffers {
  // One of the two int8 forms, in the form of one instruction set.
  struct Form {
    AlignedBuffer buffer;
    const KernelTable* made_by = nullptr;  // null: not made since set()
  };
  Form by256, by32;

  template <class Entry, class Quantise>
  static QuantisedRows form(const Compute& compute, Form& form, const Activations& x, Quantise quantise);
};

template <class Entry, class Quantise>
QuantisedRows Activations::Buffers::form(const Compute& compute, Form& form, const Activations& x, Quantise quantise) {
  const int64_t groups = (x.columns_ + kGroupColumns - 1) / kGroupColumns;
  if (form.made_by != compute.kernels) {
    const size_t bytes = static_cast<size_t>(groups * x.tokens_ + kQuantisedSlack) * sizeof(Entry);
    if (form.buffer.size() < bytes) {
      auto grown = AlignedBuffer::allocate(bytes);
      KL_CHECK(grown.ok(), "no memory for the activations of a batch");
      form.buffer = std::move(grown).value();
    }
    auto* entries = form.buffer.as<Entry>();
    // Small inputs are not worth waking the pool.
    compute.pool->parallel_for(groups * x.tokens_, 64, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t group = i / x.tokens_, token = i % x.tokens_;
        quantise(x.x_ + token * x.ld_ + group * kGroupColumns, x.columns_ - group * kGroupColumns, &entries[i]);
      }
    });
    form.made_by = compute.kernels;
  }
  return {form.buffer.data(), x.tokens_};
}

Activations::Activations() : buffers_(std::make_unique<Buffers>()) {}
Activations::~Activations() = default;

void Activations::set(const float* x, int64_t tokens, int64_t columns, int64_t ld) {
  KL_CHECK(tokens >= 0 && columns > 0 && ld >= columns, "activations of an impossible shape");
  x_ = x;
  tokens_ = tokens;
  columns_ = columns;
  ld_ = ld;
  buffers_->by256.made_by = nullptr;
  buffers_->by32.made_by = nullptr;
}

void linear(const Compute& compute, ComputeMode mode, const PackedMatrix& w, Activations& x, float* y, int64_t ldy) {
  KL_CHECK(w.columns() == x.columns(), "a product of shapes that do not match");
  KL_CHECK(ldy >= w.rows(), "rows of outputs overlap");
  if (x.tokens() == 0 || w.rows() == 0) return;
  const LinearKernels& kernels = compute.kernels->linear;
  const MatrixRef matrix = {w.dtype(), w.rows(), w.columns(), reinterpret_cast<const uint8_t*>(w.data()),
                            packed::row_block_bytes(w.dtype(), w.columns())};
  const int64_t blocks = (w.rows() + packed::kRowsPerBlock - 1) / packed::kRowsPerBlock;
  const int64_t at_once = kernels.row_blocks_at_once;
  const int64_t chunk = chunk_of(matrix, x.tokens(), blocks, at_once, compute.pool->size());
  const auto split = [&](const auto& product) {
    compute.pool->parallel_for((blocks + at_once - 1) / at_once, chunk, [&](int64_t first, int64_t last) {
      product(first * at_once, std::min(last * at_once, blocks));
    });
  };
  if (mode == ComputeMode::kF32 || packed::is_float(w.dtype())) {
    const FloatRows rows = {x.x_, x.tokens_, x.ld_};
    split([&](int64_t first, int64_t last) { kernels.f32(matrix, rows, y, ldy, first, last); });
    return;
  }
  QuantisedRows rows;
  if (packed::block_columns(w.dtype()) == kGroupColumns) {
    rows = Activations::Buffers::form<Activations256>(
        compute, x.buffers_->by256, x,
        [&](const float* from, int64_t, Activations256* to) { kernels.quantise256(from, to); });
  } else {
    rows = Activations::Buffers::form<Activations32>(compute, x.buffers_->by32, x, kernels.quantise32);
  }
  split([&](int64_t first, int64_t last) { kernels.int8(matrix, rows, y, ldy, first, last); });
}

}  // namespace kinglet
