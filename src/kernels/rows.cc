// Rows on the pool: the ops-level forms of what one row kernel does. Rows are independent, so the split can't show.
#include <algorithm>

#include "base/check.h"
#include "kernels/math.h"
#include "kernels/ops.h"
#include "kernels/table.h"

namespace kinglet {
namespace {

// Elements worth waking another worker for.
constexpr int64_t kGrainElements = 16384;

template <class Body>
void for_rows(const Compute& compute, int64_t rows, int64_t n, const Body& body) {
  if (rows <= 0 || n <= 0) return;
  const int64_t grain = std::max<int64_t>(1, kGrainElements / n);
  compute.pool->parallel_for(rows, grain, [&body](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) body(row);
  });
}

}  // namespace

void rms_norm(const Compute& compute, const float* x, int64_t ldx, const float* weight, float eps, int64_t rows,
              int64_t n, float* y, int64_t ldy) {
  const RowKernels& kernels = compute.kernels->rows;
  for_rows(compute, rows, n, [&](int64_t r) { kernels.rms_norm(x + r * ldx, weight, eps, n, y + r * ldy); });
}

void layer_norm(const Compute& compute, const float* x, int64_t ldx, const float* weight, const float* bias, float eps,
                int64_t rows, int64_t n, float* y, int64_t ldy) {
  const RowKernels& kernels = compute.kernels->rows;
  for_rows(compute, rows, n, [&](int64_t r) { kernels.layer_norm(x + r * ldx, weight, bias, eps, n, y + r * ldy); });
}

void add_bias(const Compute& compute, float* x, int64_t ld, const float* bias, int64_t tokens, int64_t n) {
  const RowKernels& kernels = compute.kernels->rows;
  for_rows(compute, tokens, n, [&](int64_t t) { kernels.add(x + t * ld, bias, n); });
}

void add(const Compute& compute, float* x, int64_t ldx, const float* y, int64_t ldy, int64_t tokens, int64_t n) {
  const RowKernels& kernels = compute.kernels->rows;
  for_rows(compute, tokens, n, [&](int64_t t) { kernels.add(x + t * ldx, y + t * ldy, n); });
}

void residual_mix(const Compute& compute, float alpha, float* x, int64_t ldx, float beta, const float* y, int64_t ldy,
                  int64_t tokens, int64_t n) {
  const RowKernels& kernels = compute.kernels->rows;
  for_rows(compute, tokens, n, [&](int64_t t) { kernels.mix(alpha, x + t * ldx, beta, y + t * ldy, n); });
}

void scale(const Compute& compute, float* x, int64_t ld, float factor, int64_t tokens, int64_t n) {
  const RowKernels& kernels = compute.kernels->rows;
  for_rows(compute, tokens, n, [&](int64_t t) { kernels.scale(x + t * ld, factor, n); });
}

void soft_cap(const Compute& compute, float* x, int64_t ld, float cap, int64_t tokens, int64_t n) {
  const RowKernels& kernels = compute.kernels->rows;
  for_rows(compute, tokens, n, [&](int64_t t) { kernels.soft_cap(x + t * ld, cap, n); });
}

void gated_activation(const Compute& compute, Activation act, float* gate, int64_t ldg, const float* up, int64_t ldu,
                      int64_t tokens, int64_t n, const ActivationParams& params) {
  const RowKernels& kernels = compute.kernels->rows;
  for_rows(compute, tokens, n,
           [&](int64_t t) { kernels.gated_activation(act, params, gate + t * ldg, up + t * ldu, n); });
}

void activate(const Compute& compute, Activation act, float* x, int64_t ld, int64_t tokens, int64_t n) {
  KL_CHECK(act != Activation::kClampedSilu && act != Activation::kClampedSwiglu, "an activation of two values");
  const RowKernels& kernels = compute.kernels->rows;
  for_rows(compute, tokens, n, [&](int64_t t) { kernels.activate(act, x + t * ld, n); });
}

float log_sum_exp(const Compute& compute, const float* x, int64_t n) {
  KL_CHECK(n > 0, "log_sum_exp of nothing");
  const RowKernels& kernels = compute.kernels->rows;
  const float max = kernels.row_max(x, n);
  return log_f32(kernels.exp_sum(x, max, n, nullptr)) + max;
}

float exp_minus_max(const Compute& compute, const float* x, int64_t n, float* p) {
  KL_CHECK(n > 0, "exp_minus_max of nothing");
  const RowKernels& kernels = compute.kernels->rows;
  return kernels.exp_sum(x, kernels.row_max(x, n), n, p);
}

}  // namespace kinglet
