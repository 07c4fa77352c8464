// GGUF files that are damaged or made to do harm: one test a class. Each is refused with a message that names the file,
// the field, what was expected and what was found.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/gguf.h"
#include "formats/test_files.h"

namespace kinglet {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using namespace testing_files;

std::string refusal(const std::string& file) {
  const auto parsed = parse_gguf(bytes_of(file), "bad.gguf");
  return parsed.ok() ? "no error" : parsed.error().message;
}
std::string refusal(const GgufBuilder& builder) {
  return refusal(builder.build());
}

#define EXPECT_REFUSED(file, field, expected, found) \
  EXPECT_THAT(refusal(file), AllOf(HasSubstr("bad.gguf: "), HasSubstr(field), HasSubstr(expected), HasSubstr(found)))

TEST(GgufHostile, OtherFilesAndVersions) {
  EXPECT_REFUSED(std::string("PK\3\4 a zip file"), "magic", "expected \"GGUF\"", "found \"PK\\x03\\x04\"");
  EXPECT_REFUSED(GgufBuilder().version(1), "version", "expected 2 or 3", "found 1");
  EXPECT_REFUSED(GgufBuilder().version(1), "", "convert", "again");
  EXPECT_REFUSED(GgufBuilder().version(4), "version", "expected 2 or 3", "found 4");
  EXPECT_REFUSED(GgufBuilder().version(0), "version", "expected 2 or 3", "found 0");
  EXPECT_REFUSED(GgufBuilder().version(0x03000000), "version", "little-endian", "big-endian");
}

TEST(GgufHostile, CountsThatOverflow) {
  for (uint64_t huge : {uint64_t{1000}, uint64_t{1} << 32, uint64_t{1} << 61, UINT64_MAX}) {
    EXPECT_REFUSED(GgufBuilder().counts(huge, 0), "tensor_count", "expected at most", "found " + std::to_string(huge));
    EXPECT_REFUSED(GgufBuilder().counts(0, huge), "metadata_kv_count", "expected at most",
                   "found " + std::to_string(huge));
  }
}

TEST(GgufHostile, StringsAndArraysLongerThanTheFile) {
  std::string text;
  append<uint64_t>(text, UINT64_MAX);
  EXPECT_REFUSED(GgufBuilder().raw_key("k", GgufBuilder::kString, text), "metadata \"k\"", "expected at most",
                 "found 18446744073709551615");
  text.clear();
  append<uint64_t>(text, 1000);
  EXPECT_REFUSED(GgufBuilder().raw_key("k", GgufBuilder::kString, text), "metadata \"k\"", "expected 1000 more bytes",
                 "found 0");
  for (uint32_t type : {GgufBuilder::kU8, GgufBuilder::kU64, GgufBuilder::kBool, GgufBuilder::kString}) {
    for (uint64_t size : {uint64_t{100}, uint64_t{1} << 24, uint64_t{1} << 61, UINT64_MAX}) {
      std::string array;
      append(array, type);
      append(array, size);
      EXPECT_REFUSED(GgufBuilder().raw_key("k", GgufBuilder::kArray, array), "metadata \"k\"", "expected", "found");
    }
  }
  std::string inner;  // an array whose second string is too long
  append<uint32_t>(inner, GgufBuilder::kString);
  append<uint64_t>(inner, 2);
  append_text(inner, "ok");
  append<uint64_t>(inner, 1u << 30);
  EXPECT_REFUSED(GgufBuilder().raw_key("k", GgufBuilder::kArray, inner), "metadata \"k\": element 1", "expected",
                 "found 0");
}

TEST(GgufHostile, ValueTypesThatDoNotExist) {
  EXPECT_REFUSED(GgufBuilder().raw_key("k", 13, "xxxxxxxx"), "metadata \"k\": type", "expected 0 to 12", "found 13");
  EXPECT_REFUSED(GgufBuilder().raw_key("k", UINT32_MAX, "xxxxxxxx"), "type", "expected", "found 4294967295");
  EXPECT_REFUSED(GgufBuilder().array<uint8_t>("k", static_cast<GgufBuilder::Type>(77), {1}), "element type", "expected",
                 "found 77");
  EXPECT_REFUSED(GgufBuilder().array<uint8_t>("k", GgufBuilder::kArray, {1}), "element type", "expected a scalar",
                 "found an array");
  EXPECT_REFUSED(GgufBuilder().key<uint8_t>("k", GgufBuilder::kBool, 2), "metadata \"k\"", "expected a boolean",
                 "found 2");
  EXPECT_REFUSED(GgufBuilder().array<uint8_t>("k", GgufBuilder::kBool, {0, 255}), "element 1", "expected a boolean",
                 "found 255");
  EXPECT_REFUSED(GgufBuilder().array<uint64_t>("k", GgufBuilder::kU64, {UINT64_MAX}), "element 0", "expected at most",
                 "found 18446744073709551615");
}

TEST(GgufHostile, DuplicateNames) {
  EXPECT_REFUSED(GgufBuilder().text("k", "a").text("k", "b"), "metadata \"k\"", "expected a unique key",
                 "found it twice");
  EXPECT_REFUSED(GgufBuilder().tensor("t", {1}, 0, 0).tensor("t", {1}, 0, 32).data(std::string(64, 0)), "tensor \"t\"",
                 "expected a unique name", "found it twice");
  EXPECT_REFUSED(GgufBuilder().text("", "a"), "metadata key 1 of 1", "expected a name", "found an empty string");
  EXPECT_REFUSED(GgufBuilder().tensor("", {1}, 0, 0).data("1234"), "tensor 1 of 1", "expected a name",
                 "found an empty string");
}

TEST(GgufHostile, DimensionProductsThatOverflow) {
  const std::vector<std::vector<int64_t>> shapes = {
      {INT64_MAX, 2}, {int64_t{1} << 32, int64_t{1} << 32}, {int64_t{1} << 62, 4, 0}, {3037000500, 3037000500, 1, 1}};
  for (const auto& shape : shapes) {
    EXPECT_REFUSED(GgufBuilder().tensor("t", shape, 24, 0).data("1234"), "tensor \"t\": dimensions",
                   "expected a size below 2^63", "found [");
  }
  // The elements fit, their bytes do not.
  EXPECT_REFUSED(GgufBuilder().tensor("t", {int64_t{1} << 61}, 0, 0).data("1234"), "dimensions", "expected",
                 "found [2305843009213693952]");
  EXPECT_REFUSED(GgufBuilder().tensor("t", {-1}, 0, 0).data("1234"), "dimensions", "expected 0 or more", "found -1");
  EXPECT_REFUSED(GgufBuilder().tensor("t", {1, 1, 1, 1, 1}, 0, 0).data("1234"), "number of dimensions",
                 "expected at most 4", "found 5");
  EXPECT_REFUSED(GgufBuilder().tensor("t", {33}, 8, 0).data(std::string(99, 0)), "dimensions",
                 "multiple of 32 values for Q8_0", "found [33]");
  EXPECT_REFUSED(GgufBuilder().tensor("t", {}, 12, 0).data(std::string(999, 0)), "dimensions", "multiple of 256",
                 "found []");
}

TEST(GgufHostile, TypesOfTensors) {
  for (uint32_t type : {4u, 36u}) {
    EXPECT_REFUSED(GgufBuilder().tensor("t", {32}, type, 0).data("1"), "tensor \"t\": type", "newer file", "withdrawn");
  }
  for (uint32_t type : {9u, 99u, 256u, 261u, UINT32_MAX}) {  // ids from 256 on are Kinglet's own
    EXPECT_REFUSED(GgufBuilder().tensor("t", {32}, type, 0).data("1"), "tensor \"t\": type", "expected",
                   "found " + std::to_string(type));
  }
}

TEST(GgufHostile, OffsetsOutsideTheFile) {
  for (uint64_t offset : {uint64_t{32}, uint64_t{1} << 40, UINT64_MAX - 31}) {
    EXPECT_REFUSED(GgufBuilder().tensor("t", {8}, 0, offset).data(std::string(32, 0)), "tensor \"t\"",
                   "expected 32 bytes at offset " + std::to_string(offset), "found a section of 32");
  }
  EXPECT_REFUSED(GgufBuilder().tensor("t", {9}, 0, 0).data(std::string(32, 0)), "tensor \"t\"", "expected 36 bytes",
                 "found a section of 32");
  EXPECT_REFUSED(GgufBuilder().tensor("t", {1}, 0, 4).data(std::string(32, 0)), "offset", "expected a multiple of 32",
                 "found 4");
  EXPECT_REFUSED(GgufBuilder().tensor("t", {16}, 0, 0).tensor("u", {8}, 0, 32).data(std::string(64, 0)),
                 "tensor \"u\": offset", "expected bytes of its own", "found an overlap with \"t\"");
}

TEST(GgufHostile, PaddingPastTheEnd) {
  std::string file = small_gguf().build();
  // Cut between the end of the tensor list and the start of the data section.
  const size_t data = file.size() - 66;
  file.resize(data - 1);
  EXPECT_REFUSED(file, "tensor \"a.weight\"", "expected 24 bytes", "found a section of 0");
  // An alignment as large as the position allows: the padding alone passes the end.
  EXPECT_REFUSED(
      GgufBuilder().key<uint32_t>("general.alignment", GgufBuilder::kU32, 1u << 20).tensor("t", {1}, 0, 0).data("1234"),
      "tensor \"t\"", "expected 4 bytes", "found a section of 0");
}

TEST(GgufHostile, WrongTypeOrValueOfAKnownKey) {
  EXPECT_REFUSED(GgufBuilder().text("general.alignment", "32"), "general.alignment", "expected an integer",
                 "found the string \"32\"");
  EXPECT_REFUSED(GgufBuilder().key<float>("general.alignment", GgufBuilder::kF32, 32.5f), "general.alignment",
                 "expected an integer", "found the number 32.5");
  EXPECT_REFUSED(GgufBuilder().key<uint32_t>("general.alignment", GgufBuilder::kU32, 0), "general.alignment",
                 "expected an integer from 1", "found the integer 0");
  EXPECT_REFUSED(GgufBuilder().key<uint32_t>("general.alignment", GgufBuilder::kU32, 24), "general.alignment",
                 "expected a power of two", "found 24");
  EXPECT_REFUSED(GgufBuilder().key<uint64_t>("general.alignment", GgufBuilder::kU64, UINT64_MAX), "general.alignment",
                 "expected", "found");
  const TemporaryFolder folder;
  for (const char* key : {"split.count", "split.no"}) {
    const std::string path = folder.write(
        "a.gguf", GgufBuilder()
                      .text(key, "x")
                      .key<uint16_t>(key == std::string("split.no") ? "split.count" : "split.no", GgufBuilder::kU16, 2)
                      .tensor("t", {1}, 0, 0)
                      .data("1234")
                      .build());
    const auto failed = open_checkpoint(path);
    ASSERT_FALSE(failed.ok());
    EXPECT_THAT(failed.error().message, AllOf(HasSubstr("a.gguf: "), HasSubstr(key), HasSubstr("expected an integer"),
                                              HasSubstr("found the string")));
  }
}

TEST(GgufHostile, SplitCountsThatOverflow) {
  const TemporaryFolder folder;
  for (uint64_t count : {uint64_t{100000}, UINT64_MAX}) {
    const std::string path =
        folder.write("a-00001-of-00002.gguf", GgufBuilder()
                                                  .key<uint64_t>("split.count", GgufBuilder::kU64, count)
                                                  .key<uint64_t>("split.no", GgufBuilder::kU64, 0)
                                                  .build());
    const auto failed = open_checkpoint(path);
    ASSERT_FALSE(failed.ok());
    EXPECT_THAT(failed.error().message,
                AllOf(HasSubstr("split.count"), HasSubstr("expected"), HasSubstr(std::to_string(count))));
  }
}

TEST(GgufHostile, TruncatedAnywhere) {
  const std::string whole = small_gguf().build();
  ASSERT_TRUE(parse_gguf(bytes_of(whole), "bad.gguf").ok());
  for (size_t size = 0; size < whole.size(); ++size) {
    // A copy of its own size, so that a sanitizer sees any read past the end.
    const std::vector<char> part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    const auto parsed = parse_gguf(std::as_bytes(std::span(part)), "bad.gguf");
    ASSERT_FALSE(parsed.ok()) << size << " of " << whole.size() << " bytes";
    EXPECT_THAT(parsed.error().message, AllOf(HasSubstr("bad.gguf: "), HasSubstr("expected"), HasSubstr("found")));
  }
}

TEST(GgufHostile, AnyByteChangedNeverCrashes) {
  const std::string whole = small_gguf().build();
  for (size_t at = 0; at < whole.size(); ++at) {
    for (int change : {0x01, 0x80, 0xff}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ change);
      const auto parsed = parse_gguf(bytes_of(changed), "bad.gguf");
      if (!parsed.ok()) {
        EXPECT_THAT(parsed.error().message, HasSubstr("bad.gguf: "));
      }
    }
  }
}

TEST(GgufHostile, NamesCannotCommandTheTerminal) {
  EXPECT_REFUSED(GgufBuilder().raw_key("\x1b]0;owned\x07", 99, ""), "metadata \"\\x1b]0;owned\\x07\"", "expected",
                 "found 99");
}

}  // namespace
}  // namespace kinglet
