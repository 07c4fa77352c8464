// Prediction layers (MTP) as drafters, on every tiny model that has one: answers with them have the bits of answers
// without, whatever they draft and however few pages there are; and a layer that is always right saves steps.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "engine/loader.h"
#include "engine/mtp_drafter.h"
#include "engine/speculation_test_support.h"
#include "families/family.h"
#include "tests/support/golden.h"

namespace kinglet::test {
namespace {

std::unique_ptr<Model> load(const Checkpoint& checkpoint) {
  ModelOptions options;
  options.context = 192;
  options.page_positions = 16;
  options.threads = 1;
  options.keep_states = true;
  auto model = Model::load(std::make_shared<const Checkpoint>(checkpoint), options);
  if (!model.ok()) ADD_FAILURE() << model.error().message;
  return model.ok() ? std::move(model).value() : nullptr;
}

TEST(PredictionLayers, NeverChangeABit) {
  int models = 0;
  for (const GoldenModel& golden : golden_models()) {
    const auto checkpoint = open_checkpoint(golden.folder.empty() ? golden.gguf : golden.folder);
    ASSERT_TRUE(checkpoint.ok());
    const auto bound = bind_model(**checkpoint);
    ASSERT_TRUE(bound.ok());
    if (!bind_predictor(**checkpoint, *bound)) continue;
    SCOPED_TRACE(golden.name);
    ++models;
    std::mt19937 random(5);
    auto model = load(**checkpoint);
    ASSERT_NE(model, nullptr);
    EngineOptions options;
    options.max_sequences = 4;
    options.step_tokens = 24;
    options.kv_bytes = model->plan().page_bytes * 14;  // a full sequence has 12 pages
    auto requests = random_requests(random, golden.vocabulary, 80, 6);
    const std::vector<int32_t> beginning = random_requests(random, golden.vocabulary, 80, 1)[0].prompt;
    for (Request& request : requests) {  // shared: what a cache holds, the layer doesn't see
      request.prompt.insert(request.prompt.begin(), beginning.begin(), beginning.end());
      request.prompt.insert(request.prompt.begin(), 20, 3);
    }
    EngineStats plain_stats, stats;
    const auto plain = answers(make_step_model(std::move(model)), options, requests, &plain_stats);
    model = load(**checkpoint);
    auto predictor = Model::load_predictor(*model);
    ASSERT_TRUE(predictor.ok()) << predictor.error().message;
    auto drafter = MtpDrafter::create(make_step_model(std::move(predictor).value()), model->spec().width, 30);
    ASSERT_TRUE(drafter.ok());
    options.speculation.always = true;
    options.speculation.max_tokens = 3;
    options.speculation.drafter = std::move(drafter).value();
    const auto drafted = answers(make_step_model(std::move(model)), options, requests, &stats);
    ASSERT_NO_FATAL_FAILURE(expect_same(plain, drafted));
    EXPECT_GT(stats.drafted_tokens, 20);
    EXPECT_GT(stats.cache_hit_tokens, 16);
  }
  EXPECT_GE(models, 8);
}

// A safetensors file of BF16 tensors, to be changed in place.
class Weights {
 public:
  explicit Weights(const std::filesystem::path& path) : path_(path) {
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    uint64_t length = 0;
    std::memcpy(&length, bytes_.data(), sizeof(length));
    data_ = sizeof(length) + length;
    header_ = nlohmann::json::parse(bytes_.begin() + sizeof(length), bytes_.begin() + static_cast<int64_t>(data_));
  }
  std::vector<std::string> names_with(const std::string& part) const {
    std::vector<std::string> names;
    for (const auto& [name, entry] : header_.items()) {
      if (name.find(part) != std::string::npos) names.push_back(name);
    }
    return names;
  }
  std::vector<uint16_t> get(const std::string& name) const {
    const auto& ends = header_.at(name).at("data_offsets");
    std::vector<uint16_t> values((ends[1].get<size_t>() - ends[0].get<size_t>()) / 2);
    std::memcpy(values.data(), bytes_.data() + data_ + ends[0].get<size_t>(), values.size() * 2);
    return values;
  }
  void set(const std::string& name, const std::vector<uint16_t>& values) {
    ASSERT_EQ(get(name).size(), values.size());
    std::memcpy(bytes_.data() + data_ + header_.at(name).at("data_offsets")[0].get<size_t>(), values.data(),
                values.size() * 2);
  }
  void fill(const std::string& name, uint16_t value) { set(name, std::vector<uint16_t>(get(name).size(), value)); }
  void write() const {
    std::ofstream file(path_, std::ios::binary);
    file.write(bytes_.data(), static_cast<std::streamsize>(bytes_.size()));
  }

