// The operations that the forward pass is written in. Each has one meaning (the plain definition in ref/), which every
// instruction set's version equals bit for bit, whatever the number of tokens, their neighbours and the number of
// threads.
//
// Shapes: matrices of activations are [tokens][columns], row-major, `ld` floats from one row to the next. All pointers
// are to float unless said otherwise; outputs may not overlap inputs unless said otherwise. Nothing here fails: shapes
// are the caller's promise (KL_CHECK).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/memory.h"
#include "base/tensor_view.h"
#include "base/threads.h"
#include "kernels/isa.h"

namespace kinglet {

class PackingArena;  // kernels/packing_arena.h
struct KernelTable;  // one instruction set's functions (kernels/table.h)
const KernelTable& kernel_table(IsaLevel level);

// Where an operation runs: one instruction set's kernels on one pool. Cheap to copy.
struct Compute {
  const KernelTable* kernels = nullptr;
  ThreadPool* pool = nullptr;
};

// ---- weights

// Decodes `values` elements of a stored type to floats (formats/decode.h's decode_row): for types without a packed
// form.
using RowDecoder = void (*)(DType type, const std::byte* blocks, int64_t values, float* out);

// A weight matrix [rows = outputs][columns = inputs] re-laid for the kernels: 16 rows interleaved, one 32-bit lane a
// row, about the size it has in the file. Types without a packed form are widened to F32 (`widened()`). Copies, and
// matrices packed together, share the memory.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  DType dtype() const { return dtype_; }     // of the packed form
  bool widened() const { return widened_; }  // true when the file's type had no packed form
  uint64_t bytes() const { return bytes_; }
  // What every output is multiplied with after all else: the scale of a whole tensor (NVFP4).
  float multiplier() const { return multiplier_; }
  void set_multiplier(float multiplier) { multiplier_ = multiplier; }
  // Packed column i is column column_order[i] of the matrix (GPTQ's act-order); empty: as they stand.
  std::span<const int32_t> column_order() const { return column_order_; }
  const std::byte* data() const { return storage_ == nullptr ? nullptr : storage_->data() + offset_; }

 private:
  friend Result<std::vector<PackedMatrix>> pack_matrices(const Compute&, std::span<const TensorView>, RowDecoder,
                                                         std::span<const int32_t>, PackingArena*);
  DType dtype_ = DType::kF32;
  int64_t rows_ = 0, columns_ = 0;
  bool widened_ = false;
  float multiplier_ = 1.0f;
  std::vector<int32_t> column_order_;
  std::shared_ptr<const AlignedBuffer> storage_;
  uint64_t offset_ = 0, bytes_ = 0;
};

// Packs a 2-d tensor (leading dimensions are folded into rows). `row_order`, if not empty, gives for each packed row
// the tensor row it comes from (a selection or permutation). kResource when memory runs out.
Result<PackedMatrix> pack_matrix(const Compute& compute, const TensorView& tensor, RowDecoder decode,
                                 std::span<const int32_t> row_order = {});

// The same for many matrices (a layer's experts, heads), one behind the other, in memory of the arena or else in one
// allocation of their own. `row_order` applies to each.
Result<std::vector<PackedMatrix>> pack_matrices(const Compute& compute, std::span<const TensorView> tensors,
                                                RowDecoder decode, std::span<const int32_t> row_order = {},
                                                PackingArena* arena = nullptr);

// Rows [first, first + rows) of a tensor, leading dimensions folded, as a tensor of two dimensions: an expert of a
// stack. Nothing is copied. kInvalid where the tensor has no such rows, or other data than its shape says.
Result<TensorView> slice_rows(const TensorView& tensor, int64_t first, int64_t rows);

// Bytes that pack_matrix will allocate for a tensor, and for a matrix of this type and shape.
uint64_t packed_matrix_bytes(const TensorView& tensor);
uint64_t packed_matrix_bytes(DType type, int64_t rows, int64_t columns);

// ---- activations and products

enum class ComputeMode {
  kInt8,  // quantised weights meet int8 activations: exact integers inside a block, then a fixed sequence of float FMAs
  kF32,   // weights widened in registers, float activations
};

// The input of one or more products: floats, and the int8 forms derived from them on demand. Buffers are reused.
class Activations {
 public:
  Activations();
  ~Activations();
  Activations(const Activations&) = delete;
  Activations& operator=(const Activations&) = delete;

  // Refers to x (not copied; must stay unchanged until the next set()).
  void set(const float* x, int64_t tokens, int64_t columns, int64_t ld);
  int64_t tokens() const { return tokens_; }
  int64_t columns() const { return columns_; }

