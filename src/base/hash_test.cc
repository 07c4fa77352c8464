#include "base/hash.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <span>
#include <string>

namespace kinglet {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Expected values are those of sha256sum, sha1sum and xxhsum -H2.
TEST(Hash, KnownValues) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Digest sha1(Digest::Kind::kSha1);
  sha1.update("abc");
  EXPECT_EQ(sha1.finish_hex(), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(xxh3_128({}).hex(), "99aa06d3014798d86001c324468d497f");
  EXPECT_NE(xxh3_128(bytes_of("abc"), 1), xxh3_128(bytes_of("abc"), 2));
}

TEST(Hash, PiecesAndFilesEqualTheWhole) {
  std::string text;
  for (int64_t i = 0; text.size() < 3'000'000; ++i) text += std::to_string(i * 7919);
  Digest digest;
  for (size_t at = 0; at < text.size(); at += 100'003) digest.update(std::string_view(text).substr(at, 100'003));
  EXPECT_EQ(digest.finish_hex(), sha256_hex(text));

  const std::string path = testing::TempDir() + "kinglet-hash-" + std::to_string(::getpid());
  std::ofstream(path, std::ios::binary) << text;
  EXPECT_EQ(*sha256_file(path), sha256_hex(text));
  EXPECT_EQ(*xxh3_128_file(path), xxh3_128(bytes_of(text)));
  std::remove(path.c_str());
}

TEST(Hash, FileErrors) {
  const auto absent = sha256_file("/nonexistent/kinglet");
  ASSERT_FALSE(absent.ok());
  EXPECT_EQ(absent.error().code, ErrorCode::kNotFound);
  EXPECT_NE(absent.error().message.find("/nonexistent/kinglet"), std::string::npos);
  EXPECT_FALSE(sha256_file(testing::TempDir()).ok());  // a folder opens, but cannot be read
  EXPECT_FALSE(xxh3_128_file(testing::TempDir()).ok());
}

}  // namespace
}  // namespace kinglet
