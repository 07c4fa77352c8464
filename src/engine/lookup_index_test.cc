#include "engine/lookup_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace kinglet {
namespace {

using Tokens = std::vector<int32_t>;

// The length of the longest end of `text` that stands in it before, by trying all.
int64_t longest_end_before(const Tokens& text) {
  int64_t best = 0;
  const auto size = static_cast<int64_t>(text.size());
  for (int64_t at = 1; at < size; ++at) {
    int64_t length = 0;
    while (length < at && length < LookupIndex::kLongest &&
           text[static_cast<size_t>(at - 1 - length)] == text[static_cast<size_t>(size - 1 - length)]) {
      ++length;
    }
    best = std::max(best, length);
  }
  return best;
}

LookupIndex index_of(const Tokens& text) {
  LookupIndex index;
  index.extend(text);
  return index;
}

TEST(LookupIndex, DraftsWhatFollowedTheLongestEnd) {
  const Tokens text = {1, 2, 3, 4, 5, 9, 2, 3, 7, 8, 1, 2, 3};  // "1 2 3" was followed by 4, "2 3" later by 7
  const LookupIndex index = index_of(text);
  EXPECT_EQ(index.match().length, 3);
  EXPECT_EQ(index.draft(text, 3), (Tokens{4, 5, 9}));
}

TEST(LookupIndex, OfEquallyLongEndsTheLatestCounts) {
  const Tokens text = {1, 2, 3, 9, 1, 2, 4, 9, 9, 1, 2};
  EXPECT_EQ(index_of(text).draft(text, 1), Tokens{4});
}

TEST(LookupIndex, APeriodRepeats) {
  const Tokens text = {5, 1, 2, 3, 1, 2, 3};
  EXPECT_EQ(index_of(text).draft(text, 8), (Tokens{1, 2, 3, 1, 2, 3, 1, 2}));
}

TEST(LookupIndex, NothingIsDraftedWithoutAPair) {
  for (const Tokens& text : {Tokens{}, Tokens{1}, Tokens{1, 1}, Tokens{1, 2, 3, 4, 2}}) {
    const LookupIndex index = index_of(text);
    EXPECT_EQ(index.match().length, 0);
    EXPECT_TRUE(index.draft(text, 4).empty());
  }
}

// Token by token and in pieces, over texts of few and of many words: what it finds stands where it says, and long ends
// are as long as a search of everything finds them.
TEST(LookupIndex, FindsTheLongestEndOfRandomTexts) {
  std::mt19937 random(3);
  int64_t found = 0;
  for (int round = 0; round < 60; ++round) {
    const uint32_t words = round % 3 == 0 ? 40 : 400;
    Tokens text;
    LookupIndex index;
    size_t from = 0, left = 0;  // of a passage that stands there again
    while (text.size() < 700) {
      if (left == 0 && text.size() > 100 && random() % 12 == 0) {
        from = random() % (text.size() - 60);
        left = 3 + random() % 90;
      }
      text.push_back(left > 0 ? text[from] : static_cast<int32_t>(random() % words));
      ++from;
      left -= left > 0 ? 1 : 0;
      if (random() % 4 == 0) continue;
      index.extend(text);
      const LookupIndex::Match match = index.match();
      const int64_t longest = longest_end_before(text);
      ASSERT_LE(match.length, longest);
      for (int64_t i = 1; i <= match.length; ++i) {
        ASSERT_EQ(text[static_cast<size_t>(match.source - i)], text[text.size() - static_cast<size_t>(i)]);
      }
      ASSERT_LT(match.source, static_cast<int64_t>(text.size()));
      // A place once found is kept while it holds, though a longer end may have come up elsewhere.
      if (longest >= 4) {
        ASSERT_GE(match.length, 4) << text.size();
      }
      found += longest >= 4 ? 1 : 0;
    }
  }
  EXPECT_GT(found, 5000);
}

TEST(LookupIndex, LongTextsOfOneTokenAreQuick) {
  Tokens text;
  LookupIndex index;
  for (int i = 0; i < 131072; ++i) {
    text.push_back(7);
    index.extend(text);
  }
  EXPECT_EQ(index.match().length, LookupIndex::kLongest);
  EXPECT_EQ(index.draft(text, 3), (Tokens{7, 7, 7}));
  Tokens pairs;  // chains of 65,536 links
  for (int i = 0; i < 65536; ++i) pairs.insert(pairs.end(), {1, 1000 + i});
  LookupIndex other;
  for (size_t size = 2; size <= pairs.size(); size += 2) other.extend(std::span(pairs).first(size));
  EXPECT_EQ(other.match().length, 0);
}

}  // namespace
}  // namespace kinglet
