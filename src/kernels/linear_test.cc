// Every instruction set that runs here against the plain definition, bit for bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/half.h"
#include "kernels/ops.h"
#include "kernels/ref/linear_ref.h"
#include "kernels/table.h"

namespace kinglet {
namespace {

constexpr DType kQuantised[] = {DType::kQ4_0,     DType::kQ4_1,    DType::kQ5_0,    DType::kQ5_1,    DType::kQ8_0,
                                DType::kQ2_K,     DType::kQ3_K,    DType::kQ4_K,    DType::kQ5_K,    DType::kQ6_K,
                                DType::kIQ1_S,    DType::kIQ1_M,   DType::kIQ2_XXS, DType::kIQ2_XS,  DType::kIQ2_S,
                                DType::kIQ3_XXS,  DType::kIQ3_S,   DType::kTQ1_0,   DType::kTQ2_0,   DType::kIQ4_NL,
                                DType::kIQ4_XS,   DType::kMXFP4,   DType::kNVFP4,   DType::kInt4G32, DType::kInt4G64,
                                DType::kInt4G128, DType::kInt8G32, DType::kInt8G64, DType::kInt8G128};
constexpr DType kFloats[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kFp8G128, DType::kNf4G64};

enum class Weights { kRandom, kAllOnes, kAllZeros, kExtremeScales };
enum class Inputs { kNormal, kFlat, kHeavyTail, kTiny, kHuge };

void put_half(uint8_t* at, float value) {
  const uint16_t half = float_to_half(value);
  at[0] = static_cast<uint8_t>(half);
  at[1] = static_cast<uint8_t>(half >> 8);
}

bool is_plain(DType type) {
  return dtype_info(type).block_values == 1;
}

void put_float(uint8_t* at, float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  for (int b = 0; b < 4; ++b) at[b] = static_cast<uint8_t>(bits >> (8 * b));
}

// A block's scale, of whichever width the type has.
void put_scale(DType type, uint8_t* at, float value) {
  if (has_padded_rows(type))
    put_float(at, value);
  else
    put_half(at, value);
}

// Where a block's 16- or 32-bit scales lie.
std::vector<size_t> scale_places(DType type) {
  if (is_plain(type) || type == DType::kNVFP4 || type == DType::kMXFP4 || type == DType::kIQ1_M) return {};
  if (has_padded_rows(type)) return {0};
  switch (type) {
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108};
    case DType::kQ6_K:
      return {208};
    case DType::kTQ1_0:
      return {52};
    case DType::kTQ2_0:
      return {64};
    case DType::kIQ1_S:
    case DType::kIQ2_XXS:
    case DType::kIQ2_XS:
    case DType::kIQ2_S:
    case DType::kIQ3_XXS:
    case DType::kIQ3_S:
    case DType::kQ4_0:
    case DType::kQ5_0:
    case DType::kQ8_0:
    case DType::kIQ4_NL:
    case DType::kIQ4_XS:
      return {0};
    default:
      return {0, 2};
  }
}

// A matrix as a file would hold it, and the tensor that names it.
struct Stored {
  std::vector<uint8_t> bytes;
  TensorView view;
};

// IQ1_M's scale lies in the top nibbles of four words.
void put_iq1_m_scale(uint8_t* block, float value) {
  const uint16_t half = float_to_half(value);
  for (int i = 0; i < 4; ++i) {
    uint8_t& byte = block[49 + 2 * i];
    byte = static_cast<uint8_t>((byte & 15) | (half >> 4 * i & 15) << 4);
  }
}

void fill_quantised(Stored& s, DType type, Weights kind, std::mt19937& rng) {
  for (uint8_t& b : s.bytes)
    b = kind == Weights::kAllOnes ? 0xff : kind == Weights::kAllZeros ? 0 : static_cast<uint8_t>(rng());
  const size_t block = dtype_info(type).block_bytes;
  for (size_t at = 0; at < s.bytes.size(); at += block) {
    for (size_t place : scale_places(type)) {
      float scale = std::uniform_real_distribution<float>(-0.1f, 0.1f)(rng);
      if (kind == Weights::kExtremeScales) {
        constexpr float kExtremes[] = {65504.0f, -65504.0f, 0x1p-24f, 0.0f, -0.0f, 0x1p-14f, 1.0f};
        scale = kExtremes[rng() % std::size(kExtremes)];
      }
      put_scale(type, &s.bytes[at + place], scale);
    }
    if (type == DType::kIQ1_M && kind == Weights::kRandom)
      put_iq1_m_scale(&s.bytes[at], std::uniform_real_distribution<float>(-0.1f, 0.1f)(rng));
    // Exponents that leave products finite, but for all of them where extremes are asked for.
    if (type == DType::kMXFP4 && kind != Weights::kExtremeScales) s.bytes[at] = static_cast<uint8_t>(120 + rng() % 8);
    if (type == DType::kFp8G128 && kind == Weights::kRandom) {
      for (size_t i = 4; i < block; ++i) s.bytes[at + i] &= 0xbf;  // no NaN
    }
  }
}

Stored make_weights(DType type, int64_t rows, int64_t columns, Weights kind, uint32_t seed) {
  std::mt19937 rng(seed);
  Stored s;
  s.bytes.resize(static_cast<size_t>(rows) * row_bytes(type, static_cast<uint64_t>(columns)));
  std::normal_distribution<float> normal(0.0f, 0.05f);
  switch (type) {
    case DType::kF32:
      for (size_t i = 0; i < s.bytes.size(); i += 4) {
        put_float(&s.bytes[i], normal(rng));
      }
      break;
    case DType::kF16:
      for (size_t i = 0; i < s.bytes.size(); i += 2) put_half(&s.bytes[i], normal(rng));
      break;
    case DType::kBF16:
      for (size_t i = 0; i < s.bytes.size(); i += 2) {
        const uint32_t bits = std::bit_cast<uint32_t>(normal(rng)) >> 16;
        s.bytes[i] = static_cast<uint8_t>(bits);
        s.bytes[i + 1] = static_cast<uint8_t>(bits >> 8);
      }
      break;
    default:
      fill_quantised(s, type, kind, rng);
  }
  s.view = {"w", type, {rows, columns}, std::as_bytes(std::span(s.bytes))};
  return s;
}

std::vector<float> make_inputs(int64_t tokens, int64_t columns, Inputs kind, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(tokens * columns));
  for (float& v : x) {
    const float n = normal(rng);
    switch (kind) {
      case Inputs::kNormal:
        v = n;
        break;
      case Inputs::kFlat:
        v = n < 0 ? -1.5f : 1.5f;
        break;
      case Inputs::kHeavyTail:
        v = n * n * n * n * n;
        break;
      case Inputs::kTiny:
        v = n * 1e-38f;
        break;
      case Inputs::kHuge:
        v = n * 1e36f;
        break;
    }
  }
  return x;
}

