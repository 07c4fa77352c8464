#include "formats/metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace kinglet {
namespace {

using testing::HasSubstr;

Metadata example() {
  Metadata m("model.gguf");
  m.set("bool", true);
  m.set("int", int64_t{-3});
  m.set("uint", std::numeric_limits<uint64_t>::max());
  m.set("float", 2.5);
  m.set("whole", 4096.0);
  m.set("nan", std::numeric_limits<double>::quiet_NaN());
  m.set("huge", 1e300);
  m.set("text", std::string("x\x1b"));
  m.set("bools", std::vector<bool>{true, false});
  m.set("ints", std::vector<int64_t>{1, 2});
  m.set("floats", std::vector<double>{0.5});
  m.set("texts", std::vector<std::string>{"a", "b"});
  m.set("empty", std::vector<int64_t>{});
  return m;
}

TEST(Metadata, RightTypes) {
  const Metadata m = example();
  EXPECT_EQ(*m.get_bool("bool"), true);
  EXPECT_EQ(*m.get_int("int", -3, 0), -3);
  EXPECT_EQ(*m.get_int("whole", 0, 10000), 4096);  // integral floats are integers
  EXPECT_EQ(*m.get_float("float"), 2.5);
  EXPECT_EQ(*m.get_float("int"), -3.0);
  EXPECT_EQ(*m.get_string("text"), "x\x1b");
  EXPECT_EQ(*m.get_ints("ints"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(*m.get_floats("ints"), (std::vector<double>{1, 2}));
  EXPECT_EQ(*m.get_floats("floats"), (std::vector<double>{0.5}));
  EXPECT_EQ(m.get_strings("texts")->size(), 2u);
  EXPECT_TRUE(m.get_strings("empty")->empty());  // no element, no wrong type
  EXPECT_TRUE(m.has("nan"));
  EXPECT_EQ(m.find("absent"), nullptr);
}

TEST(Metadata, WrongTypesAndRangesNameFileKeyFoundAndExpected) {
  const Metadata m = example();
  const auto message = [](const auto& result) {
    return result.ok() ? std::string("no error") : result.error().message;
  };
  EXPECT_EQ(message(m.get_int("int", 0, 8)), "model.gguf: int: expected an integer from 0 to 8, found the integer -3");
  EXPECT_THAT(message(m.get_int("float", 0, 8)), HasSubstr("found the number 2.5"));
  EXPECT_THAT(message(m.get_int("uint", 0, 8)), HasSubstr("found the integer 18446744073709551615"));
  EXPECT_THAT(message(m.get_int("huge", 0, 8)), HasSubstr("expected an integer"));
  EXPECT_THAT(message(m.get_int("nan", 0, 8)), HasSubstr("nan"));
  EXPECT_THAT(message(m.get_int("bool", 0, 8)), HasSubstr("found the boolean true"));
  EXPECT_THAT(message(m.get_float("nan")), HasSubstr("expected a finite number"));
  EXPECT_THAT(message(m.get_float("text")), HasSubstr("found the string \"x\\x1b\""));
  EXPECT_THAT(message(m.get_bool("int")), HasSubstr("expected a boolean"));
  EXPECT_THAT(message(m.get_string("ints")), HasSubstr("expected a string, found an array of 2 integers"));
  EXPECT_THAT(message(m.get_string("empty")), HasSubstr("expected a string, found an array of 0"));
  EXPECT_THAT(message(m.get_ints("floats")), HasSubstr("found an array of 1 numbers"));
  EXPECT_THAT(message(m.get_strings("bools")), HasSubstr("found an array of 2 booleans"));
  EXPECT_THAT(message(m.get_string("absent")),
              HasSubstr("model.gguf: absent: expected a string, but the key is absent"));
}

TEST(Metadata, FallbacksAreForAbsentKeysOnly) {
  const Metadata m = example();
  EXPECT_EQ(*m.int_or("absent", 0, 8, 5), 5);
  EXPECT_EQ(*m.float_or("absent", 0.25), 0.25);
  EXPECT_EQ(*m.bool_or("absent", true), true);
  EXPECT_EQ(*m.string_or("absent", "x"), "x");
  EXPECT_FALSE(m.int_or("text", 0, 8, 5).ok());
  EXPECT_FALSE(m.int_or("int", 0, 8, 5).ok());
  EXPECT_FALSE(m.float_or("nan", 1.0).ok());
  EXPECT_FALSE(m.bool_or("text", true).ok());
  EXPECT_FALSE(m.string_or("bool", "x").ok());
}

}  // namespace
}  // namespace kinglet
