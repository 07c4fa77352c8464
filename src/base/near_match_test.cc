#include "base/near_match.h"

#include <gtest/gtest.h>

#include <string>

namespace kinglet {
namespace {

TEST(NearMatch, EditDistanceIgnoresCase) {
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("Qwen3", "qwen2"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("lsit", "list"), 1u);
}

TEST(NearMatch, NearestFirstAndBounded) {
  const std::string_view names[] = {"llama", "qwen2", "qwen3", "gemma3"};
  EXPECT_EQ(nearest_names("qwen4", names, 2), "qwen2, qwen3");
  EXPECT_EQ(nearest_names("gema3", names, 1), "gemma3");
  EXPECT_EQ(nearest_names("qwen3" + std::string(100'000'000, 'x'), names, 1), "qwen3");  // in no time
}

}  // namespace
}  // namespace kinglet