 private:
  friend void linear(const Compute&, ComputeMode, const PackedMatrix&, Activations&, float*, int64_t);
  struct Buffers;
  struct Reordered;
  std::unique_ptr<Buffers> buffers_;
  const float* x_ = nullptr;
  int64_t tokens_ = 0, columns_ = 0, ld_ = 0;
};

// y[t][r] = sum over k of w[r][k] * x[t][k], t < x.tokens(), r < w.rows(). Float-typed weights (F32, F16, BF16) and
// those without an integer meaning (FP8, NF4) use float activations in either mode. docs/NUMERICS.md fixes the
// arithmetic a format.
void linear(const Compute& compute, ComputeMode mode, const PackedMatrix& w, Activations& x, float* y, int64_t ldy);

// ---- rows

// y[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i], for each of `rows` rows of `n`. y may be x; weight may be null, for
// ones. (Zhang & Sennrich 2019)
void rms_norm(const Compute& compute, const float* x, int64_t ldx, const float* weight, float eps, int64_t rows,
              int64_t n, float* y, int64_t ldy);

// y[i] = (x[i] - mean(x)) / sqrt(variance(x) + eps) * weight[i] + bias[i], likewise; bias may be null, too. (Ba et al.
// 2016)
void layer_norm(const Compute& compute, const float* x, int64_t ldx, const float* weight, const float* bias, float eps,
                int64_t rows, int64_t n, float* y, int64_t ldy);

// x[t][i] += bias[i].
void add_bias(const Compute& compute, float* x, int64_t ld, const float* bias, int64_t tokens, int64_t n);
// x[t][i] += y[t][i].
void add(const Compute& compute, float* x, int64_t ldx, const float* y, int64_t ldy, int64_t tokens, int64_t n);
// x[t][i] = alpha * x[t][i] + beta * y[t][i], every operation rounded.
void residual_mix(const Compute& compute, float alpha, float* x, int64_t ldx, float beta, const float* y, int64_t ldy,
                  int64_t tokens, int64_t n);
// x[t][i] *= factor.
void scale(const Compute& compute, float* x, int64_t ld, float factor, int64_t tokens, int64_t n);
// x[t][i] = cap * tanh(x[t][i] / cap).
void soft_cap(const Compute& compute, float* x, int64_t ld, float cap, int64_t tokens, int64_t n);

enum class Activation {
  kSilu,
  kGeluTanh,
  kGeluErf,
  kRelu,
  kReluSquared,
  kSigmoid,
  // Of two values, g = min(gate, limit) and u = up held within [-limit, limit]:
  kClampedSilu,    // silu(g) * u (DeepSeek-V4)
  kClampedSwiglu,  // g * sigmoid(alpha * g) * (u + 1) (gpt-oss)
};
struct ActivationParams {  // of the clamped ones
  float limit = 7.0f, alpha = 1.702f;
};
// gate[t][i] = act(gate[t][i]) * up[t][i].
void gated_activation(const Compute& compute, Activation act, float* gate, int64_t ldg, const float* up, int64_t ldu,
                      int64_t tokens, int64_t n, const ActivationParams& params = {});
// x[t][i] = act(x[t][i]); not for the activations of two values.
void activate(const Compute& compute, Activation act, float* x, int64_t ld, int64_t tokens, int64_t n);

// ---- rotary embeddings

// cos and sin of every position's angles, computed once at load with our own functions: [positions][rotated / 2] each.
struct RopeTable {
  int64_t rotated = 0;  // rotated dimensions of a head, even
  int64_t positions = 0;
  AlignedBuffer buffer;  // cos plane, then sin plane
  const float* cos_row(int64_t position) const { return buffer.as<float>() + position * (rotated / 2); }
  const float* sin_row(int64_t position) const { return buffer.as<float>() + (positions + position) * (rotated / 2); }
};
// angle(position, p) = position * inverse_frequency[p]; cos and sin are multiplied by `magnitude` (1 but for YaRN-like
// scalings). Angles are reduced in double.
Result<RopeTable> make_rope_table(const Compute& compute, std::span<const double> inverse_frequency, float magnitude,
                                  int64_t positions);

// Rotates pairs (x[p], x[p + rotated/2]) of each head of each token in place: x is [tokens][heads][head_dim], ld floats
// from token to token; the dimensions past `rotated` pass through.
void rope_half_split(const Compute& compute, const RopeTable& table, const int32_t* positions, float* x, int64_t ld,
                     int64_t tokens, int64_t heads, int64_t head_dim);

// ---- attention over a paged cache

enum class KvType { kF32, kF16, kQ8_0 };

