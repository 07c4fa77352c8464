#include "formats/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "formats/test_files.h"

namespace kinglet {
namespace {

using testing::HasSubstr;
using namespace testing_files;

TEST(Gguf, ReadsEveryKindOfValue) {
  const std::string file = GgufBuilder()
                               .key<uint8_t>("u8", GgufBuilder::kU8, 200)
                               .key<int8_t>("i8", GgufBuilder::kI8, -100)
                               .key<uint16_t>("u16", GgufBuilder::kU16, 60000)
                               .key<int16_t>("i16", GgufBuilder::kI16, -30000)
                               .key<uint32_t>("u32", GgufBuilder::kU32, 4000000000u)
                               .key<int32_t>("i32", GgufBuilder::kI32, -2000000000)
                               .key<uint64_t>("u64", GgufBuilder::kU64, UINT64_MAX)
                               .key<int64_t>("i64", GgufBuilder::kI64, INT64_MIN)
                               .key<float>("f32", GgufBuilder::kF32, 0.1f)
                               .key<double>("f64", GgufBuilder::kF64, 0.1)
                               .key<uint8_t>("bool", GgufBuilder::kBool, 0)
                               .text("text", "ж")
                               .array<uint8_t>("u8s", GgufBuilder::kU8, {255, 0})
                               .array<int64_t>("i64s", GgufBuilder::kI64, {INT64_MIN})
                               .array<uint64_t>("u64s", GgufBuilder::kU64, {INT64_MAX})
                               .array<double>("f64s", GgufBuilder::kF64, {0.1})
                               .array<uint8_t>("bools", GgufBuilder::kBool, {1, 0, 1})
                               .texts("none", {})
                               .build();
  const auto parsed = parse_gguf(bytes_of(file), "x.gguf");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  const Metadata& m = parsed->metadata;
  EXPECT_EQ(*m.get_int("u8", 0, 255), 200);
  EXPECT_EQ(*m.get_int("i8", -128, 0), -100);
  EXPECT_EQ(*m.get_int("u16", 0, 65535), 60000);
  EXPECT_EQ(*m.get_int("i16", -32768, 0), -30000);
  EXPECT_EQ(*m.get_int("u32", 0, INT64_MAX), 4000000000);
  EXPECT_EQ(*m.get_int("i32", INT32_MIN, 0), -2000000000);
  EXPECT_EQ(std::get<uint64_t>(*m.find("u64")), UINT64_MAX);
  EXPECT_EQ(*m.get_int("i64", INT64_MIN, 0), INT64_MIN);
  EXPECT_EQ(*m.get_float("f32"), static_cast<double>(0.1f));
  EXPECT_EQ(*m.get_float("f64"), 0.1);
  EXPECT_EQ(*m.get_bool("bool"), false);
  EXPECT_EQ(*m.get_string("text"), "ж");
  EXPECT_EQ(*m.get_ints("u8s"), (std::vector<int64_t>{255, 0}));
  EXPECT_EQ(*m.get_ints("i64s"), (std::vector<int64_t>{INT64_MIN}));
  EXPECT_EQ(*m.get_ints("u64s"), (std::vector<int64_t>{INT64_MAX}));
  EXPECT_EQ(*m.get_floats("f64s"), (std::vector<double>{0.1}));
  EXPECT_EQ(std::get<std::vector<bool>>(*m.find("bools")), (std::vector<bool>{true, false, true}));
  EXPECT_TRUE(m.get_strings("none")->empty());
  EXPECT_EQ(m.source(), "x.gguf");
}

TEST(Gguf, TensorsAreTurnedAroundAndPlaced) {
  for (uint32_t version : {2u, 3u}) {
    const std::string file = small_gguf().version(version).build();
    const auto parsed = parse_gguf(bytes_of(file), "x.gguf");
    ASSERT_TRUE(parsed.ok()) << parsed.error().message;
    ASSERT_EQ(parsed->tensors.size(), 2u);
    const TensorView& a = parsed->tensors[0];
    EXPECT_EQ(a.name, "a.weight");
    EXPECT_EQ(a.shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(a.data.size(), 24u);
    const TensorView& b = parsed->tensors[1];
    EXPECT_EQ(b.dtype, DType::kQ8_0);
    EXPECT_EQ(b.data.data() + b.data.size(), bytes_of(file).data() + file.size());
    EXPECT_EQ(b.data.data() - a.data.data(), 32);
    EXPECT_EQ(parsed->tensor_bytes, 24u + 34u);
    EXPECT_EQ(parsed->metadata.get_strings("tokenizer.ggml.tokens")->at(2), "\xff\xfe");  // tokens may be no UTF-8
  }
}

TEST(Gguf, ScalarsEmptyTensorsAndOtherAlignments) {
  const std::string file = GgufBuilder()
                               .key<uint32_t>("general.alignment", GgufBuilder::kU32, 8)
                               .alignment(8)
                               .tensor("empty", {256, 0}, 12, 0)
                               .tensor("scalar", {}, 0, 0)
                               .tensor("last", {1}, 24, 8)
                               .data("12345678x")
                               .build();
  const auto parsed = parse_gguf(bytes_of(file), "x.gguf");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(parsed->tensors[0].elements(), 0);
  EXPECT_TRUE(parsed->tensors[0].data.empty());
  EXPECT_EQ(parsed->tensors[1].elements(), 1);
  EXPECT_EQ(parsed->tensors[1].data.size(), 4u);
  EXPECT_EQ(static_cast<char>(parsed->tensors[2].data[0]), 'x');
}

TEST(Gguf, FileWithoutTensorsNeedsNoPadding) {
  const std::string file = GgufBuilder().text("general.architecture", "llama").build();
  EXPECT_TRUE(parse_gguf(bytes_of(file), "x.gguf").ok());
}

// A vocabulary of today's size must not be what a user waits for. The bound is generous: sanitizers, busy machines.
TEST(Gguf, LargeVocabulariesOpenFast) {
  std::vector<std::string> tokens, merges;
  for (int i = 0; i < 150'000; ++i) {
    tokens.push_back("token" + std::to_string(i));
    merges.push_back("tok en" + std::to_string(i));
  }
  const std::string file = GgufBuilder()
                               .texts("tokenizer.ggml.tokens", tokens)
                               .texts("tokenizer.ggml.merges", merges)
                               .array("tokenizer.ggml.scores", GgufBuilder::kF32, std::vector<float>(150'000))
                               .build();
  const auto start = std::chrono::steady_clock::now();
  const auto parsed = parse_gguf(bytes_of(file), "x.gguf");
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->metadata.get_strings("tokenizer.ggml.merges")->back(), "tok en149999");
  EXPECT_LT(taken.count(), 1.0);
  RecordProperty("milliseconds", std::to_string(taken.count() * 1e3));
}

TEST(Gguf, SplitFilesAreOneModel) {
  const TemporaryFolder folder;
  const auto part = [&](int number, const std::string& tensor) {
    GgufBuilder builder;
    builder.key<uint16_t>("split.no", GgufBuilder::kU16, static_cast<uint16_t>(number));
    builder.key<uint16_t>("split.count", GgufBuilder::kU16, 3);
    builder.key<int32_t>("split.tensors.count", GgufBuilder::kI32, 3);
    if (number == 0) builder.text("general.architecture", "llama");
    builder.tensor(tensor, {2}, 0, 0).data(std::string(8, static_cast<char>('a' + number)));
    return folder.write("m-0000" + std::to_string(number + 1) + "-of-00003.gguf", builder.build());
  };
  const std::string first = part(0, "x");
  const std::string second = part(1, "y");
  const std::string third = part(2, "z");
  for (const std::string& named : {first, second, third}) {
    const auto opened = open_checkpoint(named);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    const Checkpoint& c = **opened;
    EXPECT_EQ(c.path, named);
    EXPECT_EQ(c.tensors.size(), 3u);
    EXPECT_EQ(c.total_bytes, 24u);
    EXPECT_EQ(*c.metadata.get_string("general.architecture"), "llama");
    ASSERT_NE(c.find("z"), nullptr);
    EXPECT_EQ(static_cast<char>(c.find("z")->data[0]), 'c');
    EXPECT_EQ(c.find("w"), nullptr);
  }

  part(2, "y");
  auto failed = open_checkpoint(first);
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.error().message, HasSubstr("tensor \"y\": expected once"));

  part(1, "x");  // wrong number under the right name
  std::filesystem::rename(second, third);
  part(1, "y");
  failed = open_checkpoint(first);
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.error().message, HasSubstr("00003-of-00003.gguf"));
  EXPECT_THAT(failed.error().message, HasSubstr("expected part 2 (from 0) of 3, found part 1 of 3"));

  std::filesystem::remove(second);
  failed = open_checkpoint(first);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(failed.error().message, HasSubstr("part 2 of 3"));
  EXPECT_THAT(failed.error().message, HasSubstr("00002-of-00003.gguf"));

  const std::string renamed = folder.path("other.gguf");
  std::filesystem::rename(first, renamed);
  failed = open_checkpoint(renamed);
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.error().message, HasSubstr("ends in -00001-of-00003.gguf, found \"other.gguf\""));
}

TEST(Gguf, SplitWithMissingTensors) {
  const TemporaryFolder folder;
  const auto part = [&](uint16_t number) {
    return folder.write("m-0000" + std::to_string(number + 1) + "-of-00002.gguf",
                        GgufBuilder()
                            .key<uint16_t>("split.no", GgufBuilder::kU16, number)
                            .key<uint16_t>("split.count", GgufBuilder::kU16, 2)
                            .key<int32_t>("split.tensors.count", GgufBuilder::kI32, 5)
                            .tensor("t" + std::to_string(number), {1}, 0, 0)
                            .data("1234")
                            .build());
  };
  const std::string first = part(0);
  part(1);
  const auto failed = open_checkpoint(first);
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.error().message, HasSubstr("split.tensors.count\": expected 5 tensors in all parts, found 2"));
}

TEST(Gguf, VocabularyOnly) {
  const TemporaryFolder folder;
  const std::string path = folder.write("v.gguf", GgufBuilder().texts("tokenizer.ggml.tokens", {"a"}).build());
  EXPECT_TRUE(open_checkpoint(path, {.vocabulary_only = true}).ok());
  const auto failed = open_checkpoint(path);
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.error().message, HasSubstr("v.gguf: expected tensors, found none"));
}

}  // namespace
}  // namespace kinglet
