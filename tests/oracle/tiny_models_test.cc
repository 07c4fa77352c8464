// The forward pass in f32 mode against transformers, on every tiny model of tests/golden/models/models.json, by both
// roads (Hugging Face folder, GGUF). A family is added there, not here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <set>

#include "families/family.h"
#include "formats/decode.h"
#include "tests/support/compare.h"
#include "tests/support/golden.h"
#include "tests/support/runner.h"

namespace kinglet::test {
namespace {

// The context is the golden sequence's, or nearly: LongRoPE's choice of factors depends on it.
ModelOptions exact_options(const GoldenModel& golden) {
  ModelOptions options;
  options.compute = ComputeMode::kF32;
  options.kv_type = KvType::kF32;
  options.context = std::max<int64_t>(128, std::ssize(golden.tokens));
  options.threads = 2;
  return options;
}

std::unique_ptr<Model> load_or_fail(const std::string& path, const ModelOptions& options) {
  auto checkpoint = open_checkpoint(path);
  if (!checkpoint.ok()) {
    ADD_FAILURE() << path << ": " << checkpoint.error().message;
    return nullptr;
  }
  auto model = Model::load(*checkpoint, options);
  if (!model.ok()) {
    ADD_FAILURE() << path << ": " << model.error().message;
    return nullptr;
  }
  return std::move(model).value();
}

struct Case {
  const GoldenModel* golden;
  std::string road;  // "folder" or "gguf"
  const std::string& path() const { return road == "folder" ? golden->folder : golden->gguf; }
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const GoldenModel& g : golden_models()) {
    if (!g.folder.empty()) all.push_back({&g, "folder"});
    if (!g.gguf.empty()) all.push_back({&g, "gguf"});
  }
  return all;
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
  return test_name(info.param.golden->name + "_" + info.param.road);
}

class TinyModel : public testing::TestWithParam<Case> {
 protected:
  const GoldenModel& golden() const { return *GetParam().golden; }
};

TEST_P(TinyModel, LogitsAreThoseOfTransformers) {
  auto model = load_or_fail(GetParam().path(), exact_options(golden()));
  ASSERT_TRUE(model);
  EXPECT_EQ(model->spec().vocabulary, golden().vocabulary);
  const Array<float> expected = read_npy_float(golden().logits_file);
  const std::vector<float> found = run_alone(*model, golden().tokens, golden().tokens.size());
  EXPECT_LE(largest_difference(found, expected.values), golden().tolerance);
}

TEST_P(TinyModel, ChunksSingleTokensAndNeighboursGiveTheSameBits) {
  auto model = load_or_fail(GetParam().path(), exact_options(golden()));
  ASSERT_TRUE(model);
  const std::vector<int32_t>& tokens = golden().tokens;
  const std::vector<float> whole = run_alone(*model, tokens, tokens.size());
  EXPECT_TRUE(same_bits(run_alone(*model, tokens, 7), whole)) << "in chunks of 7";
  EXPECT_TRUE(same_bits(run_alone(*model, tokens, 1), whole)) << "token by token";

  // Between two neighbours of other lengths and paces, one of them the same text from its middle on.
  SequenceRun ahead(*model, {tokens.begin() + static_cast<std::ptrdiff_t>(tokens.size() / 2), tokens.end()});
  SequenceRun ours(*model, tokens);
  SequenceRun behind(*model, {tokens.rbegin(), tokens.rend()});
  SequenceRun* const all[] = {&ahead, &ours, &behind};
  for (size_t i = 0; !ours.done(); i++) {
    const size_t counts[] = {1, i % 3 == 0 ? 1ul : 11ul, i % 2 == 0 ? 5ul : 0ul};
    step(*model, all, counts);
  }
  EXPECT_TRUE(same_bits(ours.logits(), whole)) << "beside other sequences";
}

TEST_P(TinyModel, PageSizeAndThreadsDontShow) {
  auto model = load_or_fail(GetParam().path(), exact_options(golden()));
  ModelOptions options = exact_options(golden());
  options.page_positions = 16;
  options.threads = 1;
  auto other = load_or_fail(GetParam().path(), options);
  ASSERT_TRUE(model && other);
  EXPECT_TRUE(same_bits(run_alone(*other, golden().tokens, 9), run_alone(*model, golden().tokens, 64)));
}

INSTANTIATE_TEST_SUITE_P(All, TinyModel, testing::ValuesIn(cases()), case_name);

// ---- both roads state the same model

std::vector<const GoldenModel*> with_both_roads() {
  std::vector<const GoldenModel*> rows;
  for (const GoldenModel& g : golden_models())
    if (!g.folder.empty() && !g.gguf.empty()) rows.push_back(&g);
  return rows;
}

class BothRoads : public testing::TestWithParam<const GoldenModel*> {};

TEST_P(BothRoads, GiveTheSameBits) {
  auto folder = load_or_fail(GetParam()->folder, exact_options(*GetParam()));
  auto gguf = load_or_fail(GetParam()->gguf, exact_options(*GetParam()));
  ASSERT_TRUE(folder && gguf);
  const std::vector<int32_t>& tokens = GetParam()->tokens;
  const std::vector<float> a = run_alone(*folder, tokens, 64), b = run_alone(*gguf, tokens, 64);
  EXPECT_TRUE(same_bits(a, b)) << "largest difference " << largest_difference(a, b);
}

INSTANTIATE_TEST_SUITE_P(All, BothRoads, testing::ValuesIn(with_both_roads()),
                         [](const auto& row) { return test_name(row.param->name); });

// A copy of `base` in which the rows of attn_q, attn_k and attn_v of every layer are one tensor.
struct Joined {
  std::deque<std::string> names;
  std::deque<std::vector<std::byte>> rows;
  std::shared_ptr<Checkpoint> checkpoint;
};

Joined join_attention(const Checkpoint& base) {
  Joined joined;
  joined.checkpoint = std::make_shared<Checkpoint>(base);
  std::vector<TensorView>& tensors = joined.checkpoint->tensors;
  tensors.clear();
  for (const TensorView& tensor : base.tensors) {
    const size_t at = tensor.name.find(".attn_");
    const bool q = tensor.name.find(".attn_q.") != std::string::npos;
    const bool kv =
        tensor.name.find(".attn_k.") != std::string::npos || tensor.name.find(".attn_v.") != std::string::npos;
    if (!q && !kv) tensors.push_back(tensor);
    if (!q) continue;
    const std::string kind = std::string(tensor.name.substr(at + 8));  // "weight" or "bias"
    std::vector<std::byte>& rows = joined.rows.emplace_back();
    TensorView whole = tensor;
    whole.shape[0] = 0;
    for (const char* part : {".attn_q.", ".attn_k.", ".attn_v."}) {
      const TensorView* one = base.find(std::string(tensor.name.substr(0, at)) + part + kind);
      rows.insert(rows.end(), one->data.begin(), one->data.end());
      whole.shape[0] += one->shape[0];
    }
    whole.name = joined.names.emplace_back(std::string(tensor.name.substr(0, at)) + ".attn_qkv." + kind);
    whole.data = rows;
    tensors.push_back(whole);
  }
  joined.checkpoint->index.clear();
  for (size_t i = 0; i < tensors.size(); i++) joined.checkpoint->index.emplace(tensors[i].name, i);
  return joined;
}

// GLM-4-9B of the repositories with code of their own: what is rotated lies in one tensor with what isn't.
TEST(Glm, AttentionInOneTensorGivesTheSameBits) {
  const auto golden = std::find_if(golden_models().begin(), golden_models().end(),
                                   [](const GoldenModel& g) { return g.name == "glm-biases"; });
  ASSERT_NE(golden, golden_models().end());
  const auto base = open_checkpoint(golden->gguf);
  ASSERT_TRUE(base.ok()) << base.error().message;
  const Joined joined = join_attention(**base);
  EXPECT_LT(joined.checkpoint->tensors.size(), (*base)->tensors.size());
  auto one = Model::load(joined.checkpoint, exact_options(*golden));
  auto three = Model::load(*base, exact_options(*golden));
  ASSERT_TRUE(one.ok() && three.ok()) << (one.ok() ? "" : one.error().message);
  EXPECT_TRUE(same_bits(run_alone(**one, golden->tokens, 64), run_alone(**three, golden->tokens, 64)));
}

// ---- the golden values would show a mistake of 1 % in any tensor

// A copy of `base` in which one tensor is float and 1 % larger, as a whole or in its elements of odd index.
struct Perturbed {
  std::vector<float> values;
  std::shared_ptr<Checkpoint> checkpoint;
};

Perturbed perturb(const std::shared_ptr<const Checkpoint>& base, size_t tensor, bool whole) {
  Perturbed p;
  p.checkpoint = std::make_shared<Checkpoint>(*base);  // its index views names that `base` keeps
  TensorView& view = p.checkpoint->tensors[tensor];
  p.values.resize(static_cast<size_t>(view.elements()));
  decode_tensor(view, p.values);
  for (size_t i = whole ? 0 : 1; i < p.values.size(); i += whole ? 1 : 2) p.values[i] *= 1.01f;
  TensorView floats;  // without a source, scale or order of its own
  floats.name = view.name;
  floats.dtype = DType::kF32;
  floats.shape = view.shape;
  floats.data = std::as_bytes(std::span(p.values));
  view = floats;
  return p;
}

std::vector<const GoldenModel*> with_folder() {
  std::vector<const GoldenModel*> rows;
  for (const GoldenModel& g : golden_models())
    if (!g.folder.empty()) rows.push_back(&g);
  return rows;
}

// A tensor's name in the text model alone.
std::string text_name(std::string name) {
  const std::string_view part = "language_model.";
  if (const size_t at = name.find(part); at != std::string::npos) name.erase(at, part.size());
  return name;
}

class Sensitivity : public testing::TestWithParam<const GoldenModel*> {};

TEST_P(Sensitivity, OnePercentOfAnyTensorShows) {
  const GoldenModel& golden = *GetParam();
  auto base = open_checkpoint(golden.folder);
  ASSERT_TRUE(base.ok()) << base.error().message;
  const std::vector<float> expected = read_npy_float(golden.logits_file).values;
  size_t measured = 0;
  for (size_t i = 0; i < (*base)->tensors.size(); i++) {
    const std::string& stored = (*base)->tensors[i].name;
    const auto row = golden.sensitivity.find(text_name(stored));
    if (row == golden.sensitivity.end()) continue;  // of a vision part
    const auto [whole, odd] = row->second;
    const Perturbed changed = perturb(*base, i, whole >= odd);
    auto model = Model::load(changed.checkpoint, exact_options(golden));
    ASSERT_TRUE(model.ok()) << model.error().message;
    const double moved = largest_difference(run_alone(**model, golden.tokens, 64), expected);
    EXPECT_GT(moved, 10.0 * golden.tolerance) << stored;
    EXPECT_NEAR(moved, std::max(whole, odd), 0.02 * std::max(whole, odd) + golden.tolerance) << stored;
    measured++;
  }
  EXPECT_EQ(measured, golden.sensitivity.size());
}

INSTANTIATE_TEST_SUITE_P(All, Sensitivity, testing::ValuesIn(with_folder()),
                         [](const auto& row) { return test_name(row.param->name); });

// ---- the list itself

TEST(GoldenModels, EveryFamilyHasTwoModelsAndOneOfThemAsGguf) {
  std::map<std::string, int> folders, files;
  const auto count = [&](const std::string& folder, const std::string& gguf) {
    const auto checkpoint = open_checkpoint(folder);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
    const auto family = find_family(**checkpoint);
    ASSERT_TRUE(family.ok()) << family.error().message;
    folders[std::string((*family)->name)]++;
    if (!gguf.empty()) files[std::string((*family)->name)]++;
  };
  for (const GoldenModel& g : golden_models())
    if (g.kind == "tiny") count(g.folder, g.gguf);
  for (const GoldenEncoder& g : golden_encoders()) count(g.folder, g.gguf);
  for (const Family* family : all_families()) {
    EXPECT_GE(folders[std::string(family->name)], 2) << family->name;
    if (!family->gguf_architectures.empty()) {
      EXPECT_GE(files[std::string(family->name)], 1) << family->name;
    }
  }
}

TEST(GoldenModels, LogitsAreFarFromFlat) {
  for (const GoldenModel& g : golden_models()) {
    const Array<float> logits = read_npy_float(g.logits_file);
    ASSERT_THAT(logits.shape, testing::ElementsAre(static_cast<int64_t>(g.tokens.size()), g.vocabulary)) << g.name;
    double sum = 0.0, squares = 0.0;
    for (const float x : logits.values) sum += double{x}, squares += double{x} * double{x};
    const double n = static_cast<double>(logits.values.size());
    EXPECT_GE(std::sqrt(squares / n - sum / n * (sum / n)), 0.7) << g.name;
    for (const auto& [feature, moved] : g.features) EXPECT_GT(moved, 10.0 * g.tolerance) << g.name << ": " << feature;
  }
}

}  // namespace
}  // namespace kinglet::test