// How one layer's keys and values lie in a page of `page_positions` positions (a multiple of 16). A page holds, for
// each kv head, its K area then its V area; kernels/kv_layout.h has the arithmetic and the picture.
struct KvLayout {
  KvType type = KvType::kF16;
  int64_t kv_heads = 0, head_dim = 0, value_dim = 0, page_positions = 0;
  // Latent attention: a value is the first value_dim (<= head_dim) dimensions of its key as stored; pages hold K alone.
  bool values_in_keys = false;
  uint64_t k_bytes_per_head() const;  // of a page
  uint64_t v_bytes_per_head() const;
  uint64_t page_bytes() const { return static_cast<uint64_t>(kv_heads) * (k_bytes_per_head() + v_bytes_per_head()); }
};

// One sequence's share of a batch: tokens [first_token, first_token + tokens) of the batch stand at consecutive
// positions from first_position; pages[i] is this layer's part of the page with positions [i, i+1) * page_positions.
struct SequenceSlice {
  int64_t first_token = 0, tokens = 0, first_position = 0;
  std::byte* const* pages = nullptr;
};

// Stores k [tokens][kv_heads][head_dim] and v [tokens][kv_heads][value_dim] (ld floats a token) into the pages. Values
// are saturated to the finite range of the type. Pages must have been zeroed when they were handed out. v is not read
// where pages hold K alone.
void kv_store(const Compute& compute, const KvLayout& layout, std::span<const SequenceSlice> slices, const float* k,
              int64_t ldk, const float* v, int64_t ldv);

struct AttentionParams {
  int64_t heads = 0;      // query heads; head h reads kv head h * kv_heads / heads
  float scale = 1.0f;     // on q·k
  float soft_cap = 0.0f;  // 0: none; else cap * tanh(score / cap)
  int64_t window = 0;     // 0: none; else a token sees itself and the window - 1 positions before it
  // [heads] or null: one more logit a head, after the cap. It takes part in the softmax but has no value.
  const float* sinks = nullptr;
  // False (encoders of text): a token sees all positions up to the end of its slice, which must be the whole text; a
  // window then reaches as far to the right as to the left.
  bool causal = true;
  // Null, or what may be seen besides all this: bit p % 64 of selected[t * selected_stride + kv_head *
  // selected_head_stride + p / 64] says whether token t of the batch sees position p. A row has a bit for every
  // position up to its slice's end; a stride of 0 between kv heads: they share a row. A token that sees nothing gets
  // zeros.
  const uint64_t* selected = nullptr;
  int64_t selected_stride = 0, selected_head_stride = 0;
};
// out[t][h] = softmax over the visible positions of (q·k) applied to v; q is [tokens][heads][head_dim], out
// [tokens][heads][value_dim]. Keys and values are read as the cache stores them, this step's too (kv_store
// first). Positions are walked in tiles of 256 at absolute positions; tiles are merged in order.
void attention(const Compute& compute, const KvLayout& layout, const AttentionParams& params,
               std::span<const SequenceSlice> slices, const float* q, int64_t ldq, float* out, int64_t ldo);

struct IndexParams {
  int64_t heads = 0;
  int64_t top_k = 0;
  int64_t block = 0, local_blocks = 0;  // of index_select_blocks
};
// The lightning indexer of DeepSeek V3.2: what `selected` of AttentionParams takes. score(t, s) = sum over h of
// weights[t][h] * relu(q[t][h]·k[s]); scales belong into the weights. Token t selects, among the positions up to its
// own, the top_k of the highest scores (of equal ones the lower positions; all if there are fewer). q is
// [tokens][heads][head_dim], weights [tokens][heads], selected [tokens][selected_stride], overwritten as a whole. The
// layout has one kv head and value_dim 0; keys are read as the cache stores them (kv_store first).
void index_select(const Compute& compute, const KvLayout& layout, const IndexParams& params,
                  std::span<const SequenceSlice> slices, const float* q, int64_t ldq, const float* weights, int64_t ldw,
                  uint64_t* selected, int64_t selected_stride);
// MiniMax-M3's: each head h chooses by itself, and whole blocks of `block` positions. A block scores as its best
// position up to the token's own does, q[t][h]·k[s]; the `local_blocks` that end with the token's are better than all
// others. Token t selects the positions up to its own in the top_k best blocks (of equal ones the earlier). A token has
// `heads` rows of selected_stride words.
void index_select_blocks(const Compute& compute, const KvLayout& layout, const IndexParams& params,
                         std::span<const SequenceSlice> slices, const float* q, int64_t ldq, uint64_t* selected,
                         int64_t selected_stride);

// ---- logits

// max and log(sum(exp(x - max))) + max of a row, in the fixed order of 16 lanes.
float log_sum_exp(const Compute& compute, const float* x, int64_t n);
// p[i] = exp((x[i] - max) ) for a row; returns their sum. p may be x. For sampling.
float exp_minus_max(const Compute& compute, const float* x, int64_t n, float* p);

}  // namespace kinglet
