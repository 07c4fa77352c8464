// Prediction layers (MTP) in f32 mode against transformers' decoder layers (golden/models/make_predictions.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "nn/model.h"
#include "tests/support/golden.h"

namespace kinglet::test {
namespace {

struct Pages {
  explicit Pages(const Model& model) {
    for (int i = 0; i < 8; ++i) {
      buffers.push_back(std::move(AlignedBuffer::allocate(model.plan().page_bytes)).value());
      data.push_back(buffers.back().data());
    }
    if (model.state_bytes() > 0) state = std::move(AlignedBuffer::allocate(model.state_bytes())).value();
  }
  std::vector<AlignedBuffer> buffers;
  std::vector<std::byte*> data;
  AlignedBuffer state;
};

void expect_near(std::span<const float> found, const nlohmann::json& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i].get<float>(), 5e-4) << i;
}

void compare(const std::string& path, const GoldenModel& golden, const nlohmann::json& row) {
  const auto checkpoint = open_checkpoint(path);
  ASSERT_TRUE(checkpoint.ok());
  ModelOptions options;
  options.compute = ComputeMode::kF32;
  options.kv_type = KvType::kF32;
  options.context = 128;
  options.threads = 1;
  options.keep_states = true;
  const auto model = Model::load(*checkpoint, options);
  ASSERT_TRUE(model.ok()) << model.error().message;
  const auto predictor = Model::load_predictor(**model);
  ASSERT_TRUE(predictor.ok()) << predictor.error().message;
  const auto count = row["tokens"].get<size_t>();
  const std::vector<int32_t> tokens(golden.tokens.begin(), golden.tokens.begin() + static_cast<std::ptrdiff_t>(count));
  Pages trunk(**model), own(**predictor);
  StepSlice slice;
  slice.tokens = tokens;
  slice.pages = trunk.data;
  slice.state = trunk.state.data();
  (*model)->forward({&slice, 1});
  const auto states = (*model)->last_states();
  const auto width = static_cast<size_t>((*model)->spec().width);
  const auto vocabulary = static_cast<size_t>(golden.vocabulary);
  ASSERT_EQ(states.size(), count * width);
  StepSlice further;
  further.tokens = std::span(tokens).subspan(1);
  further.states = states.first((count - 1) * width);
  further.pages = own.data;
  further.last_rows = 2;
  const auto logits = (*predictor)->forward({&further, 1});
  expect_near(logits.first(vocabulary), row["rows"][0]);
  expect_near(logits.last(vocabulary), row["rows"][1]);
  const auto best = logits.last(vocabulary);
  const std::vector<int32_t> next = {static_cast<int32_t>(std::max_element(best.begin(), best.end()) - best.begin())};
  const auto last = (*predictor)->last_states().last(width);
  const std::vector<float> state(last.begin(), last.end());
  StepSlice chained;
  chained.tokens = next;
  chained.states = state;
  chained.first_position = static_cast<int64_t>(count) - 1;
  chained.pages = own.data;
  expect_near((*predictor)->forward({&chained, 1}), row["chained"]);
}

TEST(Predictions, AreThoseOfTransformers) {
  std::ifstream file(KINGLET_SOURCE_DIR "/tests/golden/models/predictions.json");
  const nlohmann::json rows = nlohmann::json::parse(file);
  ASSERT_EQ(rows.size(), 3u);
  for (const nlohmann::json& row : rows) {
    const auto golden = std::find_if(golden_models().begin(), golden_models().end(),
                                     [&](const GoldenModel& g) { return g.name == row["name"].get<std::string>(); });
    ASSERT_NE(golden, golden_models().end());
    for (const std::string& path : {golden->folder, golden->gguf}) {
      SCOPED_TRACE(path);
      if (path.ends_with("deepseek-v3-mtp.gguf")) continue;  // llama.cpp's converter leaves the layer out
      compare(path, *golden, row);
    }
  }
}

}  // namespace
}  // namespace kinglet::test
