// linear() and Activations: shapes, quantised forms on demand, work split over row blocks.
#include <algorithm>
#include <array>

#include "base/check.h"
#include "kernels/input_form.h"
#include "kernels/ops.h"
#include "kernels/table.h"

namespace kinglet {
namespace {

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
  // One of the int8 forms, as one instruction set makes it.
  struct Form {
    AlignedBuffer buffer;
    const KernelTable* made_by = nullptr;  // null: not made since set()
  };
  std::array<Form, kInputForms> forms;

  static QuantisedRows quantised(const Compute& compute, InputForm form, const Activations& x);
};

QuantisedRows Activations::Buffers::quantised(const Compute& compute, InputForm form, const Activations& x) {
  Form& made = x.buffers_->forms[static_cast<size_t>(form)];
  const int64_t entries = group_count(x.columns_) * x.tokens_;
  if (made.made_by != compute.kernels) {
    const size_t bytes = static_cast<size_t>(entries + kQuantisedSlack) * kGroupBytes;
    if (made.buffer.size() < bytes) {
      auto grown = AlignedBuffer::allocate(bytes);
      KL_CHECK(grown.ok(), "no memory for the activations of a batch");
      made.buffer = std::move(grown).value();
    }
    // Small inputs are not worth waking the pool.
    compute.pool->parallel_for(entries, 64, [&](int64_t first, int64_t last) {
      quantise_entries(compute.kernels->linear, form, {x.x_, x.tokens_, x.ld_}, x.columns_, first, last,
                       made.buffer.data());
    });
    made.made_by = compute.kernels;
  }
  return {made.buffer.data(), x.tokens_};
}

Activations::Activations() : buffers_(std::make_unique<Buffers>()) {}
Activations::~Activations() = default;

void Activations::set(const float* x, int64_t tokens, int64_t columns, int64_t ld) {
  KL_CHECK(tokens >= 0 && columns > 0 && ld >= columns, "activations of an impossible shape");
  x_ = x;
  tokens_ = tokens;
  columns_ = columns;
  ld_ = ld;
  for (Buffers::Form& form : buffers_->forms) form.made_by = nullptr;
}

// The inputs of a matrix whose packed columns stand in another order, brought into it.
struct Activations::Reordered {
  AlignedBuffer buffer;
  Activations x;

  Activations& take(const Compute& compute, std::span<const int32_t> order, const Activations& from) {
    const size_t bytes = static_cast<size_t>(from.tokens_ * from.columns_) * sizeof(float);
    if (buffer.size() < bytes) {
      auto grown = AlignedBuffer::allocate(bytes);
      KL_CHECK(grown.ok(), "no memory for the activations of a batch");
      buffer = std::move(grown).value();
    }
    auto* to = buffer.as<float>();
    compute.pool->parallel_for(from.tokens_, 8, [&](int64_t first, int64_t last) {
      for (int64_t t = first; t < last; ++t)
        for (size_t i = 0; i < order.size(); ++i)
          to[t * from.columns_ + static_cast<int64_t>(i)] = from.x_[t * from.ld_ + order[i]];
    });
    x.set(to, from.tokens_, from.columns_, from.columns_);
    return x;
  }
};

void linear(const Compute& compute, ComputeMode mode, const PackedMatrix& w, Activations& input, float* y,
            int64_t ldy) {
  KL_CHECK(w.columns() == input.columns(), "a product of shapes that do not match");
  KL_CHECK(ldy >= w.rows(), "rows of outputs overlap");
  if (input.tokens() == 0 || w.rows() == 0) return;
  static thread_local Activations::Reordered reordered;  // of the calling thread, so that other engines do not meet
  Activations& x = w.column_order().empty() ? input : reordered.take(compute, w.column_order(), input);
  const LinearKernels& kernels = compute.kernels->linear;
  const MatrixRef matrix = matrix_ref(w);
  const int64_t blocks = row_block_count(w);
  const int64_t at_once = kernels.row_blocks_at_once;
  const int64_t chunk = chunk_of(matrix, x.tokens(), blocks, at_once, compute.pool->size());
  const auto split = [&](const auto& product) {
    compute.pool->parallel_for((blocks + at_once - 1) / at_once, chunk, [&](int64_t first, int64_t last) {
      product(first * at_once, std::min(last * at_once, blocks));
    });
  };
  const InputForm form = input_form(mode, w.dtype());
  if (form == InputForm::kFloat) {
    const FloatRows rows = {x.x_, x.tokens_, x.ld_};
    split([&](int64_t first, int64_t last) { kernels.f32(matrix, rows, y, ldy, first, last); });
    return;
  }
  const QuantisedRows rows = Activations::Buffers::quantised(compute, form, x);
  split([&](int64_t first, int64_t last) { kernels.int8(matrix, rows, y, ldy, first, last); });
}

}  // namespace kinglet
