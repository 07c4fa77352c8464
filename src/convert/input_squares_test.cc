#include "convert/input_squares.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/memory.h"
#include "convert/quantise_model.h"
#include "formats/decode.h"
#include "formats/test_files.h"
#include "nn/model.h"

namespace kinglet::convert {
namespace {

using testing_files::TemporaryFolder;

const std::string kGolden = KINGLET_SOURCE_DIR "/tests/golden/models/";
constexpr int kTokens = 40;

std::shared_ptr<const Checkpoint> open(const std::string& path) {
  auto opened = open_checkpoint(path);
  EXPECT_TRUE(opened.ok()) << opened.error().message;
  return opened.ok() ? *opened : nullptr;
}

std::vector<int32_t> some_tokens() {
  std::vector<int32_t> tokens;
  for (int i = 0; i < kTokens; ++i) tokens.push_back(i * 37 % 89);
  return tokens;
}

// What some_tokens() bring to every matrix, with `step` tokens a step.
std::map<std::string, MeasuredInputs> measure(const std::string& path, int64_t step) {
  const auto checkpoint = open(path);
  auto squares = InputSquares::create(*bind_model(*checkpoint));
  EXPECT_TRUE(squares.ok());
  ModelOptions options;
  options.compute = ComputeMode::kF32;
  options.threads = 1;
  options.context = 64;
  const auto loaded = Model::load(checkpoint, options);
  Model* model = loaded->get();
  auto page = AlignedBuffer::allocate(model->plan().page_bytes);
  std::byte* const pages[] = {page->as<std::byte>()};
  std::fill_n(pages[0], model->plan().page_bytes, std::byte{0});
  auto state = AlignedBuffer::allocate(model->state_bytes());
  std::fill_n(state->data(), model->state_bytes(), std::byte{0});
  const ObserveProducts observed(*squares);
  std::vector<int32_t> tokens = some_tokens();
  for (int32_t& token : tokens) token %= static_cast<int32_t>(model->spec().vocabulary);
  for (int64_t at = 0; at < kTokens; at += step) {
    StepSlice slice;
    slice.tokens = std::span(tokens).subspan(static_cast<size_t>(at), static_cast<size_t>(step));
    slice.first_position = at;
    slice.pages = pages;
    slice.logits = LogitRows::kNone;
    slice.state = state->data();
    model->forward({&slice, 1});
  }
  return squares->measured();
}

// The first layer's normed embeddings, computed in double precision.
std::vector<double> squares_of_first_inputs(const Checkpoint& checkpoint) {
  const BoundModel bound = *bind_model(checkpoint);
  const auto width = static_cast<size_t>(bound.spec.width);
  std::vector<float> row(width), norm(width);
  decode_tensor(*bound.find(Slot::kAttentionNorm, 0)->tensor, norm);
  std::vector<double> sums(width);
  for (const int32_t token : some_tokens()) {
    decode_row(*bound.find(Slot::kEmbedding)->tensor, token, row);
    double square = 0;
    for (const float value : row) square += static_cast<double>(value) * static_cast<double>(value);
    const double scale = 1 / std::sqrt(square / static_cast<double>(width) + bound.spec.norm_epsilon);
    for (size_t i = 0; i < width; ++i) {
      const double input = static_cast<double>(row[i]) * scale * static_cast<double>(norm[i]);
      sums[i] += input * input;
    }
  }
  return sums;
}

TEST(InputSquares, EqualAPlainComputation) {
  const std::string path = kGolden + "gguf/qwen2-tied.gguf";
  const auto measured = measure(path, kTokens);
  const std::vector<double> expected = squares_of_first_inputs(*open(path));
  for (const char* name : {"blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"}) {
    ASSERT_TRUE(measured.contains(name)) << name;
    const MeasuredInputs& inputs = measured.at(name);
    EXPECT_EQ(inputs.counts, std::vector<int64_t>{kTokens});
    ASSERT_EQ(inputs.sums.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(inputs.sums[i], expected[i], 1e-5 * expected[i]) << name << ' ' << i;
  }
  EXPECT_TRUE(measured.contains("blk.1.ffn_down.weight"));
  EXPECT_FALSE(measured.contains("token_embd.weight"));  // the output head
}

TEST(InputSquares, DontDependOnSteps) {
  const std::string path = kGolden + "gguf/mixtral-six.gguf";
  const auto whole = measure(path, kTokens), split = measure(path, 8);
  ASSERT_EQ(whole.size(), split.size());
  for (const auto& [name, inputs] : whole) {
    EXPECT_EQ(inputs.counts, split.at(name).counts) << name;
    for (size_t i = 0; i < inputs.sums.size(); ++i)
      EXPECT_NEAR(inputs.sums[i], split.at(name).sums[i], 1e-12 * inputs.sums[i]) << name;
  }
}

// Every token meets the router once and `used` experts, with the same input: over all experts the sums are `used` times
// the router's.
TEST(InputSquares, ExpertsShareTheTokens) {
  const std::string path = kGolden + "hf/mixtral-six";
  const BoundModel bound = *bind_model(*open(path));
  const MoeSpec& moe = bound.spec.layers[0].ffn.moe;
  const auto measured = measure(path, kTokens);
  const MeasuredInputs &router = measured.at("blk.0.ffn_gate_inp.weight"),
                       &experts = measured.at("blk.0.ffn_gate_exps.weight");
  EXPECT_EQ(router.counts, std::vector<int64_t>{kTokens});
  ASSERT_EQ(std::ssize(experts.counts), moe.experts);
  EXPECT_EQ(std::accumulate(experts.counts.begin(), experts.counts.end(), int64_t{0}), kTokens * moe.used);
  const size_t width = router.sums.size();
  for (size_t i = 0; i < width; ++i) {
    double sum = 0;
    for (size_t e = 0; e < experts.counts.size(); ++e) sum += experts.sums[e * width + i];
    const double expected = router.sums[i] * static_cast<double>(moe.used);
    EXPECT_NEAR(sum, expected, 1e-9 * expected);
  }
}

// DeepSeek-V4's groups of heads have inputs of their own, though files hold their matrices as one.
TEST(InputSquares, GroupsOfHeadsAreMeasuredApartAndFitTheirTensor) {
  const TemporaryFolder folder;
  ThreadPool pool(1);
  const std::string path = kGolden + "gguf/deepseek-v4-released.gguf";
  const auto measured = measure(path, kTokens);
  const MeasuredInputs& groups = measured.at("blk.1.attn_output_a.weight");
  EXPECT_EQ(groups.counts, (std::vector<int64_t>{kTokens, kTokens, kTokens}));
  EXPECT_EQ(groups.sums.size(), 3u * 20);
  ASSERT_TRUE(write_importance(folder.path("i.gguf"), measured, 64, "test").ok());
  const auto importance = Importance::read(folder.path("i.gguf"));
  ASSERT_TRUE(importance.ok()) << importance.error().message;
  QuantiseOptions options;
  options.mix = *find_mix("Q4_0");
  options.importance = &*importance;
  const auto made = quantise_model(*open(path), folder.path("made.gguf"), options, pool);
  ASSERT_TRUE(made.ok()) << made.error().message;
  ModelOptions short_context;
  short_context.context = 64;
  const auto loaded = Model::load(open(folder.path("made.gguf")), short_context);
  EXPECT_TRUE(loaded.ok()) << loaded.error().message;
}

// sum over columns of (mean square of the input) * (error of the weight)^2
double weighted_error(const Checkpoint& original, const Checkpoint& made, const Importance& importance) {
  double error = 0;
  for (const TensorView& tensor : original.tensors) {
    const std::span<const float> means = importance.find(tensor.name);
    if (means.empty()) continue;
    std::vector<float> before(static_cast<size_t>(tensor.elements())), after = before;
    decode_tensor(tensor, before);
    decode_tensor(*made.find(tensor.name), after);
    const auto columns = static_cast<size_t>(tensor.columns());
    const size_t part = before.size() / (means.size() / columns);
    for (size_t i = 0; i < before.size(); ++i) {
      const double missing = static_cast<double>(before[i]) - static_cast<double>(after[i]);
      error += static_cast<double>(means[i / part * columns + i % columns]) * missing * missing;
    }
  }
  return error;
}

TEST(InputSquares, QuantisingByThemLosesLessWhereItMatters) {
  const TemporaryFolder folder;
  ThreadPool pool(1);
  for (const std::string name : {"qwen2-tied", "qwen3-five"}) {
    const std::string path = kGolden + "gguf/" + name + ".gguf";
    ASSERT_TRUE(write_importance(folder.path("i.gguf"), measure(path, kTokens), 64, "test").ok());
    const auto importance = Importance::read(folder.path("i.gguf"));
    ASSERT_TRUE(importance.ok()) << importance.error().message;
    const auto original = open(path);
    QuantiseOptions options;
    options.mix = *find_mix("Q4_0");
    ASSERT_TRUE(quantise_model(*original, folder.path("plain.gguf"), options, pool).ok());
    options.importance = &*importance;
    ASSERT_TRUE(quantise_model(*original, folder.path("weighted.gguf"), options, pool).ok());
    const double plain = weighted_error(*original, *open(folder.path("plain.gguf")), *importance);
    const double weighted = weighted_error(*original, *open(folder.path("weighted.gguf")), *importance);
    EXPECT_LT(weighted, 0.97 * plain) << name;
    EXPECT_GT(weighted, 0) << name;
  }
}

}  // namespace
}  // namespace kinglet::convert
