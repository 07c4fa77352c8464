#include "hub/documents.h"

#include <gtest/gtest.h>

#include "hub/files.h"
#include "hub/http.h"
#include "hub/test_support.h"

namespace kinglet::hub {
namespace {

TEST(Documents, ManifestRoundTrip) {
  StoredModel model;
  model.name = "a/b:\xff\"quoted\"";  // a name with a broken byte must not throw
  model.source = "hf:a/b";
  model.revision = "r";
  model.entry = "x.gguf";
  model.created = 99;
  model.files = {{"x.gguf", 5, std::string(64, 'a')}, {"d/y.json", 0, std::string(64, 'b')}};
  auto parsed = parse_manifest(format_manifest(model), "m");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(parsed->entry, "x.gguf");
  EXPECT_EQ(parsed->created, 99);
  ASSERT_EQ(parsed->files.size(), 2u);
  EXPECT_EQ(parsed->files[1].name, "d/y.json");
}

TEST(Documents, PartialStateMustTileTheFile) {
  PartialState state{"f", 100, "d", "\"e\"", {{0, 60, 10}, {60, 100, 40}}};
  auto parsed = parse_partial_state(format_partial_state(state), "p");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(parsed->pieces[0].done, 10u);
  const std::vector<std::vector<PieceState>> bad = {
      {},
      {{0, 60, 10}},
      {{0, 60, 61}, {60, 100, 0}},
      {{0, 60, 0}, {50, 100, 0}},
      {{0, 60, 0}, {70, 100, 0}},
      {{0, 101, 0}},
      {{0, 0, 0}, {0, 100, 0}},
      {{10, 100, 0}},
  };
  for (size_t i = 0; i < bad.size(); ++i) {
    state.pieces = bad[i];
    EXPECT_FALSE(parse_partial_state(format_partial_state(state), "p").ok()) << i;
  }
  EXPECT_FALSE(parse_partial_state(R"({"size": 1, "pieces": [[0, -1, 0]]})", "p").ok());
  EXPECT_FALSE(parse_partial_state(R"({"size": 1, "pieces": [[0, 1]]})", "p").ok());
  EXPECT_FALSE(parse_partial_state(R"({"size": 1, "pieces": 7})", "p").ok());
}

TEST(Documents, ListingKeepsBothKindsOfHashes) {
  const std::string text = R"({"sha": "abc", "siblings": [
      {"rfilename": "m.gguf", "size": 134, "blobId": ")" +
                           std::string(40, 'b') + R"(", "lfs": {"sha256": ")" + std::string(64, 'a') +
                           R"(", "size": 5000000000, "pointerSize": 134}},
      {"rfilename": "config.json", "size": 12, "blobId": ")" +
                           std::string(40, 'c') + R"("},
      {"rfilename": "no-hash.txt"}]})";
  auto listing = parse_hub_listing(text, "l");
  ASSERT_TRUE(listing.ok()) << listing.error().message;
  EXPECT_EQ(listing->files[0].size, 5'000'000'000u);
  EXPECT_EQ(listing->files[0].sha256, std::string(64, 'a'));
  EXPECT_EQ(listing->files[1].git_sha1, std::string(40, 'c'));
  EXPECT_TRUE(listing->files[2].git_sha1.empty());
}

TEST(Documents, EveryTruncationIsAnErrorNotACrash) {
  StoredModel model;
  model.name = "m";
  model.files = {{"x", 1, std::string(64, 'a')}};
  const std::string manifest = format_manifest(model);
  for (size_t length = 0; length + 2 < manifest.size(); ++length) {
    EXPECT_FALSE(parse_manifest(manifest.substr(0, length), "m").ok()) << length;
  }
}

TEST(Files, SafePaths) {
  for (const char* good : {"a", "a/b.gguf", "..a", "a..b/c", "ä/ö", "a b"})
    EXPECT_TRUE(is_safe_relative_path(good)) << good;
  for (const char* bad :
       {"", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/../b", "a/./b", "a\\b", "a\nb", "a\x7f"}) {
    EXPECT_FALSE(is_safe_relative_path(bad)) << bad;
  }
  EXPECT_FALSE(is_safe_relative_path(std::string_view("a\0b", 3)));
  EXPECT_FALSE(is_safe_relative_path(std::string(2000, 'a')));
  std::string deep = "a";
  for (int i = 0; i < 20; ++i) deep += "/a";
  EXPECT_FALSE(is_safe_relative_path(deep));
}

TEST(Files, Digests) {
  const hub_test::TemporaryFolder folder;
  const std::string path = folder.path() + "/f";
  hub_test::write_file(path, "hello\n");
  auto digests = digest_file(path, nullptr, {}, true);
  ASSERT_TRUE(digests.ok());
  EXPECT_EQ(digests->git_sha1, "ce013625030ba8dba906f756967f9e9ca394464a");  // `git hash-object`
  EXPECT_EQ(digests->sha256, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
}

TEST(Http, UrlsAreEncoded) {
  EXPECT_EQ(encode_url_path("a b/c#d?e%f/ä"), "a%20b/c%23d%3Fe%25f/%C3%A4");
}

}  // namespace
}  // namespace kinglet::hub