std::vector<uint32_t> bits_of(const std::vector<float>& v) {
  std::vector<uint32_t> bits;
  for (float x : v) bits.push_back(std::bit_cast<uint32_t>(x));
  return bits;
}

// Pools of 1, 2 and 3 threads, made once.
ThreadPool& pool_of(int threads) {
  static ThreadPool pools[] = {ThreadPool(1), ThreadPool(2), ThreadPool(3)};
  return pools[threads - 1];
}

std::vector<float> run(IsaLevel level, int threads, ComputeMode mode, const TensorView& w, const std::vector<float>& x,
                       int64_t tokens) {
  const Compute compute = {&kernel_table(level), &pool_of(threads)};
  auto packed = pack_matrix(compute, w, nullptr);
  EXPECT_TRUE(packed.ok());
  Activations a;
  a.set(x.data(), tokens, w.columns(), w.columns());
  const int64_t ldy = w.rows() + 3;
  std::vector<float> y(static_cast<size_t>(tokens * ldy), -7.0f);
  linear(compute, mode, *packed, a, y.data(), ldy);
  std::vector<float> out;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t r = 0; r < ldy; ++r) {
      const float v = y[static_cast<size_t>(t * ldy + r)];
      if (r < w.rows())
        out.push_back(v);
      else
        EXPECT_EQ(v, -7.0f) << "written past the last row";
    }
  }
  return out;
}

