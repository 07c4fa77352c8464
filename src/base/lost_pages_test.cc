#include "base/lost_pages.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/memory.h"

namespace kinglet {
namespace {

std::string write_file(const std::string& name, size_t bytes) {
  const std::string path = testing::TempDir() + name + std::to_string(::getpid());
  std::ofstream(path, std::ios::binary) << std::string(bytes, 'x');
  return path;
}

TEST(LostPages, ReadAsZerosAndAreReported) {
  constexpr size_t kBytes = 1 << 20;
  const std::string cut = write_file("cut", kBytes), whole = write_file("whole", kBytes);
  {
    const auto first = MappedFile::open(cut), second = MappedFile::open(whole);
    ASSERT_TRUE(first.ok() && second.ok());
    const auto bytes = (*first)->bytes();
    EXPECT_EQ(bytes[kBytes - 1], std::byte{'x'});
    EXPECT_FALSE(pages_lost(bytes));
    std::filesystem::resize_file(cut, kBytes / 4);
    EXPECT_EQ(bytes[kBytes / 2], std::byte{0});
    EXPECT_EQ(bytes[kBytes - 1], std::byte{0});
    EXPECT_EQ(bytes[0], std::byte{'x'});  // what the file still has
    EXPECT_TRUE(pages_lost(bytes));
    EXPECT_FALSE(pages_lost((*second)->bytes()));
    EXPECT_EQ((*second)->bytes()[kBytes - 1], std::byte{'x'});
  }
  const auto again = MappedFile::open(cut);  // perhaps where the lost map was
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(pages_lost((*again)->bytes()));
  std::filesystem::remove(cut);
  std::filesystem::remove(whole);
}

TEST(LostPages, NothingIsKnownOfOtherMemory) {
  const std::byte byte{};
  EXPECT_FALSE(pages_lost({&byte, 1}));
  EXPECT_FALSE(pages_lost({}));
}

}  // namespace
}  // namespace kinglet
