// What logit_hashes_test.cc and invariance_test.cc are for logits, for the states of encoders and the embeddings made
// of them. To write the table anew:
//   KINGLET_WRITE_HASHES=1 build/dev/tests/bits/bits_test --gtest_filter='EmbeddingHashes.*'
#include <gtest/gtest.h>

#include "base/memory.h"
#include "nn/pool_states.h"
#include "tests/bits/hash_table.h"
#include "tests/support/compare.h"
#include "tests/support/golden.h"

namespace kinglet::test {
namespace {

constexpr const char* kTable = KINGLET_SOURCE_DIR "/tests/bits/embedding_hashes.json";

std::unique_ptr<Model> load(const std::string& path, const Mode& mode, int threads, std::string isa = "") {
  const auto checkpoint = open_checkpoint(path);
  EXPECT_TRUE(checkpoint.ok()) << path;
  if (!checkpoint.ok()) return nullptr;
  ModelOptions options;
  options.compute = mode.compute;
  options.kv_type = mode.kv;
  options.threads = threads;
  options.page_positions = 16;
  options.isa = std::move(isa);
  auto model = Model::load(*checkpoint, options);
  EXPECT_TRUE(model.ok()) << model.error().message;
  return model.ok() ? std::move(model).value() : nullptr;
}

// States of all tokens of the texts chosen, computed in one step, and behind each text's states its embeddings.
std::vector<std::vector<float>> run(Model& model, const GoldenEncoder& golden, std::span<const size_t> chosen) {
  const auto page = static_cast<size_t>(model.options().page_positions), bytes = size_t{model.plan().page_bytes};
  std::vector<AlignedBuffer> memory;
  std::vector<std::vector<std::byte*>> pages(chosen.size());
  std::vector<StepSlice> slices;
  for (size_t i = 0; i < chosen.size(); i++) {
    const std::vector<int32_t>& tokens = golden.texts[chosen[i]];
    const size_t count = (tokens.size() + page - 1) / page;
    memory.push_back(AlignedBuffer::allocate(count * bytes).value());
    for (size_t p = 0; p < count; p++) pages[i].push_back(memory.back().data() + p * bytes);
    StepSlice slice;
    slice.tokens = tokens;
    slice.types = golden.types[chosen[i]];
    slice.pages = pages[i];
    slice.logits = LogitRows::kAll;
    slices.push_back(slice);
  }
  std::span<const float> rows = model.states(slices);
  const auto width = static_cast<size_t>(model.spec().width);
  std::vector<std::vector<float>> all;
  for (const StepSlice& slice : slices) {
    const auto states = rows.first(slice.tokens.size() * width);
    rows = rows.subspan(states.size());
    std::vector<float>& out = all.emplace_back(states.begin(), states.end());
    for (const Pooling pooling : {Pooling::kMean, Pooling::kFirst, Pooling::kLast}) {
      StatePooler pooler({.pooling = pooling}, model.spec().width);
      for (size_t t = 0; t < slice.tokens.size(); t++) pooler.add(states.subspan(t * width, width));
      const std::span<const float> embedding = pooler.finish();
      out.insert(out.end(), embedding.begin(), embedding.end());
    }
    if (model.spec().labels == 0) continue;
    const std::vector<float> scores = model.classify(states.first(width));
    out.insert(out.end(), scores.begin(), scores.end());
  }
  return all;
}

std::vector<float> joined(const std::vector<std::vector<float>>& parts) {
  std::vector<float> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

constexpr size_t kEachOnce[] = {0, 1, 2, 3};

void check(const GoldenEncoder& golden, const std::string& road, const std::string& path) {
  check_hashes(kTable, golden.name + " (" + road + ")", [&](const Mode& mode) {
    const auto model = load(path, mode, 2);
    return model ? joined(run(*model, golden, kEachOnce)) : std::vector<float>();
  });
}

TEST(EmbeddingHashes, TinyEncoders) {
  for (const GoldenEncoder& golden : golden_encoders()) {
    check(golden, "folder", golden.folder);
    if (!golden.gguf.empty()) check(golden, "gguf", golden.gguf);
  }
}

TEST(EmbeddingInvariance, TinyEncodersOnEveryLevel) {
  constexpr size_t kCrowds[][7] = {{3, 3, 0, 2, 1, 2, 3}, {0, 0, 0, 0, 1, 1, 3}, {2, 1, 3, 3, 2, 3, 0}};
  for (const GoldenEncoder& golden : golden_encoders())
    for (const Mode& mode : kModes) {
      const auto reference = load(golden.folder, mode, 1);
      ASSERT_TRUE(reference);
      std::vector<std::vector<float>> alone;
      for (size_t text = 0; text < 4; text++) alone.push_back(run(*reference, golden, std::span(&text, 1)).front());
      int threads = 1;
      for (IsaLevel level : available_isa_levels()) {
        const auto model = load(golden.folder, mode, 1 + threads++ % 3, std::string(isa_name(level)));
        ASSERT_TRUE(model);
        EXPECT_EQ(model->isa(), level) << "another instruction set ran";
        for (const auto& crowd : kCrowds) {
          const auto together = run(*model, golden, crowd);
          for (size_t i = 0; i < std::size(crowd); i++) {
            const std::vector<float>& expected = alone[crowd[i]];
            ASSERT_TRUE(same_bits(together[i], expected))
                << golden.name << " " << mode.name << " " << isa_name(level) << " text " << crowd[i];
          }
        }
      }
    }
}

}  // namespace
}  // namespace kinglet::test
