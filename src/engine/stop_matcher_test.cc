#include "engine/stop_matcher.h"

#include <gtest/gtest.h>

#include <random>

namespace kinglet {
namespace {

TEST(StopMatcher, HoldsBackWhatMayBeAStart) {
  StopMatcher matcher({"STOP", "\n\n"});
  EXPECT_EQ(matcher.push("one S"), "one ");
  EXPECT_EQ(matcher.push("T"), "");
  EXPECT_EQ(matcher.push("x"), "STx");
  EXPECT_EQ(matcher.push("\n"), "");
  EXPECT_EQ(matcher.push("y ST"), "\ny ");
  EXPECT_EQ(matcher.push("OP and more"), "");
  EXPECT_EQ(matcher.found(), "STOP");
  EXPECT_EQ(matcher.push("never"), "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, GivesTheRestAtTheEnd) {
  StopMatcher matcher({"abc"});
  EXPECT_EQ(matcher.push("xab"), "x");
  EXPECT_EQ(matcher.finish(), "ab");
  EXPECT_FALSE(matcher.found().has_value());
}

TEST(StopMatcher, WithoutStopsTextPassesThrough) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.push("anything"), "anything");
}

TEST(StopMatcher, OfMatchesThatEndTogetherTheLongestCounts) {
  StopMatcher matcher({"b", "ab"});
  EXPECT_EQ(matcher.push("xab"), "x");
  EXPECT_EQ(matcher.found(), "ab");
}

TEST(StopMatcher, BadStopStringsAreRefused) {
  EXPECT_TRUE(check_stop_strings({"a", "é", "日本", "😀"}).ok());
  EXPECT_FALSE(check_stop_strings({""}).ok());
  EXPECT_FALSE(check_stop_strings({"ok", "\xff"}).ok());
  EXPECT_FALSE(check_stop_strings({"\xc3"}).ok());
  EXPECT_FALSE(check_stop_strings({"\xed\xa0\x80"}).ok());
  EXPECT_FALSE(check_stop_strings({"\xc0\x80"}).ok());
  EXPECT_FALSE(check_stop_strings({std::string(kMaxStopBytes + 1, 'x')}).ok());
  EXPECT_FALSE(check_stop_strings(std::vector<std::string>(kMaxStops + 1, "x")).ok());
}

// The definition: walk to the first end of any stop string; the text before its start is the answer.
std::string naive(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (end >= stop.size() && text.compare(end - stop.size(), stop.size(), stop) == 0) {
        longest = std::max(longest, stop.size());
      }
    }
    if (longest > 0) return text.substr(0, end - longest);
  }
  return text;
}

TEST(StopMatcher, AnySplitGivesTheSameAnswer) {
  std::mt19937 random(3);
  int found = 0;
  for (int run = 0; run < 3000; ++run) {
    const auto letters = [&](size_t length) {
      std::string text(length, 'a');
      for (char& c : text) c = static_cast<char>('a' + random() % 3);
      return text;
    };
    const std::string text = letters(random() % 40);
    std::vector<std::string> stops;
    for (size_t i = 0; i < random() % 4; ++i) stops.push_back(letters(2 + random() % 4));
    const std::string expected = naive(text, stops);
    StopMatcher matcher(stops);
    std::string got;
    for (size_t at = 0; at < text.size();) {
      const size_t length = 1 + random() % 5;
      got += matcher.push(std::string_view(text).substr(at, length));
      ASSERT_EQ(got, expected.substr(0, got.size())) << "text came out that should not";
      at += length;
    }
    got += matcher.finish();
    EXPECT_EQ(got, expected);
    EXPECT_EQ(matcher.found().has_value(), expected.size() < text.size());
    found += matcher.found() ? 1 : 0;
  }
  EXPECT_GT(found, 300);
}

}  // namespace
}  // namespace kinglet
