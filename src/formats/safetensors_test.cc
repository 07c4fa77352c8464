#include "formats/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/test_files.h"

namespace kinglet {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using namespace testing_files;

std::string refusal(const std::string& file) {
  const auto parsed = parse_safetensors(bytes_of(file), "bad.safetensors");
  return parsed.ok() ? "no error" : parsed.error().message;
}

#define EXPECT_REFUSED(file, field, expected, found) \
  EXPECT_THAT(refusal(file),                         \
              AllOf(HasSubstr("bad.safetensors: "), HasSubstr(field), HasSubstr(expected), HasSubstr(found)))

// A file with one F32 tensor "t" whose entry is given, over eight bytes of data.
std::string with_entry(const std::string& entry) {
  return safetensors("{\"t\":" + entry + "}", "12345678");
}

TEST(Safetensors, ReadsTensors) {
  const std::string file = small_safetensors();
  const auto parsed = parse_safetensors(bytes_of(file), "x.safetensors");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  ASSERT_EQ(parsed->size(), 3u);
  const TensorView& a = parsed->at(0);
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.dtype, DType::kF32);
  EXPECT_EQ(a.shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(static_cast<char>(a.data[7]), '7');
  EXPECT_EQ(parsed->at(1).dtype, DType::kBF16);
  EXPECT_TRUE(parsed->at(1).shape.empty());  // a scalar
  EXPECT_EQ(parsed->at(1).elements(), 1);
  EXPECT_EQ(parsed->at(2).elements(), 0);
  EXPECT_TRUE(parsed->at(2).data.empty());
}

TEST(Safetensors, OrderOfNamesDoesNotMatterAndSpacesMayFollow) {
  const std::string file = safetensors(
      R"({"z":{"data_offsets":[4,8],"shape":[1],"dtype":"I32"},"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}    )",
      "12345678");
  const auto parsed = parse_safetensors(bytes_of(file), "x.safetensors");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(parsed->at(0).name, "a");
  EXPECT_EQ(parsed->at(1).name, "z");
  EXPECT_TRUE(parse_safetensors(bytes_of(safetensors("{}")), "x").ok());
  EXPECT_TRUE(parse_safetensors(bytes_of(safetensors(R"({"__metadata__":{}})")), "x").ok());
}

TEST(SafetensorsHostile, HeaderLength) {
  std::string file;
  append<uint64_t>(file, 100'000'001);
  EXPECT_REFUSED(file + "{}", "header length", "expected at most 100000000", "found 100000001");
  file.clear();
  append<uint64_t>(file, UINT64_MAX);
  EXPECT_REFUSED(file + "{}", "header length", "expected at most", "found 18446744073709551615");
  file.clear();
  append<uint64_t>(file, 3);
  EXPECT_REFUSED(file + "{}", "header length", "expected at most the 2 bytes", "found 3");
  EXPECT_REFUSED("1234567", "header length", "expected 8 bytes", "found a file of 7");
}

TEST(SafetensorsHostile, HeaderThatIsNoObject) {
  EXPECT_REFUSED(safetensors(""), "header", "expected it to start with {", "found");
  EXPECT_REFUSED(safetensors("[]"), "header", "expected it to start with {", "found \"[\"");
  EXPECT_REFUSED(safetensors("{\"t\":"), "header", "expected JSON", "parse error");
  EXPECT_REFUSED(safetensors("{} x"), "header", "expected JSON", "parse error");
  EXPECT_REFUSED(safetensors("{\"\xff\":1}"), "header", "expected JSON", "UTF-8");
}

TEST(SafetensorsHostile, NestingIsNoWayToTheStack) {
  EXPECT_REFUSED(safetensors("{\"t\":" + std::string(1'000'000, '[')), "tensor \"t\"", "expected an object",
                 "found an array");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_REFUSED(safetensors(objects), "tensor \"a\": \"a\"", "expected dtype", "found");
}

// Names of no content would take many times their size in memory.
TEST(SafetensorsHostile, NumbersOfNames) {
  std::string header = "{";
  for (int i = 0; i <= 1 << 18; ++i) header += "\"" + std::to_string(i) + "\":{},";
  header.back() = '}';
  EXPECT_REFUSED(safetensors(header), "header", "expected at most 262144 names", "found more");
}

TEST(SafetensorsHostile, EntriesOfTheWrongForm) {
  EXPECT_REFUSED(with_entry("1"), "tensor \"t\"", "expected an object", "found the number 1");
  EXPECT_REFUSED(with_entry(R"({"dtype":"F32","shape":[2]})"), "tensor \"t\"", "expected dtype, shape and data_offsets",
                 "found no data_offsets");
  EXPECT_REFUSED(with_entry(R"({"dtype":"F32","data_offsets":[0,8]})"), "tensor \"t\"", "expected", "found no shape");
  EXPECT_REFUSED(with_entry(R"({})"), "tensor \"t\"", "expected", "found no dtype");
  EXPECT_REFUSED(with_entry(R"({"dtype":4,"shape":[2],"data_offsets":[0,8]})"), "\"dtype\"", "expected a string",
                 "found the number 4");
  EXPECT_REFUSED(with_entry(R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})"), "\"shape\"", "",
                 "found the number 2");
  EXPECT_REFUSED(with_entry(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), "\"shape\"", "",
                 "found the number -2");
  EXPECT_REFUSED(with_entry(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})"), "\"shape\"", "",
                 "found the number \"2.0\"");
  EXPECT_REFUSED(with_entry(R"({"dtype":"F32","shape":[null],"data_offsets":[0,8]})"), "\"shape\"",
                 "expected an array of whole numbers", "found null");
  EXPECT_REFUSED(with_entry(R"({"dtype":"F32","shape":["2"],"data_offsets":[0,8]})"), "\"shape\"", "",
                 "found the string \"2\"");
  EXPECT_REFUSED(with_entry(R"({"dtype":"F32","shape":[[2]],"data_offsets":[0,8]})"), "\"shape\"", "",
                 "found an array");
  EXPECT_REFUSED(with_entry(R"({"dtype":"F32","shape":{},"data_offsets":[0,8]})"), "\"shape\"",
                 "expected an array of whole numbers", "found an object");
  EXPECT_REFUSED(with_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1})"), "\"x\"",
                 "expected dtype, shape or data_offsets", "");
  EXPECT_REFUSED(with_entry(R"({"dtype":"Q4_K","shape":[256],"data_offsets":[0,8]})"), "dtype",
                 "expected a type such as F32", "found \"Q4_K\"");
  EXPECT_REFUSED(with_entry(R"({"dtype":"F4","shape":[2],"data_offsets":[0,8]})"), "dtype", "expected", "found \"F4\"");
  EXPECT_REFUSED(safetensors(R"({"__metadata__":{"a":1}})"), "__metadata__: \"a\"", "expected a string",
                 "found the number 1");
  EXPECT_REFUSED(safetensors(R"({"__metadata__":{"a":[1]}})"), "__metadata__: \"a\"", "expected a string",
                 "found an array");
  EXPECT_REFUSED(safetensors(R"({"__metadata__":"x"})"), "__metadata__", "expected an object", "found the string");
}

