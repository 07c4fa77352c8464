#include "kernels/ops_streams.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/rows_test_support.h"

namespace kinglet {
namespace {

using testing::first_difference;
using testing::Random;
using testing::ref_table;

double sigmoid_of(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

// weigh_streams of one token, in double.
std::vector<double> expected_weights(const StreamParams& p, const float* logits, const float* scale,
                                     const float* base) {
  const auto n = static_cast<size_t>(p.streams);
  const double epsilon = static_cast<double>(p.epsilon);
  std::vector<double> w(static_cast<size_t>(stream_weights(p.streams)));
  for (size_t i = 0; i < w.size(); ++i) {
    const size_t part = std::min<size_t>(i / n, 2);
    w[i] = double{logits[i]} * double{scale[part]} + double{base[i]};
    if (part < 2) w[i] = part == 0 ? sigmoid_of(w[i]) + epsilon : 2.0 * sigmoid_of(w[i]);
  }
  double* m = w.data() + 2 * n;
  for (size_t s = 0; s < n; ++s) {
    double sum = 0.0;
    for (size_t d = 0; d < n; ++d) sum += m[s * n + d] = std::exp(m[s * n + d]);
    for (size_t d = 0; d < n; ++d) m[s * n + d] = m[s * n + d] / sum + epsilon;
  }
  for (int64_t i = 0; i < 2 * p.iterations - 1; ++i) {  // columns, rows, columns, …
    const size_t along = i % 2 == 0 ? n : 1, across = i % 2 == 0 ? 1 : n;
    for (size_t a = 0; a < n; ++a) {
      double sum = epsilon;
      for (size_t b = 0; b < n; ++b) sum += m[a * across + b * along];
      for (size_t b = 0; b < n; ++b) m[a * across + b * along] /= sum;
    }
  }
  return w;
}

TEST(Streams, WeightsAreSigmoidsAndADoublyStochasticMatrix) {
  Random random(41);
  ThreadPool one(1), three(3);
  for (int64_t n : {1, 2, 3, 4, 7}) {
    const StreamParams p{n, random.between(1, 25), 1e-6f};
    const int64_t tokens = 37, count = stream_weights(n), ld = count + 3;
    const std::vector<float> logits = random.normals(tokens * ld), scale = random.normals(3),
                             base = random.normals(count);
    std::vector<float> w = logits, other = logits, gated = logits;
    weigh_streams({&ref_table(), &one}, p, w.data(), ld, scale.data(), base.data(), tokens);
    weigh_streams({&ref_table(), &three}, p, other.data(), ld, scale.data(), base.data(), tokens);
    EXPECT_EQ(first_difference(w, other), -1) << n << " streams on three threads";
    gate_streams({&ref_table(), &one}, p, gated.data(), ld, scale[0], base.data(), tokens);
    for (int64_t t = 0; t < tokens; ++t) {
      const std::vector<double> expected = expected_weights(p, logits.data() + t * ld, scale.data(), base.data());
      for (int64_t i = 0; i < count; ++i)
        EXPECT_NEAR(w[static_cast<size_t>(t * ld + i)], expected[static_cast<size_t>(i)], 2e-6) << n << " " << i;
      for (int64_t i = 0; i < n; ++i)
        EXPECT_EQ(gated[static_cast<size_t>(t * ld + i)], w[static_cast<size_t>(t * ld + i)]);
      for (int64_t d = 0; d < n; ++d) {
        double sum = 0.0;
        for (int64_t s = 0; s < n; ++s) sum += double{w[static_cast<size_t>(t * ld + 2 * n + s * n + d)]};
        EXPECT_NEAR(sum, 1.0, 1e-5) << "column " << d;
      }
    }
  }
}

TEST(Streams, CollapsedAndMixedLikePlainSums) {
  Random random(42);
  ThreadPool one(1), three(3);
  for (const int64_t width : {1, 5, 64, 130, 600}) {
    const int64_t n = random.between(1, 5), tokens = 9, ld = stream_weights(n);
    const std::vector<float> x = random.normals(tokens * n * width), w = random.normals(tokens * ld),
                             y = random.normals(tokens * width);
    std::vector<float> collapsed(y.size()), mixed = x, other = x;
    collapse_streams({&ref_table(), &three}, n, x.data(), w.data(), ld, tokens, width, collapsed.data(), width);
    mix_streams({&ref_table(), &one}, n, mixed.data(), w.data(), ld, y.data(), width, tokens, width);
    mix_streams({&ref_table(), &three}, n, other.data(), w.data(), ld, y.data(), width, tokens, width);
    EXPECT_EQ(first_difference(mixed, other), -1);
    const auto at = [](const std::vector<float>& v, int64_t i) { return double{v[static_cast<size_t>(i)]}; };
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t i = 0; i < width; ++i) {
        double sum = 0.0;
        for (int64_t s = 0; s < n; ++s) sum += at(w, t * ld + s) * at(x, (t * n + s) * width + i);
        EXPECT_NEAR(at(collapsed, t * width + i), sum, 1e-5);
        for (int64_t d = 0; d < n; ++d) {
          sum = at(w, t * ld + n + d) * at(y, t * width + i);
          for (int64_t s = 0; s < n; ++s) sum += at(w, t * ld + 2 * n + s * n + d) * at(x, (t * n + s) * width + i);
          EXPECT_NEAR(at(mixed, (t * n + d) * width + i), sum, 1e-5);
        }
      }
  }
}

// The same bits as the rotation of halves has for the same pairs; and back.
TEST(RopePairs, IsTheRotationOfHalvesInAnotherOrder) {
  Random random(43);
  ThreadPool pool(2);
  const Compute compute{&ref_table(), &pool};
  const int64_t rotated = 10, head_dim = 17, heads = 3, tokens = 11, ld = heads * head_dim + 2;
  std::vector<double> frequencies;
  for (int64_t p = 0; p < rotated / 2; ++p) frequencies.push_back(std::pow(100.0, -0.2 * static_cast<double>(p)));
  auto table = make_rope_table(compute, frequencies, 1.0f, 64);
  ASSERT_TRUE(table.ok());
  std::vector<int32_t> positions;
  for (int64_t t = 0; t < tokens; ++t) positions.push_back(static_cast<int32_t>(random.below(64)));
  const std::vector<float> pairs = random.normals(tokens * ld);
  std::vector<float> halves = pairs, turned = pairs, expected = pairs;
  const int64_t first = head_dim - rotated;
  const auto index = [&](int64_t t, int64_t h, int64_t d) { return static_cast<size_t>(t * ld + h * head_dim + d); };
  const auto each_pair = [&](auto&& body) {
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t p = 0; p < rotated / 2; ++p)
          for (int64_t i = 0; i < 2; ++i) body(index(t, h, first + 2 * p + i), index(t, h, p + i * rotated / 2));
  };
  each_pair([&](size_t pair, size_t half) { halves[half] = pairs[pair]; });
  rope_half_split(compute, *table, positions.data(), halves.data(), ld, tokens, heads, head_dim);
  each_pair([&](size_t pair, size_t half) { expected[pair] = halves[half]; });
  rope_pairs(compute, *table, positions.data(), Rotation::kForward, turned.data() + first, ld, tokens, heads, head_dim);
  EXPECT_EQ(first_difference(turned, expected), -1);
  rope_pairs(compute, *table, positions.data(), Rotation::kBack, turned.data() + first, ld, tokens, heads, head_dim);
  for (size_t i = 0; i < pairs.size(); ++i) EXPECT_NEAR(turned[i], pairs[i], 1e-5);
}

}  // namespace
}  // namespace kinglet
