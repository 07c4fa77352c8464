// Real weights: f32 mode against transformers over 256 tokens, and int8 mode against f32 mode over 2,000. The models
// are fetched by ./test; where one is missing its tests say so.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/support/golden.h"
#include "tests/support/models.h"
#include "tests/support/runner.h"

namespace kinglet::test {
namespace {

constexpr size_t kChunk = 100;
constexpr size_t kGoldenChunk = 48;

std::unique_ptr<Model> load_or_fail(const std::string& path, ComputeMode compute, KvType kv) {
  ModelOptions options;
  options.compute = compute;
  options.kv_type = kv;
  options.context = 2048;
  auto checkpoint = open_checkpoint(path);
  if (!checkpoint.ok()) {
    ADD_FAILURE() << checkpoint.error().message;
    return nullptr;
  }
  auto model = Model::load(*checkpoint, options);
  if (!model.ok()) {
    ADD_FAILURE() << model.error().message;
    return nullptr;
  }
  return std::move(model).value();
}

// Largest differences to golden values so far; NaN counts as infinite.
struct RowErrors {
  double logit = 0.0, log_sum = 0.0;
  double top = 0.0;  // of the largest logit of the whole row: nothing outside the golden columns may exceed it

  void add(const RealGolden& golden, size_t position, std::span<const float> logits, const Compute& compute) {
    const size_t columns = static_cast<size_t>(golden.columns), first = position * columns;
    for (size_t at = first; at < first + columns; at++)
      raise(logit, logits[static_cast<size_t>(golden.ids[at])], golden.logits[at]);
    raise(log_sum, log_sum_exp(compute, logits.data(), golden.vocabulary), golden.log_sum_exp[position]);
    raise(top, *std::max_element(logits.begin(), logits.end()), golden.logits[first]);
  }

 private:
  static void raise(double& worst, float found, float expected) {
    const double d = std::abs(double{found} - double{expected});
    if (!(d <= worst)) worst = std::isnan(d) ? INFINITY : d;
  }
};

class RealModel : public testing::TestWithParam<const char*> {};

TEST_P(RealModel, LogitsAreThoseOfTransformers) {
  KINGLET_TEST_MODEL(path, GetParam());
  const RealGolden golden = real_golden(GetParam());
  auto model = load_or_fail(path, ComputeMode::kF32, KvType::kF32);
  ASSERT_TRUE(model);
  ASSERT_EQ(model->spec().vocabulary, golden.vocabulary);
  SequenceRun run(*model, golden.tokens);
  RowErrors errors;
  for (size_t position = 0; !run.done();) {
    const StepSlice slice = run.next(kGoldenChunk);
    std::span<const float> logits = model->forward(std::span(&slice, 1));
    for (size_t i = 0; i < slice.tokens.size(); i++, position++) {
      errors.add(golden, position, logits.first(static_cast<size_t>(golden.vocabulary)), model->compute());
      logits = logits.subspan(static_cast<size_t>(golden.vocabulary));
    }
  }
  std::printf("%s: largest difference of a logit %.1e, of a log sum %.1e\n", GetParam(), errors.logit, errors.log_sum);
  RecordProperty("largest_difference", std::to_string(errors.logit));
  EXPECT_LE(errors.logit, golden.tolerance);
  EXPECT_LE(errors.log_sum, golden.tolerance);
  EXPECT_LE(errors.top, golden.tolerance);
}

struct RowComparison {
  double divergence = 0.0;  // KL(p || q) in nats
  double loss = 0.0;        // -log p(target)
  bool same_top = false;
};

RowComparison compare_rows(const Compute& compute, std::span<const float> p, std::span<const float> q, int32_t target) {
  const int64_t n = static_cast<int64_t>(p.size());
  const float p_sum = log_sum_exp(compute, p.data(), n), q_sum = log_sum_exp(compute, q.data(), n);
  RowComparison row;
  for (size_t i = 0; i < p.size(); i++) {
    const float log_p = p[i] - p_sum;
    if (log_p > -30.0f) row.divergence += double{std::exp(log_p)} * (double{log_p} - double{q[i] - q_sum});
  }
  row.loss = double{p_sum} - double{p[static_cast<size_t>(target)]};
  row.same_top = std::max_element(p.begin(), p.end()) - p.begin() == std::max_element(q.begin(), q.end()) - q.begin();
  return row;
}

TEST_P(RealModel, Int8StaysCloseToF32) {
  KINGLET_TEST_MODEL(path, GetParam());
  const RealGolden golden = real_golden(GetParam());
  auto exact = load_or_fail(path, ComputeMode::kF32, KvType::kF32);
  auto fast = load_or_fail(path, ComputeMode::kInt8, KvType::kF16);
  ASSERT_TRUE(exact && fast);
  const std::vector<int32_t> tokens(golden.long_tokens.begin(), golden.long_tokens.end() - 1);
  SequenceRun exact_run(*exact, tokens), fast_run(*fast, tokens);
  const size_t vocabulary = static_cast<size_t>(golden.vocabulary);
  double divergence = 0.0, loss = 0.0;
  size_t agreements = 0, position = 0;
  while (!exact_run.done()) {
    const StepSlice a = exact_run.next(kChunk), b = fast_run.next(kChunk);
    const std::span<const float> p = exact->forward(std::span(&a, 1)), q = fast->forward(std::span(&b, 1));
    for (size_t i = 0; i < a.tokens.size(); i++, position++) {
      const RowComparison row = compare_rows(exact->compute(), p.subspan(i * vocabulary, vocabulary),
                                             q.subspan(i * vocabulary, vocabulary), golden.long_tokens[position + 1]);
      divergence += row.divergence, loss += row.loss, agreements += row.same_top ? 1 : 0;
    }
  }
  const double n = static_cast<double>(position);
  RecordProperty("mean_divergence", std::to_string(divergence / n));
  RecordProperty("top1_agreement", std::to_string(static_cast<double>(agreements) / n));
  std::printf("%s: KL(f32 || int8) %.5f nats, top-1 agreement %.2f %%, perplexity %.2f\n", GetParam(), divergence / n,
              100.0 * static_cast<double>(agreements) / n, std::exp(loss / n));
  EXPECT_LE(divergence / n, 0.01);
  EXPECT_GE(static_cast<double>(agreements) / n, 0.95);
  EXPECT_NEAR(std::exp(loss / n), golden.perplexity_long, 0.001 * golden.perplexity_long);
}

std::string model_name(const testing::TestParamInfo<const char*>& param) {
  std::string name = param.param;
  std::replace_if(name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, RealModel, testing::Values("smollm2", "qwen2.5-coder-0.5b", "gemma3-270m"), model_name);

}  // namespace
}  // namespace kinglet::test
