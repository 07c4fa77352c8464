#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "kernels/math.h"
#include "kernels/rows_test_support.h"

namespace kinglet {
namespace {

using testing::first_difference;
using testing::Random;
using testing::ref_table;
using testing::same_bits;

using Values = std::vector<float>;
// An operation on a [rows][n] matrix with a second one.
using Operation = std::function<void(const Compute&, Values& x, const Values& y, int64_t rows, int64_t n)>;

struct NamedOperation {
  const char* name;
  Operation run;
};

std::vector<NamedOperation> operations() {
  const auto gated = [](Activation act) {
    return [act](const Compute& c, Values& x, const Values& y, int64_t rows, int64_t n) {
      gated_activation(c, act, x.data(), n, y.data(), n, rows, n);
    };
  };
  return {
      {"rms_norm", [](const Compute& c, Values& x, const Values& y, int64_t rows,
                      int64_t n) { rms_norm(c, x.data(), n, y.data(), 1e-5f, rows, n, x.data(), n); }},
      {"rms_norm without weights", [](const Compute& c, Values& x, const Values&, int64_t rows,
                                      int64_t n) { rms_norm(c, x.data(), n, nullptr, 1e-5f, rows, n, x.data(), n); }},
      {"layer_norm",
       [](const Compute& c, Values& x, const Values& y, int64_t rows, int64_t n) {
         const float* bias = rows > 1 ? y.data() + n : nullptr;
         layer_norm(c, x.data(), n, rows % 2 == 0 ? nullptr : y.data(), bias, 1e-5f, rows, n, x.data(), n);
       }},
      {"residual_mix", [](const Compute& c, Values& x, const Values& y, int64_t rows,
                          int64_t n) { residual_mix(c, 3.55f, x.data(), n, 0.7f, y.data(), n, rows, n); }},
      {"activate", [](const Compute& c, Values& x, const Values&, int64_t rows,
                      int64_t n) { activate(c, Activation::kReluSquared, x.data(), n, rows, n); }},
      {"add_bias", [](const Compute& c, Values& x, const Values& y, int64_t rows,
                      int64_t n) { add_bias(c, x.data(), n, y.data(), rows, n); }},
      {"add", [](const Compute& c, Values& x, const Values& y, int64_t rows,
                 int64_t n) { add(c, x.data(), n, y.data(), n, rows, n); }},
      {"scale", [](const Compute& c, Values& x, const Values& y, int64_t rows,
                   int64_t n) { scale(c, x.data(), n, y[0], rows, n); }},
      {"soft_cap", [](const Compute& c, Values& x, const Values&, int64_t rows,
                      int64_t n) { soft_cap(c, x.data(), n, 30.0f, rows, n); }},
      {"silu", gated(Activation::kSilu)},
      {"gelu_tanh", gated(Activation::kGeluTanh)},
      {"gelu_erf", gated(Activation::kGeluErf)},
      {"relu", gated(Activation::kRelu)},
      {"relu squared", gated(Activation::kReluSquared)},
      {"sigmoid", gated(Activation::kSigmoid)},
      {"clamped silu", gated(Activation::kClampedSilu)},
      {"clamped swiglu", gated(Activation::kClampedSwiglu)},
      {"exp_minus_max",
       [](const Compute& c, Values& x, const Values&, int64_t rows, int64_t n) {
         for (int64_t r = 0; r < rows; ++r) {
           float* row = x.data() + r * n;
           const float logarithm = log_sum_exp(c, row, n), sum = exp_minus_max(c, row, n, row);
           if (n > 2) row[0] += logarithm + sum;  // so that they are compared, too
         }
       }},
  };
}

TEST(Rows, EveryLevelHasTheBitsOfTheDefinition) {
  Random random(4);
  for (const NamedOperation& operation : operations()) {
    for (int64_t n : {1, 3, 15, 16, 17, 31, 40, 64, 129, 576, 1000}) {
      for (int kind = 0; kind < 3; ++kind) {
        const int64_t rows = random.between(1, 70);
        const Values x = kind == 2 ? random.patterns(rows * n) : random.normals(rows * n, kind == 1 ? 30.0f : 1.0f);
        const Values y = random.normals(rows * n);
        ThreadPool one(1);
        Values expected = x;
        operation.run({&ref_table(), &one}, expected, y, rows, n);
        for (IsaLevel level : available_isa_levels()) {
          for (int threads : {1, 3}) {
            ThreadPool pool(threads);
            Values got = x;
            operation.run({&kernel_table(level), &pool}, got, y, rows, n);
            const int64_t i = first_difference(got, expected);
            ASSERT_EQ(i, -1) << operation.name << " " << isa_name(level) << " n " << n << " kind " << kind << ": x "
                             << x[static_cast<size_t>(i)] << " got " << got[static_cast<size_t>(i)] << " expected "
                             << expected[static_cast<size_t>(i)];
          }
        }
      }
    }
  }
}

// Every float from a fine grid over the whole range goes through each level's functions.
TEST(Rows, ActivationsHaveTheSameBitsOverTheWholeRange) {
  Values x;
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 9973)
    x.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  for (float edge :
       {-87.0f, -87.00001f, 88.72283f, 88.72284f, 0.625f, -0.625f, 1.0f, 4.0f, 5.6568543f, -5.6568543f, 0.0f, -0.0f}) {
    x.push_back(edge);
  }
  const int64_t n = static_cast<int64_t>(x.size());
  const Values ones(x.size(), 1.0f);
  ThreadPool pool(1);
  for (Activation act :
       {Activation::kSilu, Activation::kGeluTanh, Activation::kGeluErf, Activation::kRelu, Activation::kReluSquared,
        Activation::kSigmoid, Activation::kClampedSilu, Activation::kClampedSwiglu}) {
    Values expected = x;
    gated_activation({&ref_table(), &pool}, act, expected.data(), n, ones.data(), n, 1, n);
    for (IsaLevel level : available_isa_levels()) {
      Values got = x;
      gated_activation({&kernel_table(level), &pool}, act, got.data(), n, ones.data(), n, 1, n);
      const int64_t i = first_difference(got, expected);
      ASSERT_EQ(i, -1) << isa_name(level) << " " << static_cast<int>(act) << " at " << x[static_cast<size_t>(i)];
    }
  }
}

TEST(Rows, RmsNormIsTheFormula) {
  Random random(5);
  ThreadPool pool(1);
  const int64_t n = 576;
  const Values x = random.normals(n, 3.0f), weight = random.normals(n);
  Values y(x.size());
  rms_norm({&kernel_table(available_isa_levels().back()), &pool}, x.data(), n, weight.data(), 1e-6f, 1, n, y.data(), n);
  double squares = 0.0;
  for (float v : x) squares += static_cast<double>(v) * static_cast<double>(v);
  const double inverse = 1.0 / std::sqrt(squares / static_cast<double>(n) + 1e-6);
  for (size_t i = 0; i < x.size(); ++i) {
    const double expected = static_cast<double>(x[i]) * inverse * static_cast<double>(weight[i]);
    EXPECT_NEAR(static_cast<double>(y[i]), expected, 1e-6 * std::abs(expected));
  }
}

TEST(Rows, LayerNormIsTheFormula) {
  Random random(8);
  ThreadPool pool(1);
  const int64_t n = 100;
  Values x = random.normals(n, 3.0f);
  for (float& v : x) v += 5.0f;
  const Values weight = random.normals(n), bias = random.normals(n);
  Values y(x.size());
  layer_norm({&kernel_table(available_isa_levels().back()), &pool}, x.data(), n, weight.data(), bias.data(), 1e-2f, 1,
             n, y.data(), n);
  double mean = 0.0, variance = 0.0;
  for (float v : x) mean += static_cast<double>(v) / static_cast<double>(n);
  for (float v : x) variance += std::pow(static_cast<double>(v) - mean, 2) / static_cast<double>(n);
  for (size_t i = 0; i < x.size(); ++i) {
    const double normal = (static_cast<double>(x[i]) - mean) / std::sqrt(variance + 1e-2);
    EXPECT_NEAR(static_cast<double>(y[i]), normal * static_cast<double>(weight[i]) + static_cast<double>(bias[i]),
                2e-6);
  }
}

TEST(Rows, RmsNormWithoutWeightsHasOnes) {
  Random random(9);
  ThreadPool pool(1);
  const Compute compute{&kernel_table(available_isa_levels().back()), &pool};
  const Values x = random.normals(40), ones(40, 1.0f);
  Values with(40), without(40);
  rms_norm(compute, x.data(), 40, ones.data(), 1e-6f, 1, 40, with.data(), 40);
  rms_norm(compute, x.data(), 40, nullptr, 1e-6f, 1, 40, without.data(), 40);
  EXPECT_EQ(without, with);
}

TEST(Rows, ActivationsAreTheFormulas) {
  ThreadPool pool(1);
  const Compute compute{&kernel_table(available_isa_levels().back()), &pool};
  const auto sigmoid = [](double x) { return 1.0 / (1.0 + std::exp(-x)); };
  const Values gate = {-9.0f, -0.5f, 0.75f, 3.0f, 9.0f}, up = {1.0f, -9.0f, 0.5f, 9.0f, -2.0f};
  const auto run = [&](Activation act, const ActivationParams& params) {
    Values y = gate;
    gated_activation(compute, act, y.data(), 5, up.data(), 5, 1, 5, params);
    return y;
  };
  const Values silu = run(Activation::kClampedSilu, {.limit = 4.0f}),
               swiglu = run(Activation::kClampedSwiglu, {.limit = 4.0f, .alpha = 1.5f}),
               squared = run(Activation::kReluSquared, {}), gates = run(Activation::kSigmoid, {});
  Values alone = gate;
  activate(compute, Activation::kSigmoid, alone.data(), 5, 1, 5);
  for (size_t i = 0; i < 5; ++i) {
    const double x = static_cast<double>(gate[i]), y = static_cast<double>(up[i]);
    const double g = std::min(x, 4.0), u = std::clamp(y, -4.0, 4.0), positive = std::max(x, 0.0);
    EXPECT_NEAR(static_cast<double>(silu[i]), g * sigmoid(g) * u, 1e-5);
    EXPECT_NEAR(static_cast<double>(swiglu[i]), g * sigmoid(1.5 * g) * (u + 1.0), 1e-5);
    EXPECT_NEAR(static_cast<double>(squared[i]), positive * positive * y, 1e-4);
    EXPECT_NEAR(static_cast<double>(gates[i]), sigmoid(x) * y, 1e-6);
    EXPECT_NEAR(static_cast<double>(alone[i]), sigmoid(x), 1e-7);
  }
}

TEST(Rows, ResidualMixRoundsEveryOperation) {
  ThreadPool pool(1);
  Values x = {3.0f, 0.1f};
  const Values y = {-1.0f, 0.3f};
  const float alpha = 0.7f, beta = 1.3f, first = alpha * x[1], second = beta * y[1];
  residual_mix({&kernel_table(available_isa_levels().back()), &pool}, alpha, x.data(), 2, beta, y.data(), 2, 1, 2);
  EXPECT_FLOAT_EQ(x[0], 0.7f * 3.0f - 1.3f);
  EXPECT_EQ(x[1], first + second);
}

TEST(Rows, LogSumExp) {
  Random random(6);
  ThreadPool pool(1);
  const Values x = random.normals(50'001, 4.0f);
  double sum = 0.0;
  for (float v : x) sum += std::exp(static_cast<double>(v));
  const Compute compute{&kernel_table(available_isa_levels().back()), &pool};
  EXPECT_NEAR(static_cast<double>(log_sum_exp(compute, x.data(), static_cast<int64_t>(x.size()))), std::log(sum), 2e-6);
  const Values same(3, -1e30f);
  EXPECT_EQ(log_sum_exp(compute, same.data(), 3), -1e30f);
  const Values masked = {-std::numeric_limits<float>::infinity(), 2.0f};
  EXPECT_EQ(log_sum_exp(compute, masked.data(), 2), 2.0f);
}

TEST(Rope, TableHoldsCosAndSinOfExactAngles) {
  ThreadPool pool(2);
  std::vector<double> frequencies;
  for (int p = 0; p < 12; ++p) frequencies.push_back(pow_f64(10000.0, -static_cast<double>(p) / 12.0));
  Result<RopeTable> table = make_rope_table({&ref_table(), &pool}, frequencies, 1.5f, 5000);
  ASSERT_TRUE(table.ok());
  EXPECT_EQ(table->rotated, 24);
  for (int64_t position : {0, 1, 77, 4999}) {
    for (size_t p = 0; p < frequencies.size(); ++p) {
      const double angle = static_cast<double>(position) * frequencies[p];
      EXPECT_EQ(table->cos_row(position)[p], static_cast<float>(1.5 * cos_f64(angle)));
      EXPECT_NEAR(static_cast<double>(table->cos_row(position)[p]), 1.5 * std::cos(angle), 1e-7);
      EXPECT_NEAR(static_cast<double>(table->sin_row(position)[p]), 1.5 * std::sin(angle), 1e-7);
    }
  }
}

TEST(Rope, TooLargeATableIsAnError) {
  ThreadPool pool(1);
  const std::vector<double> frequencies(64, 1.0);
  EXPECT_FALSE(make_rope_table({&ref_table(), &pool}, frequencies, 1.0f, int64_t{1} << 40).ok());
}

TEST(Rope, RotatesHalvesAndLeavesTheRest) {
  Random random(7);
  ThreadPool pool(3);
  for (const auto& [head_dim, pairs] : {std::pair{24, 12}, {40, 20}, {128, 64}, {96, 16}, {64, 3}}) {
    std::vector<double> frequencies;
    for (int p = 0; p < pairs; ++p) frequencies.push_back(std::exp(-0.3 * p));
    const Compute ref{&ref_table(), &pool};
    Result<RopeTable> table = make_rope_table(ref, frequencies, 1.0f, 300);
    ASSERT_TRUE(table.ok());
    const int64_t tokens = 37, heads = 5, ld = heads * head_dim + 3;
    std::vector<int32_t> positions;
    for (int64_t t = 0; t < tokens; ++t) positions.push_back(static_cast<int32_t>(random.below(300)));
    const Values x = random.normals(tokens * ld);
    Values expected = x;
    for (int64_t t = 0; t < tokens; ++t) {
      const float *c = table->cos_row(positions[static_cast<size_t>(t)]),
                  *s = table->sin_row(positions[static_cast<size_t>(t)]);
      for (int64_t h = 0; h < heads; ++h) {
        for (int64_t p = 0; p < pairs; ++p) {
          const size_t i = static_cast<size_t>(t * ld + h * head_dim + p), j = i + static_cast<size_t>(pairs);
          expected[i] = x[i] * c[p] - x[j] * s[p];
          expected[j] = x[j] * c[p] + x[i] * s[p];
        }
      }
    }
    std::vector<const KernelTable*> tables = {&ref_table()};
    for (IsaLevel level : available_isa_levels()) tables.push_back(&kernel_table(level));
    for (const KernelTable* kernels : tables) {
      Values got = x;
      rope_half_split({kernels, &pool}, *table, positions.data(), got.data(), ld, tokens, heads, head_dim);
      EXPECT_EQ(first_difference(got, expected), -1) << isa_name(kernels->level) << " " << head_dim;
    }
  }
}

}  // namespace
}  // namespace kinglet
