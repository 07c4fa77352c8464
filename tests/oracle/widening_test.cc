// What the packed kernels take a stored weight to be: in f32 mode a product with a unit vector gives back each weight,
// and it must be the value that formats/decode.h decodes (which equals gguf-py's), for every type and instruction set.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "formats/decode.h"
#include "kernels/ops.h"

namespace kinglet::test {
namespace {

constexpr DType kPackedTypes[] = {DType::kF32,     DType::kF16,     DType::kBF16,     DType::kQ4_0,    DType::kQ4_1,
                                  DType::kQ5_0,    DType::kQ5_1,    DType::kQ8_0,     DType::kQ4_K,    DType::kQ5_K,
                                  DType::kQ6_K,    DType::kQ2_K,    DType::kQ3_K,     DType::kIQ1_S,   DType::kIQ1_M,
                                  DType::kIQ2_XXS, DType::kIQ2_XS,  DType::kIQ2_S,    DType::kIQ3_XXS, DType::kIQ3_S,
                                  DType::kTQ1_0,   DType::kTQ2_0,   DType::kIQ4_NL,   DType::kIQ4_XS,  DType::kMXFP4,
                                  DType::kNVFP4,   DType::kFp8G128, DType::kInt4G32,  DType::kInt4G64, DType::kInt4G128,
                                  DType::kInt8G32, DType::kInt8G64, DType::kInt8G128, DType::kNf4G64};
constexpr int64_t kRows = 21, kColumns = 512;

// Random bytes; blocks that hold an infinity or a NaN become zeros, since 0 * infinity would show in a whole row.
std::vector<std::byte> random_blocks(DType type, uint64_t seed) {
  std::mt19937_64 draw(seed);
  const DTypeInfo& info = dtype_info(type);
  std::vector<std::byte> blocks(static_cast<size_t>(kRows) * row_bytes(type, kColumns));
  std::vector<float> values(info.block_values);
  for (size_t at = 0; at < blocks.size(); at += info.block_bytes) {
    for (size_t i = at; i < at + info.block_bytes; i++) blocks[i] = static_cast<std::byte>(draw());
    decode_row(type, blocks.data() + at, info.block_values, values.data());
    if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }))
      std::fill_n(blocks.begin() + static_cast<std::ptrdiff_t>(at), info.block_bytes, std::byte{0});
  }
  return blocks;
}

TEST(Widening, PackedWeightsAreTheDecodedOnes) {
  ThreadPool pool(2);
  for (const IsaLevel level : available_isa_levels()) {
    const Compute compute = {&kernel_table(level), &pool};
    for (const DType type : kPackedTypes) {
      SCOPED_TRACE(std::string(isa_name(level)) + " " + std::string(dtype_info(type).name));
      const std::vector<std::byte> blocks = random_blocks(type, 11);
      const TensorView tensor = {"w", type, {kRows, kColumns}, blocks};
      std::vector<float> expected(static_cast<size_t>(kRows * kColumns));
      decode_tensor(tensor, expected);
      const auto packed = pack_matrix(compute, tensor, decode_row);
      ASSERT_TRUE(packed.ok());
      std::vector<float> units(static_cast<size_t>(kColumns * kColumns)), y(static_cast<size_t>(kColumns * kRows));
      for (int64_t k = 0; k < kColumns; k++) units[static_cast<size_t>(k * kColumns + k)] = 1.0f;
      Activations x;
      x.set(units.data(), kColumns, kColumns, kColumns);
      linear(compute, ComputeMode::kF32, *packed, x, y.data(), kRows);
      for (int64_t r = 0; r < kRows; r++)
        for (int64_t k = 0; k < kColumns; k++) {
          const float found = y[static_cast<size_t>(k * kRows + r)],
                      wanted = expected[static_cast<size_t>(r * kColumns + k)];
          ASSERT_EQ(found, wanted) << "row " << r << ", column " << k;
        }
    }
  }
}

}  // namespace
}  // namespace kinglet::test
