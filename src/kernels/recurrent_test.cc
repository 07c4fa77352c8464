#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "kernels/ops_recurrent.h"
#include "kernels/rows_test_support.h"

namespace kinglet {
namespace {

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

}  // namespace
}  // namespace kinglet
