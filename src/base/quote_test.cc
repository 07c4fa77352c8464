#include "base/quote.h"

#include <gtest/gtest.h>

namespace kinglet {
namespace {

TEST(Quote, PlainTextAndUtf8StayReadable) {
  EXPECT_EQ(quote("blk.0.attn_q.weight"), "\"blk.0.attn_q.weight\"");
  EXPECT_EQ(quote("zaunkönig 戴菊 🐦"), "\"zaunkönig 戴菊 🐦\"");
  EXPECT_EQ(quote(""), "\"\"");
  EXPECT_EQ(quote("a\"b\\c"), "\"a\\\"b\\\\c\"");
}

TEST(Quote, NothingReachesTheTerminalAsACommand) {
  EXPECT_EQ(quote("\x1b[2J"), "\"\\x1b[2J\"");
  EXPECT_EQ(quote(std::string_view("a\0b\n\x7f", 5)), "\"a\\x00b\\x0a\\x7f\"");
  EXPECT_EQ(quote("\xc2\x9b"), "\"\\xc2\\x9b\"");  // the one-character form of ESC [
}

TEST(Quote, BytesThatAreNoUtf8) {
  EXPECT_EQ(quote("\xff\xc3"), "\"\\xff\\xc3\"");
  EXPECT_EQ(quote("\xc0\xaf"), "\"\\xc0\\xaf\"");                    // overlong
  EXPECT_EQ(quote("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\"");           // a surrogate
  EXPECT_EQ(quote("\xf4\x90\x80\x80"), "\"\\xf4\\x90\\x80\\x80\"");  // past U+10FFFF
  EXPECT_EQ(quote("\xe2\x82"), "\"\\xe2\\x82\"");                    // cut off
}

TEST(Quote, LongNamesAreCut) {
  const std::string text = quote(std::string(100000, 'x'), 20);
  EXPECT_LT(text.size(), 30u);
  EXPECT_TRUE(text.ends_with("...\""));
}

}  // namespace
}  // namespace kinglet