std::vector<float> expected(ComputeMode mode, const TensorView& w, const std::vector<float>& x, int64_t tokens) {
  std::vector<float> y(static_cast<size_t>(tokens * w.rows()));
  ref::linear(mode, w.dtype, reinterpret_cast<const uint8_t*>(w.data.data()), w.rows(), w.columns(), x.data(), tokens,
              w.columns(), y.data(), w.rows());
  return y;
}

// All levels and thread counts against the definition.
void compare(ComputeMode mode, const TensorView& w, const std::vector<float>& x, int64_t tokens) {
  const std::vector<uint32_t> want = bits_of(expected(mode, w, x, tokens));
  int threads = 1;
  for (IsaLevel level : available_isa_levels()) {
    threads = threads % 3 + 1;
    const std::vector<uint32_t> got = bits_of(run(level, threads, mode, w, x, tokens));
    const auto differs = std::mismatch(got.begin(), got.end(), want.begin(), want.end());
    ASSERT_TRUE(got == want) << isa_name(level) << " " << dtype_info(w.dtype).name << " tokens " << tokens << " rows "
                             << w.rows() << " columns " << w.columns() << " first at " << differs.first - got.begin()
                             << " of " << got.size();
  }
}

class LinearTest : public testing::TestWithParam<DType> {};

std::vector<DType> all_types() {
  std::vector<DType> types(std::begin(kQuantised), std::end(kQuantised));
  types.insert(types.end(), std::begin(kFloats), std::end(kFloats));
  return types;
}

INSTANTIATE_TEST_SUITE_P(Types, LinearTest, testing::ValuesIn(all_types()),
                         [](const auto& type) { return std::string(dtype_info(type.param).name); });

std::vector<ComputeMode> modes_of(DType type) {
  if (std::find(std::begin(kFloats), std::end(kFloats), type) != std::end(kFloats)) return {ComputeMode::kF32};
  return {ComputeMode::kInt8, ComputeMode::kF32};
}

TEST_P(LinearTest, AnyNumberOfTokens) {
  for (ComputeMode mode : modes_of(GetParam())) {
    for (int64_t tokens : {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 33, 64, 130, 201}) {
      const Stored w = make_weights(GetParam(), 37, 512, Weights::kRandom, 1);
      ASSERT_NO_FATAL_FAILURE(compare(mode, w.view, make_inputs(tokens, 512, Inputs::kNormal, 2), tokens));
    }
  }
}

TEST_P(LinearTest, AnyShape) {
  const int64_t block = dtype_info(GetParam()).block_values;
  for (ComputeMode mode : modes_of(GetParam())) {
    for (int64_t rows : {1, 15, 16, 17, 32, 33, 64, 100}) {
      std::vector<int64_t> all_columns = {block, block == 1 ? int64_t{77} : 3 * block, 9 * block};
      if (has_padded_rows(GetParam())) all_columns.insert(all_columns.end(), {1, block + 1, 3 * block - 5, 300});
      for (int64_t columns : all_columns) {
        const Stored w = make_weights(GetParam(), rows, columns, Weights::kRandom, static_cast<uint32_t>(rows));
        for (int64_t tokens : {1, 7}) {
          ASSERT_NO_FATAL_FAILURE(compare(mode, w.view, make_inputs(tokens, columns, Inputs::kHeavyTail, 3), tokens));
        }
      }
    }
  }
}

