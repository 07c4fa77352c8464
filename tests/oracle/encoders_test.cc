// Encoders of text against transformers, on every model of tests/golden/models/encoders, by both roads: states of
// all tokens, embeddings under every pooling, what classification heads make of them, and that neighbours don't show.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "convert/hf_to_gguf.h"
#include "engine/embed.h"
#include "engine/loader.h"
#include "engine/rerank.h"
#include "families/family.h"
#include "formats/test_files.h"
#include "tests/support/compare.h"
#include "tests/support/golden.h"
#include "tests/support/models.h"

namespace kinglet::test {
namespace {

struct Case {
  const GoldenEncoder* golden;
  std::string road;
  const std::string& path() const { return road == "folder" ? golden->folder : golden->gguf; }
};

std::vector<Case> cases(bool rankers_only = false) {
  std::vector<Case> all;
  for (const GoldenEncoder& g : golden_encoders()) {
    if (rankers_only && g.scores.empty()) continue;
    all.push_back({&g, "folder"});
    if (!g.gguf.empty()) all.push_back({&g, "gguf"});
  }
  return all;
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
  std::string name = info.param.golden->name + "_" + info.param.road;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

ModelOptions exact_options(int threads = 2) {
  ModelOptions options;
  options.compute = ComputeMode::kF32;
  options.kv_type = KvType::kF32;
  options.page_positions = 16;
  options.threads = threads;
  return options;
}

std::unique_ptr<Model> load_or_fail(const std::string& path, const ModelOptions& options) {
  auto checkpoint = open_checkpoint(path);
  if (!checkpoint.ok()) {
    ADD_FAILURE() << checkpoint.error().message;
    return nullptr;
  }
  auto model = load_state_model(*checkpoint, options, 0);
  if (!model.ok()) {
    ADD_FAILURE() << model.error().message;
    return nullptr;
  }
  return std::move(model).value();
}

std::vector<TokenText> texts_of(const GoldenEncoder& golden) {
  std::vector<TokenText> texts;
  for (size_t i = 0; i < golden.texts.size(); i++) texts.push_back({golden.texts[i], golden.types[i]});
  return texts;
}

std::vector<float> states_of(Model& model, std::span<const TokenText> texts) {
  std::vector<float> states;
  const Status status = each_state(model, texts, false, [&](size_t, int64_t, std::span<const float> state) -> Status {
    states.insert(states.end(), state.begin(), state.end());
    return {};
  });
  EXPECT_TRUE(status.ok()) << status.error().message;
  return states;
}

std::vector<std::vector<float>> embeddings_of(Model& model, std::span<const TokenText> texts,
                                              const EmbedOptions& options) {
  std::vector<std::vector<float>> rows;
  const Status status = embed_texts(model, texts, options, [&](size_t i, std::span<const float> row) -> Status {
    EXPECT_EQ(i, rows.size()) << "out of order";
    rows.emplace_back(row.begin(), row.end());
    return {};
  });
  EXPECT_TRUE(status.ok()) << status.error().message;
  return rows;
}

class Encoder : public testing::TestWithParam<Case> {
 protected:
  const GoldenEncoder& golden() const { return *GetParam().golden; }
};

TEST_P(Encoder, StatesAreThoseOfTransformers) {
  auto model = load_or_fail(GetParam().path(), exact_options());
  ASSERT_TRUE(model);
  EXPECT_LE(largest_difference(states_of(*model, texts_of(golden())), golden().states), golden().tolerance);
}

TEST_P(Encoder, EmbeddingsAreThoseOfTransformers) {
  auto model = load_or_fail(GetParam().path(), exact_options());
  ASSERT_TRUE(model);
  const std::vector<TokenText> texts = texts_of(golden());
  const auto width = static_cast<size_t>(model->spec().width);
  const Pooling poolings[] = {Pooling::kMean, Pooling::kFirst, Pooling::kLast};
  for (size_t p = 0; p < 3; p++) {
    const auto rows = embeddings_of(*model, texts, {.pooling = poolings[p]});
    ASSERT_EQ(rows.size(), texts.size());
    for (size_t i = 0; i < rows.size(); i++)
      EXPECT_LE(largest_difference(rows[i], std::span(golden().embeddings).subspan((i * 3 + p) * width, width)),
                golden().tolerance)
          << "text " << i << " pooling " << p;
  }
}

TEST_P(Encoder, CutVectorsHaveLengthOneAndBareOnesTheirOwn) {
  auto model = load_or_fail(GetParam().path(), exact_options());
  ASSERT_TRUE(model);
  const std::vector<TokenText> texts = texts_of(golden());
  const auto whole = embeddings_of(*model, texts, {.normalise = false});
  const auto cut = embeddings_of(*model, texts, {.dimensions = 7});
  for (size_t i = 0; i < texts.size(); i++) {
    double squares = 0.0, cut_squares = 0.0;
    for (size_t j = 0; j < 7; j++) squares += double{whole[i][j]} * double{whole[i][j]};
    ASSERT_EQ(cut[i].size(), 7u);
    for (size_t j = 0; j < 7; j++) {
      EXPECT_NEAR(double{cut[i][j]}, double{whole[i][j]} / std::sqrt(squares), 1e-6);
      cut_squares += double{cut[i][j]} * double{cut[i][j]};
    }
    EXPECT_NEAR(cut_squares, 1.0, 1e-6);
  }
}

class Ranker : public Encoder {};

TEST_P(Ranker, ScoresAreThoseOfTransformers) {
  auto model = load_or_fail(GetParam().path(), exact_options());
  ASSERT_TRUE(model);
  RankHead head;
  if (!model->spec().is_encoder()) head.kind = RankHead::Kind::kJudgeLabels;
  if (!golden().judge.empty()) head = {RankHead::Kind::kJudgeTokens, 0, golden().judge[0], golden().judge[1]};
  std::vector<float> scores;
  const Status status = rank_pairs(*model, head, texts_of(golden()), [&](size_t i, float logit) -> Status {
    EXPECT_EQ(i, scores.size()) << "out of order";
    scores.push_back(logit);
    return {};
  });
  ASSERT_TRUE(status.ok()) << status.error().message;
  EXPECT_LE(largest_difference(scores, golden().scores), golden().tolerance);
}

// Alone, in any company, with any number of threads and size of page: the same bits.
TEST_P(Encoder, NeighboursDontShow) {
  auto model = load_or_fail(GetParam().path(), exact_options());
  ModelOptions other_options = exact_options(1);
  other_options.page_positions = 64;
  auto other = load_or_fail(GetParam().path(), other_options);
  ASSERT_TRUE(model && other);
  const std::vector<TokenText> texts = texts_of(golden());
  std::vector<TokenText> crowd;
  for (size_t i = 0; i < 40; i++) crowd.push_back(texts[(i * i + 3 * i) % texts.size()]);
  const auto together = embeddings_of(*model, crowd, {});
  for (size_t i = 0; i < crowd.size(); i++) {
    const auto alone = embeddings_of(*other, std::span(crowd).subspan(i, 1), {});
    ASSERT_TRUE(same_bits(alone[0], together[i])) << "text " << i;
  }
}

TEST_P(Encoder, WritesNoText) {
  auto checkpoint = open_checkpoint(GetParam().path());
  ASSERT_TRUE(checkpoint.ok());
  const auto bound = bind_model(**checkpoint);
  ASSERT_TRUE(bound.ok()) << bound.error().message;
  const auto steps = load_step_model(*checkpoint, exact_options());
  if (bound->has_head()) {  // a decoder that does both
    EXPECT_TRUE(steps.ok());
    return;
  }
  ASSERT_FALSE(steps.ok());
  EXPECT_THAT(steps.error().message, testing::HasSubstr(bound->spec.labels == 0 ? "kinglet embed" : "kinglet rerank"));
  EXPECT_EQ(steps.error().code, ErrorCode::kUnsupported);
  LoadOptions options;
  options.need_tokenizer = false;
  const auto engine = load_engine(*checkpoint, options);
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().message, steps.error().message);
}

TEST_P(Encoder, RefusesWhatItCannotRead) {
  auto model = load_or_fail(GetParam().path(), exact_options());
  ASSERT_TRUE(model);
  const auto refusal = [&](TokenText text) {
    const TokenText texts[] = {std::move(text)};
    const Status status = embed_texts(*model, texts, {}, [](size_t, std::span<const float>) { return Status(); });
    return status.ok() ? std::string("nothing") : status.error().message;
  };
  const auto context = static_cast<size_t>(model->context());
  EXPECT_THAT(refusal({std::vector<int32_t>(context + 1, 5), {}}), testing::HasSubstr("more than the context"));
  EXPECT_THAT(refusal({}), testing::HasSubstr("no tokens"));
  EXPECT_THAT(refusal({{5, static_cast<int32_t>(model->spec().vocabulary)}, {}}), testing::HasSubstr("vocabulary"));
  EXPECT_THAT(refusal({{5, -1}, {}}), testing::HasSubstr("vocabulary"));
  EXPECT_THAT(refusal({{5, 6}, {0, 2}}), testing::HasSubstr("token type 2"));
  EXPECT_THAT(refusal({{5, 6}, {0}}), testing::HasSubstr("1 token types for 2 tokens"));
  EXPECT_EQ(refusal({std::vector<int32_t>(context, 5), {}}), "nothing");
  if (!model->spec().is_encoder()) return;
  auto checkpoint = open_checkpoint(GetParam().path());
  ModelOptions longer = exact_options();
  longer.context = model->context() + 1;
  const auto refused = load_state_model(*checkpoint, longer, 0);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, testing::HasSubstr("learned places"));
}

INSTANTIATE_TEST_SUITE_P(Golden, Encoder, testing::ValuesIn(cases()), case_name);
INSTANTIATE_TEST_SUITE_P(Golden, Ranker, testing::ValuesIn(cases(true)), case_name);

// States, and what the head makes of each text's, of a folder and of the file that it is converted to.
void expect_same_bits_converted(const GoldenEncoder& golden, const std::string& file) {
  auto before = load_or_fail(golden.folder, exact_options()), after = load_or_fail(file, exact_options());
  ASSERT_TRUE(before && after) << golden.name;
  const std::vector<TokenText> texts = texts_of(golden);
  const std::vector<float> a = states_of(*before, texts), b = states_of(*after, texts);
  ASSERT_EQ(a.size(), b.size()) << golden.name;
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0) << golden.name;
  if (golden.scores.empty() || golden.judge.size() == 2) return;
  const auto state = std::span(a).first(static_cast<size_t>(before->spec().width));
  const std::vector<float> labels = before->classify(state), made = after->classify(state);
  ASSERT_GE(made.size(), labels.size()) << golden.name;
  EXPECT_EQ(labels[0], made[0]) << golden.name;
  // Qwen3's single label stands there as that of "yes" beside a "no" of 0.
  if (made.size() == 2) {
    EXPECT_EQ(made[1], 0.0f) << golden.name;
  }
}

