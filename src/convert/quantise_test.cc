#include "convert/quantise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <numeric>
#include <sstream>
#include <vector>

#include "base/hash.h"
#include "formats/decode.h"

namespace kinglet::convert {
namespace {

constexpr DType kPacked[] = {DType::kQ8_0,  DType::kQ6_K, DType::kQ5_K, DType::kQ5_1,   DType::kQ5_0,
                             DType::kQ4_K,  DType::kQ4_1, DType::kQ4_0, DType::kIQ4_XS, DType::kIQ4_NL,
                             DType::kMXFP4, DType::kQ3_K, DType::kQ2_K};
constexpr int64_t kRows = 16, kColumns = 1024;

// splitmix64 of a counter: tests/golden/convert/make_quantisers.py makes the same numbers.
std::vector<uint64_t> integers(uint64_t seed, size_t count) {
  std::vector<uint64_t> out(count);
  for (size_t i = 0; i < count; ++i) {
    uint64_t z = seed + 0x9E3779B97F4A7C15u * (i + 1);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    out[i] = z ^ z >> 31;
  }
  return out;
}

std::vector<float> matrix(const std::string& kind) {
  const std::vector<uint64_t> bits = integers(kind == "normal"  ? 1
                                              : kind == "tails" ? 2
                                                                : 3,
                                              static_cast<size_t>(kRows * kColumns));
  std::vector<float> out;
  for (const uint64_t z : bits) {
    int64_t part[4];
    for (int i = 0; i < 4; ++i) part[i] = static_cast<int64_t>(z >> 16 * i & 0xFFFF) - 32768;
    int64_t value = kind == "flat" ? part[0] : part[0] + part[1] + part[2] + part[3];
    if (kind == "tails" && part[0] % 64 == 0) value *= 8;
    out.push_back(static_cast<float>(value) * 0x1p-20f);
  }
  return out;
}

std::vector<float> importance(const std::string& kind) {
  std::vector<float> out;
  if (kind == "none") return out;
  for (const uint64_t z : integers(4, static_cast<size_t>(kColumns))) {
    const auto base = static_cast<float>((z >> 61) + 1);
    out.push_back(base * base * base * base);
  }
  return out;
}

std::vector<std::byte> quantise(DType type, const std::vector<float>& x, const std::vector<float>& w, int64_t columns) {
  const uint64_t size = row_bytes(type, static_cast<uint64_t>(columns));
  const auto rows = static_cast<int64_t>(x.size()) / columns;
  std::vector<std::byte> out(static_cast<size_t>(rows) * size);
  for (int64_t r = 0; r < rows; ++r)
    quantise_row(type, x.data() + r * columns, columns, w.empty() ? nullptr : w.data(),
                 out.data() + static_cast<uint64_t>(r) * size);
  return out;
}

std::vector<float> decode(DType type, const std::vector<std::byte>& bytes, size_t count) {
  std::vector<float> out(count);
  decode_row(type, bytes.data(), static_cast<int64_t>(count), out.data());
  return out;
}

double rmse(const std::vector<float>& x, const std::vector<float>& y, const std::vector<float>& w) {
  double error = 0, weight = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double each = w.empty() ? 1.0 : double{w[i % w.size()]}, missing = double{x[i]} - double{y[i]};
    error += each * missing * missing;
    weight += each;
  }
  return std::sqrt(error / weight);
}

TEST(Quantise, IsCloserThanLlamaCppAndTheSameEverywhere) {
  std::ifstream file(KINGLET_SOURCE_DIR "/tests/golden/convert/quantisers.txt");
  int lines = 0;
  for (std::string line; std::getline(file, line); ++lines) {
    std::istringstream words(line);
    std::string name, kind, weights, theirs, hash;
    words >> name >> kind >> weights >> theirs >> hash;
    const DType type = *dtype_from_name(name);
    const std::vector<float> x = matrix(kind), w = importance(weights);
    const std::vector<std::byte> bytes = quantise(type, x, w, kColumns);
    EXPECT_LT(rmse(x, decode(type, bytes, x.size()), w), std::stod(theirs)) << line;
    EXPECT_EQ(xxh3_128(bytes).hex(), hash)
        << name << ' ' << kind << ' ' << weights << ' ' << theirs << ' ' << xxh3_128(bytes).hex();
  }
  EXPECT_EQ(lines, 78);
}

TEST(Quantise, KeepsWhatTheTypeCanHold) {
  // Decoded blocks are values that the type holds: quantised once more they stay nearly the same.
  for (const DType type : kPacked) {
    const std::vector<float> x = matrix("normal");
    const std::vector<float> once = decode(type, quantise(type, x, {}, kColumns), x.size());
    const std::vector<float> twice = decode(type, quantise(type, once, {}, kColumns), x.size());
    EXPECT_LE(rmse(once, twice, {}), 0.35 * rmse(x, once, {})) << dtype_info(type).name;
  }
}

TEST(Quantise, LivesWithExtremes) {
  const std::vector<float> cases[] = {std::vector<float>(256, 0.0f), std::vector<float>(256, 1e-30f),
                                      std::vector<float>(256, 3e38f), std::vector<float>(256, -0.25f)};
  for (const DType type : kPacked)
    for (const std::vector<float>& x : cases) {
      const std::vector<float> y = decode(type, quantise(type, x, {}, 256), x.size());
      for (const float value : y) ASSERT_TRUE(std::isfinite(value)) << dtype_info(type).name << ' ' << x[0];
      if (std::fabs(x[0]) <= 1.0f) {
        for (const float value : y) ASSERT_NEAR(value, x[0], 0.1f * std::fabs(x[0]) + 1e-6f) << dtype_info(type).name;
      }
    }
}

TEST(Quantise, UnusedColumnsKeepTheirValues) {
  std::vector<float> x = matrix("normal"), w(static_cast<size_t>(kColumns), 0.0f);
  for (size_t i = 0; i < 512; ++i) w[i] = 1.0f;  // two super blocks count, two do not
  const std::vector<float> zeros(w.size(), 0.0f);
  for (const DType type : kPacked) {
    for (const auto& weights : {w, zeros}) {
      const std::vector<float> y = decode(type, quantise(type, x, weights, kColumns), x.size());
      EXPECT_LT(rmse(x, y, {}), 0.3 * rmse(x, std::vector<float>(x.size()), {})) << dtype_info(type).name;
    }
  }
}

TEST(Quantise, ImportanceMovesTheError) {
  const std::vector<float> x = matrix("normal"), w = importance("columns");
  for (const DType type : kPacked) {
    const double without = rmse(x, decode(type, quantise(type, x, {}, kColumns), x.size()), w);
    EXPECT_LT(rmse(x, decode(type, quantise(type, x, w, kColumns), x.size()), w), without) << dtype_info(type).name;
  }
}

TEST(Quantise, FloatsAreRoundedToEven) {
  const std::vector<float> x = {1.0f, -2.5f, 1.00390625f, 0x1.004p0f};
  EXPECT_EQ(decode(DType::kF32, quantise(DType::kF32, x, {}, 4), 4), x);
  EXPECT_EQ(decode(DType::kBF16, quantise(DType::kBF16, x, {}, 4), 4), (std::vector<float>{1.0f, -2.5f, 1.0f, 1.0f}));
  EXPECT_EQ(decode(DType::kF16, quantise(DType::kF16, x, {}, 4), 4), x);
}

}  // namespace
}  // namespace kinglet::convert