TEST_P(LinearTest, ExtremeValues) {
  for (ComputeMode mode : modes_of(GetParam())) {
    for (Weights weights : {Weights::kAllOnes, Weights::kAllZeros, Weights::kExtremeScales}) {
      const Stored w = make_weights(GetParam(), 19, 512, weights, 4);
      for (Inputs inputs : {Inputs::kNormal, Inputs::kFlat, Inputs::kHeavyTail, Inputs::kTiny, Inputs::kHuge}) {
        for (int64_t tokens : {1, 3, 6}) {
          ASSERT_NO_FATAL_FAILURE(compare(mode, w.view, make_inputs(tokens, 512, inputs, 5), tokens));
        }
      }
    }
  }
}

// Every sum as large as it gets: all |q| = 127 where the format allows it.
TEST_P(LinearTest, LargestSums) {
  for (float sign : {1.0f, -1.0f}) {
    std::vector<float> x(static_cast<size_t>(7 * 512));
    for (size_t i = 0; i < x.size(); ++i) x[i] = sign * (i % 16 < 8 ? 1.0f : 0.001f);
    for (Weights weights : {Weights::kAllOnes, Weights::kAllZeros}) {
      const Stored w = make_weights(GetParam(), 18, 512, weights, 4);
      for (int64_t tokens : {1, 7}) ASSERT_NO_FATAL_FAILURE(compare(ComputeMode::kInt8, w.view, x, tokens));
    }
  }
}

TEST_P(LinearTest, NotFinite) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (ComputeMode mode : modes_of(GetParam())) {
    for (float bad :
         {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity}) {
      for (int64_t tokens : {3, 9}) {
        std::vector<float> x = make_inputs(tokens, 512, Inputs::kNormal, 6);
        const std::vector<float> clean = x;
        x[512 + 300] = bad;  // token 1
        const Stored w = make_weights(GetParam(), 20, 512, Weights::kRandom, 7);
        ASSERT_NO_FATAL_FAILURE(compare(mode, w.view, x, tokens));
        const std::vector<float> y = expected(mode, w.view, x, tokens), good = expected(mode, w.view, clean, tokens);
        for (size_t i = 0; i < y.size(); ++i) {
          if (i / 20 != 1) {
            EXPECT_EQ(y[i], good[i]);
          } else if (mode == ComputeMode::kInt8 || bad != bad) {
            EXPECT_TRUE(std::isnan(y[i]));
          }
        }
      }
    }
  }
}

TEST_P(LinearTest, InfiniteScales) {
  for (ComputeMode mode : modes_of(GetParam())) {
    Stored w = make_weights(GetParam(), 20, 512, Weights::kRandom, 8);
    const size_t row = row_bytes(GetParam(), 512);
    if (!is_plain(GetParam())) {
      for (size_t place : scale_places(GetParam()))
        put_scale(GetParam(), &w.bytes[3 * row + place], std::numeric_limits<float>::infinity());
      for (size_t place : scale_places(GetParam()))
        put_scale(GetParam(), &w.bytes[5 * row + place], std::numeric_limits<float>::quiet_NaN());
    }
    if (GetParam() == DType::kIQ1_M) {
      put_iq1_m_scale(&w.bytes[3 * row], std::numeric_limits<float>::infinity());
      put_iq1_m_scale(&w.bytes[5 * row], std::numeric_limits<float>::quiet_NaN());
    }
    for (int64_t tokens : {1, 6})
      ASSERT_NO_FATAL_FAILURE(compare(mode, w.view, make_inputs(tokens, 512, Inputs::kNormal, 9), tokens));
  }
}