TEST(Encoders, ConvertedFoldersComputeTheSameBits) {
  const testing_files::TemporaryFolder folder;
  ThreadPool pool(1);
  std::vector<std::string> refused;
  for (const GoldenEncoder& golden : golden_encoders()) {
    auto source = open_checkpoint(golden.folder);
    ASSERT_TRUE(source.ok()) << golden.name;
    const std::string file = folder.path(golden.name + ".gguf");
    const auto report = convert::convert_folder(**source, file, {}, pool);
    if (report.ok())
      expect_same_bits_converted(golden, file);
    else
      refused.push_back(golden.name + ": " + report.error().message.substr(0, report.error().message.find(':')));
  }
  // llama.cpp knows one activation of BERT, and has no key for another.
  EXPECT_THAT(refused, testing::ElementsAre("bert-cross: activation"));
}

// all-MiniLM-L6-v2 as a user runs it: text in, by the model's own tokenizer, places and pooling.
TEST(RealModelEmbeddings, MiniLm) {
  KINGLET_TEST_MODEL(path, "minilm");
  const SentenceGolden golden = sentence_golden("minilm");
  auto checkpoint = open_checkpoint(path);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  const auto pooling = stated_pooling(**checkpoint);
  ASSERT_TRUE(pooling.ok() && *pooling == Pooling::kMean);
  EXPECT_EQ(*stated_text_limit(**checkpoint), 256);
  const auto tokenizer = Tokenizer::from_checkpoint(**checkpoint);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  std::vector<TokenText> texts;
  for (size_t i = 0; i < golden.texts.size(); i++) {
    const auto tokens = encode_within(**tokenizer, golden.texts[i], 256, false);
    ASSERT_TRUE(tokens.ok()) << tokens.error().message;
    EXPECT_EQ(*tokens, golden.tokens[i]) << golden.texts[i];
    texts.push_back({*tokens, {}});
  }
  for (const KvType kv : {KvType::kF32, KvType::kF16}) {
    ModelOptions options = exact_options();
    options.kv_type = kv;
    auto model = load_or_fail(path, options);
    ASSERT_TRUE(model);
    const auto rows = embeddings_of(*model, texts, {});
    double least = 1.0, worst = 0.0;
    for (size_t i = 0; i < rows.size(); i++) {
      const std::span expected = std::span(golden.embeddings).subspan(i * rows[i].size(), rows[i].size());
      double dot = 0.0, a = 0.0, b = 0.0;
      for (size_t j = 0; j < rows[i].size(); j++) {
        dot += double{rows[i][j]} * double{expected[j]};
        a += double{rows[i][j]} * double{rows[i][j]};
        b += double{expected[j]} * double{expected[j]};
      }
      least = std::min(least, dot / std::sqrt(a * b));
      worst = std::max(worst, largest_difference(rows[i], expected));
    }
    std::printf("minilm, KV %s: least cosine %.8f, largest difference %.1e\n", kv == KvType::kF32 ? "f32" : "f16",
                least, worst);
    EXPECT_GE(least, 0.999999);
    EXPECT_LE(worst, kv == KvType::kF32 ? 5e-6 : 1e-3);
  }
}