 private:
  std::filesystem::path path_;
  std::vector<char> bytes_;
  size_t data_ = 0;
  nlohmann::json header_;
};

// Layers that add nothing: what follows a token depends on it alone, and the prediction layer, which sees the token
// through an identity and ignores the state, says the same.
void make_exact(const std::filesystem::path& file, const std::string& layer) {
  constexpr uint16_t kOne = 0x3F80;
  Weights weights(file);
  for (const char* part : {".o_proj.", ".down_proj."}) {
    const auto names = weights.names_with(part);
    ASSERT_FALSE(names.empty());
    for (const std::string& name : names) weights.fill(name, 0);
  }
  const std::vector<uint16_t> norm = weights.get("model.norm.weight");
  weights.fill(layer + "enorm.weight", kOne);
  weights.set(layer + "shared_head.norm.weight", norm);
  const size_t width = norm.size();
  std::vector<uint16_t> joint(2 * width * width);
  for (size_t i = 0; i < width; ++i) joint[i * 2 * width + i] = kOne;
  weights.set(layer + "eh_proj.weight", joint);
  weights.write();
}

// As `run` and the server load it: with the layer found, its memory planned, and drafts taken from it.
EngineStats stats_of(const std::string& folder, bool predict, std::vector<std::vector<int32_t>>* said) {
  const auto checkpoint = open_checkpoint(folder);
  EXPECT_TRUE(checkpoint.ok());
  LoadOptions options;
  options.model.context = 256;
  options.model.threads = 1;
  options.predict = predict;
  options.need_tokenizer = false;
  options.engine.speculation.always = predict;
  options.engine.speculation.max_tokens = 4;
  const auto engine = load_engine(*checkpoint, options);
  if (!engine.ok()) {
    ADD_FAILURE() << engine.error().message;
    return {};
  }
  std::vector<std::shared_ptr<Generation>> generations;
  for (int32_t i = 0; i < 3; ++i) {
    Request request;
    request.prompt = {5 + i, 40 + i, 17, 63 - i};
    request.max_tokens = 100;
    request.sampling.temperature = 0.0f;
    generations.push_back(*(*engine)->submit(request));
  }
  for (auto& generation : generations) said->push_back(generation->wait().tokens);
  (*engine)->drain();
  return (*engine)->stats();
}

TEST(PredictionLayers, ThatAreRightSaveSteps) {
  const auto golden = std::find_if(golden_models().begin(), golden_models().end(),
                                   [](const GoldenModel& g) { return g.name == std::string("deepseek-v3-mtp"); });
  ASSERT_NE(golden, golden_models().end());
  const auto folder = std::filesystem::path(testing::TempDir()) / "kinglet-exact-mtp";
  std::filesystem::remove_all(folder);
  std::filesystem::copy(golden->folder, folder);
  ASSERT_NO_FATAL_FAILURE(make_exact(folder / "model.safetensors", "model.layers.2."));
  std::vector<std::vector<int32_t>> plain, predicted;
  const EngineStats without = stats_of(folder.string(), false, &plain);
  const EngineStats with = stats_of(folder.string(), true, &predicted);
  std::filesystem::remove_all(folder);
  EXPECT_EQ(predicted, plain);
  EXPECT_EQ(without.drafted_tokens, 0);
  EXPECT_EQ(with.generated_tokens, 300);
  EXPECT_GT(with.drafted_tokens, 200);
  EXPECT_GE(with.accepted_tokens * 100, with.drafted_tokens * 98);
  EXPECT_LT(with.steps * 4, without.steps * 3);
}

}  // namespace
}  // namespace kinglet::test
