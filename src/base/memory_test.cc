#include "base/memory.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

namespace kinglet {
namespace {

class MappedFileTest : public testing::Test {
 protected:
  MappedFileTest() { std::filesystem::create_directories(folder_); }
  ~MappedFileTest() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& contents) {
    std::ofstream(folder_ / name, std::ios::binary) << contents;
    return (folder_ / name).string();
  }

  const std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / ("kinglet-memory-" + std::to_string(::getpid()));
};

TEST_F(MappedFileTest, ShowsTheBytes) {
  const std::string path = write("a", "hello");
  const auto file = MappedFile::open(path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(std::memcmp((*file)->bytes().data(), "hello", 5), 0);
  EXPECT_EQ((*file)->bytes().size(), 5u);
  EXPECT_EQ((*file)->path(), path);
}

TEST_F(MappedFileTest, EmptyFile) {
  const auto file = MappedFile::open(write("empty", ""));
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE((*file)->bytes().empty());
}

TEST_F(MappedFileTest, ReleasedPagesCanBeReadAgain) {
  std::string contents(100000, 'x');
  contents[99999] = 'z';
  const auto file = MappedFile::open(write("big", contents));
  ASSERT_TRUE(file.ok());
  const auto bytes = (*file)->bytes();
  (*file)->release(bytes);
  (*file)->release(bytes.subspan(1, 5000));
  (*file)->release({});
  const std::byte elsewhere[4] = {};
  (*file)->release(elsewhere);  // not part of the map: ignored
  EXPECT_EQ(static_cast<char>(bytes[99999]), 'z');
  EXPECT_EQ(static_cast<char>(bytes[0]), 'x');
}

TEST_F(MappedFileTest, ErrorsNameTheFile) {
  const auto absent = MappedFile::open((folder_ / "absent").string());
  ASSERT_FALSE(absent.ok());
  EXPECT_EQ(absent.error().code, ErrorCode::kNotFound);
  EXPECT_NE(absent.error().message.find("absent"), std::string::npos);

  const auto folder = MappedFile::open(folder_.string());
  ASSERT_FALSE(folder.ok());
  EXPECT_NE(folder.error().message.find("not a regular file"), std::string::npos);

  // Opening a pipe that nobody writes to must not hang.
  const std::string pipe = (folder_ / "pipe").string();
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_FALSE(MappedFile::open(pipe).ok());

  EXPECT_FALSE(MappedFile::open(std::string("a\0b", 3)).ok());
}

TEST(AlignedBuffer, AlignedZeroedAndWithReadableTail) {
  auto buffer = AlignedBuffer::allocate(12345);
  ASSERT_TRUE(buffer.ok());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % (2u << 20), 0u);
  EXPECT_EQ(buffer->size(), 12345u);
  for (size_t i = 0; i < 12345 + AlignedBuffer::kTailBytes; ++i) ASSERT_EQ(buffer->data()[i], std::byte{0});
  buffer->as<float>()[3] = 1.5f;
  AlignedBuffer moved = std::move(*buffer);
  EXPECT_EQ(moved.as<float>()[3], 1.5f);
  AlignedBuffer other;
  other = std::move(moved);
  EXPECT_EQ(other.as<float>()[3], 1.5f);
}

TEST(AlignedBuffer, TailIsReadableWhereASizeFillsItsPages) {
  constexpr size_t kBytes = size_t{2} << 20;
  const auto buffer = AlignedBuffer::allocate(kBytes);
  ASSERT_TRUE(buffer.ok());
  EXPECT_EQ(buffer->data()[kBytes + AlignedBuffer::kTailBytes - 1], std::byte{0});
}

TEST(AlignedBuffer, ImpossibleSizesAreRefused) {
  for (size_t bytes :
       {std::numeric_limits<size_t>::max(), std::numeric_limits<size_t>::max() - 4096, size_t{1} << 60}) {
    const auto buffer = AlignedBuffer::allocate(bytes);
    ASSERT_FALSE(buffer.ok());
    EXPECT_EQ(buffer.error().code, ErrorCode::kResource);
    EXPECT_NE(buffer.error().message.find(std::to_string(bytes)), std::string::npos);
  }
}

TEST(AvailableMemory, IsPlausible) {
  EXPECT_GT(available_memory_bytes(), uint64_t{16} << 20);
  EXPECT_LT(available_memory_bytes(), uint64_t{1} << 50);
}

}  // namespace
}  // namespace kinglet
