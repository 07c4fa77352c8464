// Runs each of a few kernels once under callgrind, on one thread and fixed data, and has the instructions of each
// dumped under its name. bench/instructions.py starts it and reads the counts. Outside of valgrind it only runs them.
//
// usage: valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file=FILE instruction_cases LEVEL
#include <valgrind/callgrind.h>

#include <cstdio>
#include <string>
#include <vector>

#include "bench/kernel_cases.h"
#include "kernels/table.h"

namespace kinglet::bench {
namespace {

Status count(const Result<KernelCase>& made) {
  if (!made.ok()) return made.error();
  made->run();  // buffers grow in the first run
  CALLGRIND_START_INSTRUMENTATION;
  CALLGRIND_ZERO_STATS;
  made->run();
  CALLGRIND_DUMP_STATS_AT(made->name.c_str());
  CALLGRIND_STOP_INSTRUMENTATION;
  std::puts(made->name.c_str());
  return {};
}

Status count_all(const Compute& compute) {
  for (DType type : {DType::kQ4_0, DType::kQ8_0, DType::kQ2_K, DType::kQ3_K, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K,
                     DType::kIQ4_XS, DType::kMXFP4, DType::kF16, DType::kBF16})
    for (int64_t tokens : {1, 4, 16})
      KL_RETURN_IF_ERROR(count(linear_case(compute, {.type = type, .rows = 256, .columns = 1024, .tokens = tokens})));
  // Codebooks and ternary weights: taken apart anew for every panel.
  for (DType type : {DType::kIQ1_S, DType::kIQ1_M, DType::kIQ2_XXS, DType::kIQ2_XS, DType::kIQ2_S, DType::kIQ3_XXS,
                     DType::kIQ3_S, DType::kTQ1_0, DType::kTQ2_0})
    for (int64_t tokens : {1, 16})
      KL_RETURN_IF_ERROR(count(linear_case(compute, {.type = type, .rows = 256, .columns = 1024, .tokens = tokens})));
  for (DType type : {DType::kQ4_K, DType::kQ8_0})
    KL_RETURN_IF_ERROR(count(
        linear_case(compute, {.type = type, .mode = ComputeMode::kF32, .rows = 256, .columns = 1024, .tokens = 4})));
  for (KvType type : {KvType::kF16, KvType::kQ8_0})
    for (int64_t tokens : {1, 16}) KL_RETURN_IF_ERROR(count(attention_case(compute, type, 512, tokens)));
  for (int group : {256, 32}) KL_RETURN_IF_ERROR(count(quantise_case(compute, group, 8192)));
  for (const char* name : {"rms_norm", "layer_norm", "add", "silu", "rope", "log_sum_exp"})
    KL_RETURN_IF_ERROR(count(row_case(compute, name, 16)));
  return {};
}

}  // namespace
}  // namespace kinglet::bench

int main(int argc, char** argv) {
  using namespace kinglet;
  const auto level = choose_isa_level(argc > 1 ? argv[1] : "");
  if (!level.ok()) {
    std::fprintf(stderr, "%s\n", level.error().message.c_str());
    return 1;
  }
  ThreadPool pool(1);
  const Status done = bench::count_all({&kernel_table(*level), &pool});
  if (!done.ok()) std::fprintf(stderr, "%s\n", done.error().message.c_str());
  return done.ok() ? 0 : 1;
}
