// Speed of linear(): bytes of weights a second for one token, integer operations a second for many. Best of many short
// runs, so that a busy machine matters little. Usage: linear_bench [threads] [level] [type]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "kernels/table.h"

namespace kinglet {
namespace {

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Random blocks whose scales are harmless numbers.
std::vector<uint8_t> random_weights(DType type, int64_t rows, int64_t columns) {
  std::vector<uint8_t> bytes(static_cast<size_t>(rows) * row_bytes(type, static_cast<uint64_t>(columns)));
  std::mt19937 rng(1);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(rng() & 0x2f);
  return bytes;
}

// Seconds a product, the best of runs during half a second. `copies` of the matrix are used in turn.
double measure(const Compute& compute, ComputeMode mode, const std::vector<PackedMatrix>& copies, int64_t tokens) {
  const int64_t columns = copies[0].columns(), rows = copies[0].rows();
  std::vector<float> x(static_cast<size_t>(tokens * columns), 0.5f), y(static_cast<size_t>(tokens * rows));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 17) - 8.0f;
  Activations a;
  a.set(x.data(), tokens, columns, columns);
  double best = 1e9;
  size_t next = 0;
  for (const double end = seconds() + 0.5; seconds() < end;) {
    const double start = seconds();
    linear(compute, mode, copies[next++ % copies.size()], a, y.data(), rows);
    best = std::min(best, seconds() - start);
  }
  return best;
}

void bench(const Compute& compute, DType type) {
  const int64_t rows = 2048, columns = 2048;
  const std::vector<uint8_t> bytes = random_weights(type, rows, columns);
  const TensorView view = {"w", type, {rows, columns}, std::as_bytes(std::span(bytes))};
  // Enough copies that none stays in a cache.
  std::vector<PackedMatrix> copies;
  for (size_t total = 0; total < size_t{256} << 20; total += bytes.size()) {
    auto packed = pack_matrix(compute, view, nullptr);
    if (!packed.ok()) return;
    copies.push_back(std::move(packed).value());
  }
  std::printf("%-10s %-9s", std::string(isa_name(compute.kernels->level)).c_str(),
              std::string(dtype_info(type).name).c_str());
  const std::vector<PackedMatrix> one(std::make_move_iterator(copies.end() - 1), std::make_move_iterator(copies.end()));
  copies.pop_back();
  const double macs = static_cast<double>(rows * columns);
  for (ComputeMode mode : {ComputeMode::kInt8, ComputeMode::kF32}) {
    std::printf(mode == ComputeMode::kInt8 ? "  int8" : "  f32");
    std::printf(" M=1 %6.1f GB/s", static_cast<double>(bytes.size()) / measure(compute, mode, copies, 1) * 1e-9);
    for (int64_t tokens : {4, 8, 128}) {
      std::printf("  M=%d %6.1f", static_cast<int>(tokens),
                  2.0 * macs * static_cast<double>(tokens) / measure(compute, mode, one, tokens) * 1e-9);
    }
    std::printf(" GOP/s");
  }
  std::printf("\n");
}

}  // namespace
}  // namespace kinglet

int main(int argc, char** argv) {
  using namespace kinglet;
  ThreadPool pool(argc > 1 ? std::atoi(argv[1]) : 0);
  const auto level = choose_isa_level(argc > 2 ? argv[2] : "");
  if (!level.ok()) {
    std::fprintf(stderr, "%s\n", level.error().message.c_str());
    return 1;
  }
  const Compute compute = {&kernel_table(*level), &pool};
  for (DType type : {DType::kQ4_1, DType::kQ5_0, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K, DType::kQ4_0, DType::kQ5_K,
                     DType::kF16, DType::kBF16, DType::kIQ4_NL, DType::kIQ4_XS, DType::kMXFP4, DType::kNVFP4,
                     DType::kInt4G32, DType::kInt4G128, DType::kInt8G128, DType::kFp8G128, DType::kNf4G64}) {
    if (argc <= 3 || dtype_info(type).name == std::string_view(argv[3])) bench(compute, type);
  }
}