TEST(SafetensorsHostile, DuplicateKeys) {
  const std::string entry = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  EXPECT_REFUSED(safetensors("{\"t\":" + entry + ",\"t\":" + entry + "}", "1234"), "tensor \"t\"", "expected once",
                 "found twice");
  EXPECT_REFUSED(with_entry(R"({"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]})"), "\"shape\"",
                 "expected once", "found twice");
  EXPECT_REFUSED(safetensors(R"({"__metadata__":{},"__metadata__":{}})"), "__metadata__", "expected once",
                 "found twice");
}

TEST(SafetensorsHostile, ShapesThatOverflow) {
  for (const char* shape : {"[4294967296,4294967296]", "[18446744073709551615]", "[9223372036854775807,2]",
                            "[4611686018427387904,4,0]", "[2305843009213693952]"}) {
    EXPECT_REFUSED(with_entry(std::string(R"({"dtype":"F32","shape":)") + shape + R"(,"data_offsets":[0,8]})"), "shape",
                   "expected a size below 2^63", "found [");
  }
  EXPECT_REFUSED(with_entry(R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,8]})"),
                 "\"shape\"", "expected at most 16 numbers", "found more");
}

TEST(SafetensorsHostile, RangesThatDoNotFit) {
  const auto ranged = [](const char* range) {
    return with_entry(std::string(R"({"dtype":"F32","shape":[2],"data_offsets":)") + range + "}");
  };
  EXPECT_REFUSED(ranged("[0,9]"), "data_offsets", "expected a range within 8 bytes", "found [0, 9]");
  EXPECT_REFUSED(ranged("[8,0]"), "data_offsets", "expected a range", "found [8, 0]");
  EXPECT_REFUSED(ranged("[18446744073709551608,18446744073709551615]"), "data_offsets", "expected a range",
                 "found [18446744073709551608");
  EXPECT_REFUSED(ranged("[0]"), "data_offsets", "expected a range", "found [0]");
  EXPECT_REFUSED(ranged("[]"), "data_offsets", "expected a range", "found []");
  EXPECT_REFUSED(ranged("[0,8,8]"), "data_offsets", "expected a range", "and more");
  EXPECT_REFUSED(ranged("[0,4]"), "data_offsets", "expected 8 bytes for shape [2] of F32", "found 4");
}

TEST(SafetensorsHostile, HolesOverlapsAndTails) {
  const auto two = [](const char* first, const char* second) {
    return safetensors(std::string(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)") + first +
                           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}",
                       "123456789");
  };
  EXPECT_REFUSED(two("[0,4]", "[5,9]"), "tensor \"b\"", "expected to start at 4", "found 5: a hole");
  EXPECT_REFUSED(two("[0,4]", "[3,7]"), "tensor \"b\"", "expected to start at 4", "found 3: tensors overlap");
  EXPECT_REFUSED(two("[0,4]", "[0,4]"), "tensor", "expected to start at 4", "found 0: tensors overlap");
  EXPECT_REFUSED(two("[1,5]", "[5,9]"), "tensor \"a\"", "expected to start at 0", "found 1: a hole");
  EXPECT_REFUSED(two("[0,4]", "[4,8]"), "data", "expected 8 bytes", "found 9: bytes that belong to no tensor");
}

TEST(SafetensorsHostile, TruncatedAnywhere) {
  const std::string whole = small_safetensors();
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::vector<char> part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    const auto parsed = parse_safetensors(std::as_bytes(std::span(part)), "bad.safetensors");
    ASSERT_FALSE(parsed.ok()) << size << " of " << whole.size() << " bytes";
    EXPECT_THAT(parsed.error().message,
                AllOf(HasSubstr("bad.safetensors: "), HasSubstr("expected"), HasSubstr("found")));
  }
}

TEST(SafetensorsHostile, AnyByteChangedNeverCrashes) {
  const std::string whole = small_safetensors();
  for (size_t at = 0; at < whole.size(); ++at) {
    for (int change = 1; change < 256; change *= 2) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ change);
      const auto parsed = parse_safetensors(bytes_of(changed), "bad.safetensors");
      if (!parsed.ok()) {
        EXPECT_THAT(parsed.error().message, HasSubstr("bad.safetensors: "));
      }
    }
  }
}

}  // namespace
}  // namespace kinglet