// The meaning itself: within rounding of a product in double.
TEST_P(LinearTest, IsCloseToTheExactProduct) {
  const int64_t columns = 1024, rows = 24;
  const Stored w = make_weights(GetParam(), rows, columns, Weights::kRandom, 10);
  const std::vector<float> x = make_inputs(1, columns, Inputs::kNormal, 11);
  std::vector<float> row(static_cast<size_t>(columns));
  for (ComputeMode mode : modes_of(GetParam())) {
    const std::vector<float> y = expected(mode, w.view, x, 1);
    double error = 0, power = 0;
    for (int64_t r = 0; r < rows; ++r) {
      ref::widen_row(GetParam(), reinterpret_cast<const uint8_t*>(w.view.row(r)), columns, row.data());
      double exact = 0;
      for (size_t k = 0; k < row.size(); ++k) exact += double{row[k]} * double{x[k]};
      error += std::pow(double{y[static_cast<size_t>(r)]} - exact, 2);
      power += exact * exact;
    }
    EXPECT_LT(std::sqrt(error / power), mode == ComputeMode::kInt8 ? 0.02 : 1e-5);
  }
}

TEST(Activations, AreReusedForBothFormsAndNewInputs) {
  const Compute compute = {&kernel_table(available_isa_levels().back()), &pool_of(2)};
  Activations a;
  for (int64_t tokens : {9, 2, 70}) {
    const std::vector<float> x = make_inputs(tokens, 768, Inputs::kNormal, static_cast<uint32_t>(tokens));
    a.set(x.data(), tokens, 768, 768);
    for (DType type : {DType::kQ4_K, DType::kQ8_0, DType::kQ6_K, DType::kF16, DType::kQ4_1, DType::kInt4G64,
                       DType::kNVFP4, DType::kMXFP4, DType::kIQ4_XS, DType::kInt8G128, DType::kNf4G64, DType::kQ2_K,
                       DType::kQ3_K, DType::kIQ2_XS, DType::kIQ3_XXS, DType::kTQ1_0}) {
      const Stored w = make_weights(type, 33, 768, Weights::kRandom, 12);
      auto packed = pack_matrix(compute, w.view, nullptr);
      ASSERT_TRUE(packed.ok());
      std::vector<float> y(static_cast<size_t>(tokens * 33));
      linear(compute, ComputeMode::kInt8, *packed, a, y.data(), 33);
      EXPECT_EQ(bits_of(y), bits_of(expected(ComputeMode::kInt8, w.view, x, tokens)));
    }
  }
}

TEST(PackMatrix, MultipliesOutputsLast) {
  constexpr float kMultiplier = 0.3f;
  for (DType type : {DType::kNVFP4, DType::kQ4_K, DType::kF16, DType::kQ3_K, DType::kIQ2_S}) {
    const Stored w = make_weights(type, 37, 512, Weights::kRandom, 17);
    for (int64_t tokens : {1, 4, 9}) {
      const std::vector<float> x = make_inputs(tokens, 512, Inputs::kNormal, 18);
      for (ComputeMode mode : {ComputeMode::kInt8, ComputeMode::kF32}) {
        std::vector<float> want = expected(mode, w.view, x, tokens);
        for (float& value : want) value *= kMultiplier;
        for (IsaLevel level : available_isa_levels()) {
          const Compute compute = {&kernel_table(level), &pool_of(2)};
          auto packed = pack_matrix(compute, w.view, nullptr);
          ASSERT_TRUE(packed.ok());
          packed->set_multiplier(kMultiplier);
          Activations a;
          a.set(x.data(), tokens, 512, 512);
          std::vector<float> y(want.size());
          linear(compute, mode, *packed, a, y.data(), 37);
          EXPECT_EQ(bits_of(y), bits_of(want)) << isa_name(level) << " " << dtype_info(type).name;
        }
      }
    }
  }
}

TEST(Activations, QuantisedSumsAreBounded) {
  for (Inputs kind : {Inputs::kNormal, Inputs::kFlat, Inputs::kHeavyTail, Inputs::kHuge}) {
    for (uint32_t seed = 0; seed < 200; ++seed) {
      const std::vector<float> x = make_inputs(1, 256, kind, seed);
      const ref::QuantisedGroup g = ref::quantise_group(x.data(), 256, true);
      for (int i = 0; i < 256; i += 16) {
        int sum = 0;
        for (int k = i; k < i + 16; ++k) sum += std::abs(int{g.q[k]});
        ASSERT_LE(sum, 1023);
      }
    }
  }
}

