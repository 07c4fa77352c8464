// Micro-benchmarks by Google Benchmark: kernel x format x rows.
//
// usage: kernels_bench [--isa=avx2] [--threads=2] [--benchmark_filter='linear/Q4_K/.*'] [any other --benchmark_ flag]
//
// Weights for one token come out of memory (256 MB of copies in turn), those for many out of whatever cache holds one
// matrix. Columns: bytes/s of weights or cache, operations/s (multiplies and adds). A machine that others use gives the
// lower bound only: --benchmark_repetitions=9 and the minimum of times.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "bench/kernel_cases.h"
#include "kernels/table.h"

namespace kinglet::bench {
namespace {

constexpr uint64_t kBeyondCaches = uint64_t{256} << 20;

constexpr DType kTypes[] = {
    DType::kF32,     DType::kF16,      DType::kBF16,    DType::kQ4_0,    DType::kQ4_1,     DType::kQ5_0,
    DType::kQ5_1,    DType::kQ8_0,     DType::kQ2_K,    DType::kQ3_K,    DType::kQ4_K,     DType::kQ5_K,
    DType::kQ6_K,    DType::kIQ1_S,    DType::kIQ1_M,   DType::kIQ2_XXS, DType::kIQ2_XS,   DType::kIQ2_S,
    DType::kIQ3_XXS, DType::kIQ3_S,    DType::kIQ4_NL,  DType::kIQ4_XS,  DType::kTQ1_0,    DType::kTQ2_0,
    DType::kMXFP4,   DType::kNVFP4,    DType::kInt4G32, DType::kInt4G64, DType::kInt4G128, DType::kInt8G32,
    DType::kInt8G64, DType::kInt8G128, DType::kFp8G128, DType::kNf4G64,
};

void run_case(benchmark::State& state, const std::function<Result<KernelCase>()>& make) {
  const auto made = make();
  if (!made.ok()) {
    state.SkipWithError(made.error().message.c_str());
    return;
  }
  made->run();  // buffers are there, pages touched
  for (auto _ : state) made->run();
  using benchmark::Counter;
  state.counters["bytes/s"] = Counter(made->bytes, Counter::kIsIterationInvariantRate, Counter::kIs1000);
  if (made->operations > 0.0)
    state.counters["op/s"] = Counter(made->operations, Counter::kIsIterationInvariantRate, Counter::kIs1000);
}

void add_case(const std::string& name, const std::function<Result<KernelCase>()>& make) {
  benchmark::RegisterBenchmark(name.c_str(), [make](benchmark::State& state) { run_case(state, make); })->UseRealTime();
}

void add_all(const Compute& compute) {
  for (DType type : kTypes)
    for (ComputeMode mode : {ComputeMode::kInt8, ComputeMode::kF32})
      for (int64_t tokens : {1, 2, 4, 8, 16, 128}) {
        const LinearShape shape = {
            .type = type, .mode = mode, .tokens = tokens, .copies_bytes = tokens == 1 ? kBeyondCaches : 0};
        add_case("linear/" + std::string(dtype_info(type).name) + (mode == ComputeMode::kInt8 ? "/int8" : "/f32") +
                     "/tokens:" + std::to_string(tokens),
                 [=] { return linear_case(compute, shape); });
      }
  const char* kv_names[] = {"f32", "f16", "q8_0"};
  for (KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0})
    for (int64_t depth : {512, 4096, 16384})
      for (int64_t tokens : {1, 128})
        add_case("attention/" + std::string(kv_names[static_cast<int>(type)]) + "/depth:" + std::to_string(depth) +
                     "/tokens:" + std::to_string(tokens),
                 [=] { return attention_case(compute, type, depth, tokens); });
  for (int group : {256, 32}) {
    add_case("quantise/" + std::to_string(group), [=] { return quantise_case(compute, group, 8192); });
  }
  for (const char* name : {"rms_norm", "layer_norm", "add", "silu", "rope", "log_sum_exp"}) {
    add_case(std::string("rows/") + name, [=] { return row_case(compute, name, 16); });
  }
}

// Takes NAME=VALUE out of the arguments.
std::string take(int& argc, char** argv, const char* name) {
  std::string value;
  const size_t length = std::strlen(name);
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], name, length) == 0 && argv[i][length] == '=') {
      value = argv[i] + length + 1;
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  return value;
}

}  // namespace
}  // namespace kinglet::bench

int main(int argc, char** argv) {
  using namespace kinglet;
  const auto level = choose_isa_level(bench::take(argc, argv, "--isa"));
  if (!level.ok()) {
    std::fprintf(stderr, "%s\n", level.error().message.c_str());
    return 1;
  }
  ThreadPool pool(std::atoi(bench::take(argc, argv, "--threads").c_str()));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext("instruction set", std::string(isa_name(*level)));
  benchmark::AddCustomContext("threads", std::to_string(pool.size()));
  bench::add_all({&kernel_table(*level), &pool});
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
