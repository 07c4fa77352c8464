#include "convert/quantise_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/hash.h"
#include "formats/test_files.h"

namespace kinglet::convert {
namespace {

using testing::HasSubstr;
using testing_files::GgufBuilder;
using testing_files::TemporaryFolder;
namespace fs = std::filesystem;

constexpr const char* kGolden = KINGLET_SOURCE_DIR "/tests/golden/models/gguf/";

QuantiseOptions options_for(const char* mix) {
  QuantiseOptions options;
  options.mix = *find_mix(mix);
  return options;
}

std::shared_ptr<const Checkpoint> open(const std::string& path) {
  auto opened = open_checkpoint(path);
  EXPECT_TRUE(opened.ok()) << opened.error().message;
  return opened.ok() ? *opened : nullptr;
}

size_t files_in(const TemporaryFolder& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()));
}

TEST(QuantiseModel, KeepsKeysAndWritesTheSameBytesForAnyThreads) {
  const auto model = open(std::string(kGolden) + "qwen2-tied.gguf");
  const TemporaryFolder folder;
  ThreadPool one(1), three(3);
  const auto report = quantise_model(*model, folder.path("a.gguf"), options_for("Q4_K_M"), one);
  ASSERT_TRUE(report.ok()) << report.error().message;
  ASSERT_TRUE(quantise_model(*model, folder.path("b.gguf"), options_for("Q4_K_M"), three).ok());
  EXPECT_EQ(*xxh3_128_file(folder.path("a.gguf")), *xxh3_128_file(folder.path("b.gguf")));
  EXPECT_EQ(files_in(folder), 2u);
  EXPECT_EQ(fs::file_size(folder.path("a.gguf")), report->file_bytes);

  const auto made = open(folder.path("a.gguf"));
  EXPECT_EQ(*made->metadata.get_int("general.file_type", 0, 100), 15);
  EXPECT_EQ(*made->metadata.get_int("general.quantization_version", 0, 100), 2);
  std::map<std::string, std::string> raw;
  for (const auto& key : made->raw_keys)
    raw[std::string(key.key)] = {reinterpret_cast<const char*>(key.typed_value.data()), key.typed_value.size()};
  for (const auto& key : model->raw_keys) {
    if (key.key == "general.file_type") continue;
    EXPECT_EQ(raw[std::string(key.key)],
              std::string(reinterpret_cast<const char*>(key.typed_value.data()), key.typed_value.size()))
        << key.key;
  }
  ASSERT_EQ(made->tensors.size(), model->tensors.size());
  for (size_t i = 0; i < made->tensors.size(); ++i) {
    EXPECT_EQ(made->tensors[i].name, model->tensors[i].name);
    EXPECT_EQ(made->tensors[i].shape, model->tensors[i].shape);
    EXPECT_EQ(made->tensors[i].dtype, report->tensors[i].to);
    const bool changed = made->tensors[i].dtype != model->tensors[i].dtype;
    EXPECT_EQ(report->tensors[i].rmse > 0, changed) << made->tensors[i].name;
    EXPECT_LT(report->tensors[i].relative_rmse, 0.12) << made->tensors[i].name;
  }
}

TEST(QuantiseModel, ASplitBecomesOneFile) {
  const TemporaryFolder folder;
  const auto part = [&](uint16_t number, const char* tensor) {
    GgufBuilder builder;
    if (number == 0) builder.text("general.architecture", "llama");
    builder.key<uint16_t>("split.no", GgufBuilder::kU16, number)
        .key<uint16_t>("split.count", GgufBuilder::kU16, 2)
        .key<int32_t>("split.tensors.count", GgufBuilder::kI32, 2)
        .tensor(tensor, {32, 2}, 0, 0)
        .data(std::string(256, '\0'));
    return folder.write("m-0000" + std::to_string(number + 1) + "-of-00002.gguf", builder.build());
  };
  const std::string first = part(0, "blk.0.attn_q.weight");
  part(1, "blk.0.attn_k.weight");
  ThreadPool pool(1);
  const auto report = quantise_model(*open(first), folder.path("one.gguf"), options_for("Q8_0"), pool);
  ASSERT_TRUE(report.ok()) << report.error().message;
  const auto made = open(folder.path("one.gguf"));
  EXPECT_EQ(made->tensors.size(), 2u);
  EXPECT_FALSE(made->metadata.has("split.count"));
}