// The file that `kinglet convert` makes of it: ids of texts of many scripts, and the embeddings' bits.
TEST(RealModelEmbeddings, MiniLmConverted) {
  KINGLET_TEST_MODEL(path, "minilm");
  const auto folder = open_checkpoint(path);
  ASSERT_TRUE(folder.ok()) << folder.error().message;
  const testing_files::TemporaryFolder scratch;
  ThreadPool pool(2);
  const auto report = convert::convert_folder(**folder, scratch.path("minilm.gguf"), {}, pool);
  ASSERT_TRUE(report.ok()) << report.error().message;
  const auto file = open_checkpoint(scratch.path("minilm.gguf"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(*stated_pooling(**file), Pooling::kMean);
  const auto before = Tokenizer::from_checkpoint(**folder), after = Tokenizer::from_checkpoint(**file);
  ASSERT_TRUE(before.ok() && after.ok());
  std::ifstream lines(KINGLET_SOURCE_DIR "/tests/golden/text/texts.jsonl");
  size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto text = nlohmann::json::parse(line).get<std::string>();
    for (const bool special : {true, false}) {
      const EncodeOptions how{.add_special = special, .parse_special = special};
      EXPECT_EQ(*(*before)->encode(text, how), *(*after)->encode(text, how)) << line;
    }
  }
  EXPECT_GE(count, 2000u);
  auto model = load_or_fail(path, exact_options()), made = load_or_fail(scratch.path("minilm.gguf"), exact_options());
  ASSERT_TRUE(model && made);
  std::vector<TokenText> texts;
  for (const auto& tokens : sentence_golden("minilm").tokens) texts.push_back({tokens, {}});
  EXPECT_EQ(embeddings_of(*model, texts, {}), embeddings_of(*made, texts, {}));
}

}  // namespace
}  // namespace kinglet::test
