#include "kernels/isa.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "kernels/ops.h"
#include "kernels/table.h"

namespace kinglet {
namespace {

TEST(Isa, TheForcedLevelIsTheOneThatRuns) {
  for (IsaLevel level : available_isa_levels()) {
    ASSERT_EQ(setenv("KINGLET_ISA", std::string(isa_name(level)).c_str(), 1), 0);
    const auto chosen = choose_isa_level();
    ASSERT_TRUE(chosen.ok());
    EXPECT_EQ(*chosen, level);
    EXPECT_EQ(kernel_table(*chosen).level, level);
  }
  unsetenv("KINGLET_ISA");
}

TEST(Isa, AnArgumentWinsOverTheEnvironment) {
  ASSERT_EQ(setenv("KINGLET_ISA", "nonsense", 1), 0);
  const auto chosen = choose_isa_level("portable");
  ASSERT_TRUE(chosen.ok());
  EXPECT_EQ(*chosen, IsaLevel::kPortable);
  unsetenv("KINGLET_ISA");
}

TEST(Isa, UnknownNamesAreErrorsThatListTheAvailableOnes) {
  const auto chosen = choose_isa_level("avx9000");
  ASSERT_FALSE(chosen.ok());
  EXPECT_THAT(chosen.error().message, testing::HasSubstr("portable"));
  EXPECT_THAT(chosen.error().message, testing::HasSubstr("avx9000"));
}

TEST(Isa, TheBestLevelIsTheDefault) {
  unsetenv("KINGLET_ISA");
  EXPECT_EQ(*choose_isa_level(), available_isa_levels().back());
  EXPECT_EQ(available_isa_levels().front(), IsaLevel::kPortable);
}

}  // namespace
}  // namespace kinglet