TEST(QuantiseModel, LeavesNothingBehindAnError) {
  const std::string source = std::string(kGolden) + "qwen2-tied.gguf";
  const auto model = open(source);
  const TemporaryFolder folder;
  ThreadPool pool(1);
  QuantiseOptions stopped = options_for("Q4_0");
  stopped.progress = [](double share) { return share < 0.5; };
  const auto cancelled = quantise_model(*model, folder.path("a.gguf"), stopped, pool);
  ASSERT_FALSE(cancelled.ok());
  EXPECT_EQ(cancelled.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(files_in(folder), 0u);

  const auto same = quantise_model(*model, source, options_for("Q4_0"), pool);
  ASSERT_FALSE(same.ok());
  EXPECT_THAT(same.error().message, HasSubstr("files that are read"));

  const auto nowhere = quantise_model(*model, folder.path("no/a.gguf"), options_for("Q4_0"), pool);
  ASSERT_FALSE(nowhere.ok());
  EXPECT_EQ(nowhere.error().code, ErrorCode::kNotFound);
  const auto on_folder = quantise_model(*model, folder.path(), options_for("Q4_0"), pool);
  ASSERT_FALSE(on_folder.ok());
  EXPECT_THAT(on_folder.error().message, HasSubstr("it is a folder"));
}

TEST(QuantiseModel, RefusesDamagedWeights) {
  const TemporaryFolder folder;
  std::string values(32 * 2 * 4, '\0');
  const float nan = std::nanf("");
  std::memcpy(values.data() + 40 * 4, &nan, 4);
  const auto model = open(folder.write("in.gguf", GgufBuilder()
                                                      .text("general.architecture", "llama")
                                                      .tensor("blk.0.attn_q.weight", {32, 2}, 0, 0)
                                                      .data(values)
                                                      .build()));
  ThreadPool pool(1);
  const auto report = quantise_model(*model, folder.path("out.gguf"), options_for("Q8_0"), pool);
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.error().message, HasSubstr("\"blk.0.attn_q.weight\": row 1 has a value that is not finite"));
  EXPECT_EQ(files_in(folder), 1u);
}

TEST(QuantiseModel, ImportanceComesFromAFileAndMustFit) {
  const TemporaryFolder folder;
  const std::string path = folder.path("m.imatrix");
  ASSERT_TRUE(write_importance(path, {{"blk.0.attn_q.weight", {std::vector<double>(56, 8.0), {4}}}}, 512, "text").ok());
  const auto importance = Importance::read(path);
  ASSERT_TRUE(importance.ok()) << importance.error().message;
  ASSERT_EQ(importance->find("blk.0.attn_q.weight").size(), 56u);
  EXPECT_EQ(importance->find("blk.0.attn_q.weight")[7], 2.0f);
  EXPECT_TRUE(importance->find("blk.0.attn_k.weight").empty());

  ThreadPool pool(1);
  QuantiseOptions options = options_for("Q8_0");
  options.importance = &*importance;
  const auto report =
      quantise_model(*open(std::string(kGolden) + "qwen2-tied.gguf"), folder.path("o.gguf"), options, pool);
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.error().message, HasSubstr(path + ": found 56 values for tensor \"blk.0.attn_q.weight\""));
  EXPECT_THAT(report.error().message, HasSubstr("was made of another model"));

  ASSERT_TRUE(
      write_importance(path, {{"blk.77.attn_q.weight", {std::vector<double>(56, 8.0), {4}}}}, 512, "text").ok());
  const auto stranger = Importance::read(path);
  ASSERT_TRUE(stranger.ok()) << stranger.error().message;
  options.importance = &*stranger;
  const auto none =
      quantise_model(*open(std::string(kGolden) + "qwen2-tied.gguf"), folder.path("o.gguf"), options, pool);
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.error().message, HasSubstr(path + ": found values for none of the model's tensors"));
  const auto no_importance = Importance::read(std::string(kGolden) + "qwen2-tied.gguf");
  ASSERT_FALSE(no_importance.ok());
  EXPECT_THAT(no_importance.error().message, HasSubstr("expected an importance matrix"));
}

}  // namespace
}  // namespace kinglet::convert