void widen_e8m0(DType, const std::byte* blocks, int64_t values, float* out) {
  for (int64_t i = 0; i < values; ++i) out[i] = static_cast<float>(static_cast<int>(blocks[i])) - 100.0f;
}

TEST(PackMatrix, WidensOtherTypesWithTheDecoder) {
  const Compute compute = {&kernel_table(available_isa_levels().back()), &pool_of(1)};
  const Stored w = make_weights(DType::kF8_E8M0, 20, 40, Weights::kRandom, 13);
  EXPECT_FALSE(pack_matrix(compute, w.view, nullptr).ok());
  auto packed = pack_matrix(compute, w.view, widen_e8m0);
  ASSERT_TRUE(packed.ok());
  EXPECT_TRUE(packed->widened());
  EXPECT_EQ(packed->dtype(), DType::kF32);
  EXPECT_EQ(packed->bytes(), packed_matrix_bytes(DType::kF8_E8M0, 20, 40));
  std::vector<float> x(40, 0.0f), y(20);
  x[7] = 2.0f;
  Activations a;
  a.set(x.data(), 1, 40, 40);
  linear(compute, ComputeMode::kInt8, *packed, a, y.data(), 20);
  for (size_t r = 0; r < 20; ++r) EXPECT_EQ(y[r], 2.0f * (static_cast<float>(w.bytes[r * 40 + 7]) - 100.0f));
}

TEST(PackMatrix, TakesRowsInAnyOrder) {
  const Compute compute = {&kernel_table(available_isa_levels().back()), &pool_of(2)};
  for (DType type : {DType::kQ6_K, DType::kF16}) {
    const Stored w = make_weights(type, 40, 256, Weights::kRandom, 14);
    const std::vector<int32_t> order = {39, 0, 5, 5, 17, 31, 2, 8, 9, 10, 11, 12, 13, 14, 15, 16, 1, 38};
    auto packed = pack_matrix(compute, w.view, nullptr, order);
    ASSERT_TRUE(packed.ok());
    const std::vector<float> x = make_inputs(2, 256, Inputs::kNormal, 15);
    const std::vector<float> all = expected(ComputeMode::kInt8, w.view, x, 2);
    std::vector<float> y(2 * order.size());
    Activations a;
    a.set(x.data(), 2, 256, 256);
    linear(compute, ComputeMode::kInt8, *packed, a, y.data(), static_cast<int64_t>(order.size()));
    for (size_t t = 0; t < 2; ++t) {
      for (size_t r = 0; r < order.size(); ++r)
        EXPECT_EQ(y[t * order.size() + r], all[t * 40 + static_cast<size_t>(order[r])]);
    }
  }
}

TEST(PackMatrix, RefusesImpossibleTensors) {
  const Compute compute = {&kernel_table(IsaLevel::kPortable), &pool_of(1)};
  Stored w = make_weights(DType::kQ8_0, 4, 64, Weights::kRandom, 16);
  TensorView short_data = w.view;
  short_data.data = short_data.data.first(10);
  EXPECT_FALSE(pack_matrix(compute, short_data, nullptr).ok());
  const std::vector<int32_t> order = {0, 4};
  EXPECT_FALSE(pack_matrix(compute, w.view, nullptr, order).ok());
}

TEST(PackMatrix, IsAsLargeAsTheFile) {
  for (DType type : all_types()) {
    // Six-bit scales take eight bits.
    const uint64_t more = type == DType::kIQ4_XS ? 64 * 4 * 2 : 0;
    EXPECT_EQ(packed_matrix_bytes(type, 64, 1024), 64 * row_bytes(type, 1024) + more) << dtype_info(type).name;
  }
}

}  // namespace
}  // namespace kinglet
