// Kernels on fixed random data, ready to run: what the micro-benchmarks time and the instruction counts count. Not a
// test: nothing looks at the results.
#pragma once

#include <functional>
#include <string>

#include "kernels/ops.h"

namespace kinglet::bench {

struct KernelCase {
  std::string name;           // "linear/Q4_K/int8/tokens:16"
  double bytes = 0.0;         // of weights or of the cache that a run reads
  double operations = 0.0;    // multiplies and adds of a run, 0 where they are not the point
  std::function<void()> run;  // owns its data
};

// A matrix [rows][columns] of a type times `tokens` activations, quantising them included. Runs go round among as many
// copies of the matrix as fill `copies_bytes` (1 at least), so that it comes out of memory where that is more than the
// caches.
struct LinearShape {
  DType type = DType::kQ4_K;
  ComputeMode mode = ComputeMode::kInt8;
  int64_t rows = 2048, columns = 2048, tokens = 1;
  uint64_t copies_bytes = 0;
};
Result<KernelCase> linear_case(const Compute& compute, const LinearShape& shape);

// `tokens` new positions behind `depth` cached ones; 8 query heads of 128 on 2 key heads.
Result<KernelCase> attention_case(const Compute& compute, KvType type, int64_t depth, int64_t tokens);

// Activations of one token to int8, without a product: by groups of 256 columns (K-quants) or of 32.
KernelCase quantise_case(const Compute& compute, int group, int64_t columns);

// Rows of 2,048: "rms_norm", "layer_norm", "add", "silu", "rope", "log_sum_exp". KL_CHECKs the name.
KernelCase row_case(const Compute& compute, const std::string& name, int64_t rows);

}  // namespace kinglet::bench
