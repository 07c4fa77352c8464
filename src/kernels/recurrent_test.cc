#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "kernels/ops_recurrent.h"
#include "kernels/rows_test_support.h"

namespace kinglet {
namespace {

#include "tests/golden/recurrent/vectors.inc"

using testing::first_difference;
using testing::Random;
using testing::ref_table;

using Values = std::vector<float>;

// An operation with a state: tokens are rows of `in` floats, results rows of `out`.
struct Layer {
  std::string name;
  int64_t in = 0, out = 0, state = 0;
  std::function<void(const Compute&, std::span<const RecurrentSlice>, const float* in, float* out)> run;
};

struct Results {
  std::vector<Values> outputs, states;  // by sequence
};

// Runs all sequences, every step a batch of the next `step(i)` tokens of each, in an order that changes.
template <class Step>
Results run(const Compute& compute, const Layer& layer, const std::vector<Values>& inputs, const Step& step) {
  Results results;
  std::vector<int64_t> done(inputs.size(), 0);
  for (const Values& x : inputs) {
    results.outputs.emplace_back(x.size() / static_cast<size_t>(layer.in) * static_cast<size_t>(layer.out));
    results.states.emplace_back(static_cast<size_t>(layer.state));
  }
  for (bool forwards = true;; forwards = !forwards) {
    Values in, out;
    std::vector<RecurrentSlice> slices;
    std::vector<size_t> owners;
    int64_t tokens = 0;
    for (size_t n = 0; n < inputs.size(); ++n) {
      const size_t i = forwards ? n : inputs.size() - 1 - n;
      const int64_t length = static_cast<int64_t>(inputs[i].size()) / layer.in;
      const int64_t count = std::min<int64_t>(step(i), length - done[i]);
      if (count <= 0) continue;
      in.insert(in.end(), inputs[i].begin() + done[i] * layer.in, inputs[i].begin() + (done[i] + count) * layer.in);
      slices.push_back({tokens, count, results.states[i].data()});
      owners.push_back(i);
      tokens += count;
    }
    if (slices.empty()) return results;
    out.resize(static_cast<size_t>(tokens * layer.out));
    layer.run(compute, slices, in.data(), out.data());
    for (size_t j = 0; j < slices.size(); ++j) {
      std::copy_n(out.begin() + slices[j].first_token * layer.out, slices[j].tokens * layer.out,
                  results.outputs[owners[j]].begin() + done[owners[j]] * layer.out);
      done[owners[j]] += slices[j].tokens;
    }
  }
}

Layer conv_layer(int64_t channels, int64_t kernel, bool silu, bool bias, Random& random) {
  const CausalConvParams params{channels, kernel, silu};
  const Values weight = random.normals(channels * kernel), offset = random.normals(channels);
  return {"conv of " + std::to_string(channels) + " by " + std::to_string(kernel), channels, channels,
          causal_conv_state_floats(params),
          [=](const Compute& compute, std::span<const RecurrentSlice> slices, const float* in, float* out) {
            int64_t tokens = 0;
            for (const RecurrentSlice& slice : slices) tokens += slice.tokens;
            std::copy_n(in, tokens * channels, out);  // in place
            causal_conv(compute, params, slices, weight.data(), bias ? offset.data() : nullptr, out, channels, out,
                        channels);
          }};
}

// A token's row is q, k, v, then what becomes its decay factors and beta.
Layer delta_layer(const DeltaRuleParams& p) {
  const int64_t keys = p.key_heads * p.key_dim, values = p.value_heads * p.value_dim;
  const int64_t factors = p.value_heads * (p.decay_per_key ? p.key_dim : 1);
  const int64_t row = 2 * keys + values + factors + p.value_heads;
  return {"delta " + std::to_string(p.key_heads) + "/" + std::to_string(p.value_heads) + " dims " +
              std::to_string(p.key_dim) + "/" + std::to_string(p.value_dim),
          row, values, delta_rule_state_floats(p),
          [=](const Compute& compute, std::span<const RecurrentSlice> slices, const float* in, float* out) {
            int64_t tokens = 0;
            for (const RecurrentSlice& slice : slices) tokens += slice.tokens;
            Values x(in, in + tokens * row);
            float* gates = x.data() + 2 * keys + values;
            sigmoid(compute, gates, row, tokens, factors + p.value_heads);
            for (int64_t head = 0; head < 2; ++head) {
              float* normed = x.data() + head * keys;
              l2_norm_heads(compute, normed, row, 1e-6f, head == 0 ? 0.3f : 1.0f, tokens, p.key_heads, p.key_dim,
                            normed, row);
            }
            delta_rule(compute, p, slices,
                       {.q = x.data(),
                        .k = x.data() + keys,
                        .v = x.data() + 2 * keys,
                        .decay = gates,
                        .beta = gates + factors,
                        .out = out,
                        .ldq = row,
                        .ldk = row,
                        .ldv = row,
                        .ldo = values,
                        .ld_decay = row,
                        .ld_beta = row});
          }};
}

std::vector<Layer> layers(Random& random) {
  std::vector<Layer> all;
  for (int64_t kernel = 2; kernel <= kMostConvTaps; ++kernel) {
    all.push_back(conv_layer(random.between(1, 200), kernel, kernel % 2 == 0, kernel % 3 == 0, random));
  }
  for (const bool per_key : {false, true}) {
    for (const bool delta : {false, true}) {
      for (const HeadMap map : {HeadMap::kGrouped, HeadMap::kModulo}) {
        all.push_back(delta_layer({2, 4, random.between(1, 40), random.between(1, 40), map, per_key, delta}));
      }
    }
  }
  all.push_back(delta_layer({1, 2, 128, 128}));
  return all;
}

TEST(Recurrent, EveryLevelHasTheBitsOfTheDefinitionHoweverTheTextIsCut) {
  Random random(11);
  for (const Layer& layer : layers(random)) {
    std::vector<Values> inputs;
    for (int64_t length : {1, 2, 5, 19, 33}) inputs.push_back(random.normals(length * layer.in));
    ThreadPool one(1);
    const Results expected = run({&ref_table(), &one}, layer, inputs, [](size_t) { return 1; });
    for (IsaLevel level : available_isa_levels()) {
      for (int threads : {1, 3}) {
        ThreadPool pool(threads);
        for (int64_t most : {1, 3, 8, 64}) {
          const Results got = run({&kernel_table(level), &pool}, layer, inputs,
                                  [&](size_t) { return most == 64 ? most : random.between(0, most - 1) + 1; });
          for (size_t i = 0; i < inputs.size(); ++i) {
            const std::string where =
                layer.name + " " + std::string(isa_name(level)) + " cut by " + std::to_string(most);
            ASSERT_EQ(first_difference(got.outputs[i], expected.outputs[i]), -1) << where << ", sequence " << i;
            ASSERT_EQ(first_difference(got.states[i], expected.states[i]), -1) << where << ", state " << i;
          }
        }
      }
    }
  }
}

// What one token contributes is gone from nothing and lost to nothing: NaN and infinity stay in their sequence.
TEST(Recurrent, ASequenceDoesNotHurtItsNeighbours) {
  Random random(12);
  const Layer layer = delta_layer({2, 4, 24, 20});
  std::vector<Values> inputs = {random.normals(9 * layer.in), random.normals(9 * layer.in)};
  ThreadPool pool(2);
  const Compute compute{&kernel_table(available_isa_levels().back()), &pool};
  const auto step = [](size_t) { return 4; };
  const Results before = run(compute, layer, inputs, step);
  inputs[0] = random.patterns(9 * layer.in);
  const Results after = run(compute, layer, inputs, step);
  EXPECT_EQ(first_difference(after.outputs[1], before.outputs[1]), -1);
  EXPECT_EQ(first_difference(after.states[1], before.states[1]), -1);
  EXPECT_NE(first_difference(after.outputs[0], before.outputs[0]), -1);
}

TEST(Recurrent, GatesAndNormsHaveTheBitsOfTheDefinition) {
  Random random(13);
  using Operation = std::function<void(const Compute&, Values&, const Values&, int64_t heads, int64_t n)>;
  constexpr int64_t kTokens = 5;
  const auto gated_norm = [](OutputGate act) -> Operation {
    return [act](const Compute& c, Values& x, const Values& y, int64_t heads, int64_t n) {
      gated_rms_norm_heads(c, act, x.data(), heads * n, y.data(), 1e-6f, y.data(), heads * n, kTokens, heads, n,
                           x.data(), heads * n);
    };
  };
  const std::vector<std::pair<const char*, Operation>> operations = {
      {"decay_gate",
       [](const Compute& c, Values& x, const Values& y, int64_t heads, int64_t n) {
         decay_gate(c, y.data() + 1, y.data(), heads, n, x.data(), heads * n, kTokens, x.data(), heads * n);
       }},
      {"sigmoid", [](const Compute& c, Values& x, const Values&, int64_t heads,
                     int64_t n) { sigmoid(c, x.data(), heads * n, kTokens, heads * n); }},
      {"l2_norm",
       [](const Compute& c, Values& x, const Values&, int64_t heads, int64_t n) {
         l2_norm_heads(c, x.data(), heads * n, 1e-6f, 0.7f, kTokens, heads, n, x.data(), heads * n);
       }},
      {"silu norm", gated_norm(OutputGate::kSilu)},
      {"sigmoid norm", gated_norm(OutputGate::kSigmoid)},
  };
  for (const auto& [name, operation] : operations) {
    for (int64_t n : {1, 3, 16, 17, 64, 129}) {
      for (int kind = 0; kind < 3; ++kind) {
        const int64_t heads = random.between(2, 40), count = kTokens * heads * n;
        const Values x = kind == 2 ? random.patterns(count) : random.normals(count, kind == 1 ? 30.0f : 1.0f);
        const Values y = random.normals(count);
        ThreadPool one(1);
        Values expected = x;
        operation({&ref_table(), &one}, expected, y, heads, n);
        for (IsaLevel level : available_isa_levels()) {
          for (int threads : {1, 3}) {
            ThreadPool pool(threads);
            Values got = x;
            operation({&kernel_table(level), &pool}, got, y, heads, n);
            ASSERT_EQ(first_difference(got, expected), -1) << name << " " << isa_name(level) << " n " << n;
          }
        }
      }
    }
  }
}

// ---- against transformers: make_recurrent_golden.py says what is computed

constexpr int64_t kTokens = 7, kDim = 8;

// The script's value().
Values golden_input(uint32_t seed, int64_t count) {
  Values values;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t x = (static_cast<uint32_t>(i + 1) * 2654435761u) ^ (seed * 0x9E3779B9u);
    x = (x ^ (x >> 15)) * 0x2C1B3C6Du;
    x = (x ^ (x >> 12)) * 0x297A2D39u;
    values.push_back(static_cast<float>((x ^ (x >> 15)) >> 8) * 0x1p-23f - 1.0f);
  }
  return values;
}

Compute golden_compute() {
  static ThreadPool pool(2);
  return {&kernel_table(available_isa_levels().back()), &pool};
}

void expect_golden(const Values& got, std::span<const double> expected) {
  ASSERT_EQ(got.size(), expected.size());
  double largest = 0.0, worst = 0.0;
  for (size_t i = 0; i < got.size(); ++i) {
    largest = std::max(largest, std::abs(expected[i]));
    worst = std::max(worst, std::abs(static_cast<double>(got[i]) - expected[i]));
  }
  EXPECT_LE(worst, 1e-6 * largest);
}

// Convolution, norms of q and k, and the delta rule, from the tokens' mixed channels [q | k | v].
Values golden_rule(const DeltaRuleParams& p, Values mixed, const Values& taps, const Values& decay, Values beta) {
  const Compute c = golden_compute();
  const int64_t keys = p.key_heads * kDim, values = p.value_heads * kDim, row = 2 * keys + values;
  const CausalConvParams conv{row, 4, true};
  Values conv_state(static_cast<size_t>(causal_conv_state_floats(conv)));
  const RecurrentSlice conv_slice{0, kTokens, conv_state.data()};
  causal_conv(c, conv, {&conv_slice, 1}, taps.data(), nullptr, mixed.data(), row, mixed.data(), row);
  float *q = mixed.data(), *k = q + keys;
  l2_norm_heads(c, q, row, 1e-6f, 1.0f / std::sqrt(8.0f), kTokens, p.key_heads, kDim, q, row);
  l2_norm_heads(c, k, row, 1e-6f, 1.0f, kTokens, p.key_heads, kDim, k, row);
  sigmoid(c, beta.data(), p.value_heads, kTokens, p.value_heads);
  Values state(static_cast<size_t>(delta_rule_state_floats(p))), out(static_cast<size_t>(kTokens * values));
  const RecurrentSlice slice{0, kTokens, state.data()};
  delta_rule(c, p, {&slice, 1},
             {.q = q,
              .k = k,
              .v = k + keys,
              .decay = decay.data(),
              .beta = beta.data(),
              .out = out.data(),
              .ldq = row,
              .ldk = row,
              .ldv = row,
              .ldo = values,
              .ld_decay = p.value_heads * (p.decay_per_key ? kDim : 1),
              .ld_beta = p.value_heads});
  return out;
}

Values golden_decay(uint32_t seed, int64_t heads, int64_t channels) {
  const int64_t n = heads * channels;
  Values rate = golden_input(seed, heads), x = golden_input(seed + 2, kTokens * n);
  decay_rates(rate.data(), heads, rate.data());
  decay_gate(golden_compute(), rate.data(), golden_input(seed + 1, n).data(), heads, channels, x.data(), n, kTokens,
             x.data(), n);
  return x;
}

TEST(RecurrentGolden, Qwen3Next) {
  const DeltaRuleParams p{2, 4, kDim, kDim};
  Values y = golden_rule(p, golden_input(1, kTokens * 64), golden_input(2, 64 * 4), golden_decay(3, 4, 1),
                         golden_input(6, kTokens * 4));
  gated_rms_norm_heads(golden_compute(), OutputGate::kSilu, y.data(), 32, golden_input(7, kDim).data(), 1e-6f,
                       golden_input(8, kTokens * 32).data(), 32, kTokens, 4, kDim, y.data(), 32);
  expect_golden(y, kQwen3Next);
}

TEST(RecurrentGolden, KimiLinear) {
  DeltaRuleParams p{2, 2, kDim, kDim};
  p.decay_per_key = true;
  Values y = golden_rule(p, golden_input(11, kTokens * 48), golden_input(12, 48 * 4), golden_decay(13, 2, kDim),
                         golden_input(16, kTokens * 2));
  gated_rms_norm_heads(golden_compute(), OutputGate::kSigmoid, y.data(), 16, golden_input(17, kDim).data(), 1e-6f,
                       golden_input(18, kTokens * 16).data(), 16, kTokens, 2, kDim, y.data(), 16);
  expect_golden(y, kKimiLinear);
}

// The golden values are the decay factors of the two heads, the norm's eps, then the outputs.
TEST(RecurrentGolden, LightningAttention) {
  const Compute c = golden_compute();
  Values qkv = golden_input(21, kTokens * 48);  // a head is [q | k | v]
  const Values ones(qkv.size(), 1.0f);
  gated_activation(c, Activation::kSilu, qkv.data(), 48, ones.data(), 48, kTokens, 48);
  DeltaRuleParams p{1, 1, kDim, kDim};
  p.delta = false;
  Values out(static_cast<size_t>(kTokens * 16));
  for (int64_t head = 0; head < 2; ++head) {
    const float decay = static_cast<float>(kLightning[head]);
    const float* q = qkv.data() + head * 3 * kDim;
    Values state(static_cast<size_t>(delta_rule_state_floats(p)));
    const RecurrentSlice slice{0, kTokens, state.data()};
    delta_rule(c, p, {&slice, 1},
               {.q = q,
                .k = q + kDim,
                .v = q + 2 * kDim,
                .decay = &decay,
                .out = out.data() + head * kDim,
                .ldq = 48,
                .ldk = 48,
                .ldv = 48,
                .ldo = 16});
  }
  gated_rms_norm_heads(c, OutputGate::kSigmoid, out.data(), 16, golden_input(23, 16).data(),
                       static_cast<float>(kLightning[2]), golden_input(22, kTokens * 16).data(), 16, kTokens, 1, 16,
                       out.data(), 16);
  expect_golden(out, std::span(kLightning).subspan(3));
}

}  // namespace
}  // namespace kinglet
