#include "hub/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "base/hash.h"
#include "hub/files.h"
#include "hub/test_support.h"

namespace kinglet {
namespace {

using namespace hub_test;
using testing::HasSubstr;
namespace fs = std::filesystem;

class StoreTest : public testing::Test {
 protected:
  // Commits a model of one file.
  StoredModel add(const std::string& name, const std::string& contents) {
    EXPECT_TRUE(store_.create_folders().ok());
    write_file(store_.staging_files_dir(name) + "/model.gguf", contents);
    StoredModel model;
    model.name = name;
    model.source = "hf:acme/x";
    model.entry = "model.gguf";
    model.created = 1234;
    model.files = {{"model.gguf", contents.size(), sha256_hex(contents)}};
    auto stored = store_.commit(model);
    EXPECT_TRUE(stored.ok()) << stored.error().message;
    return *stored;
  }
  std::string folder_of(const std::string& name) { return store_.root() + "/ready/" + *encode_model_key(name); }

  TemporaryFolder folder_;
  Store store_{folder_.path() + "/store"};
};

TEST(ModelKey, RoundTripsAndNeverEscapes) {
  for (const std::string name :
       {"smollm2", "qwen3:0.6b", "org/repo:Q4_K_M@refs/pr/1", "..", ".", "../../etc", "a%b", "ä", " x"}) {
    auto key = encode_model_key(name);
    ASSERT_TRUE(key.ok()) << name;
    EXPECT_EQ(key->find('/'), std::string::npos);
    EXPECT_NE(key->front(), '.');
    EXPECT_EQ(decode_model_key(*key), name);
  }
  EXPECT_FALSE(encode_model_key("").ok());
  EXPECT_FALSE(encode_model_key("a\nb").ok());
  EXPECT_FALSE(encode_model_key(std::string_view("a\0b", 3)).ok());
  EXPECT_FALSE(encode_model_key(std::string(241, 'x')).ok());
}

TEST_F(StoreTest, AMissingStoreIsEmpty) {
  auto listing = store_.list();
  ASSERT_TRUE(listing.ok());
  EXPECT_TRUE(listing->models.empty());
  EXPECT_FALSE(fs::exists(store_.root())) << "looking creates nothing";
  EXPECT_EQ(store_.find("x").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store_.remove("x").error().code, ErrorCode::kNotFound);
}

TEST_F(StoreTest, CommitListFindRemove) {
  add("b:1", "bbb");
  const StoredModel model = add("a/x:Q4_0@rev", "aaaa");
  auto listing = store_.list();
  ASSERT_TRUE(listing.ok());
  ASSERT_EQ(listing->models.size(), 2u);
  EXPECT_EQ(listing->models[0].name, "a/x:Q4_0@rev");
  EXPECT_EQ(listing->models[0].created, 1234);
  EXPECT_EQ(listing->models[0].total_bytes(), 4u);
  EXPECT_EQ(read_file(model.path()), "aaaa");
  EXPECT_EQ(store_.find_content(sha256_hex("bbb"), 3), store_.find("b:1")->path());
  EXPECT_EQ(store_.find_content(sha256_hex("bbb"), 4), "");
  auto freed = store_.remove("b:1");
  ASSERT_TRUE(freed.ok());
  EXPECT_GE(*freed, 3u);
  EXPECT_FALSE(store_.contains("b:1"));
  EXPECT_FALSE(fs::exists(folder_of("b:1")));
  EXPECT_EQ(store_.list()->models.size(), 1u);
}

TEST_F(StoreTest, CommitReplacesAndPrunes) {
  add("m", "old");
  write_file(store_.staging_files_dir("m") + "/surplus.gguf", "left over");
  write_file(store_.staging_dir("m") + "/partial/0", "left over");
  add("m", "new!");
  EXPECT_EQ(read_file(store_.find("m")->path()), "new!");
  const auto tree = read_tree(folder_of("m"));
  EXPECT_EQ(tree.size(), 2u);  // the manifest and the file
  EXPECT_TRUE(read_tree(store_.root() + "/staging").empty());
}

TEST_F(StoreTest, StagedFilesAreNoModel) {
  ASSERT_TRUE(store_.create_folders().ok());
  write_file(store_.staging_files_dir("m") + "/model.gguf", "half");
  EXPECT_TRUE(store_.list()->models.empty());
  EXPECT_TRUE(store_.list()->broken.empty());
  EXPECT_TRUE(store_.remove("m").ok()) << "rm clears what an interrupted pull left";
  EXPECT_FALSE(fs::exists(store_.staging_dir("m")));
}

TEST_F(StoreTest, OneBrokenModelHidesNoOther) {
  add("good", "g");
  const std::string manifest = read_file(folder_of("good") + "/manifest.json");
  const std::vector<std::pair<std::string, std::string>> broken = {
      {"no-manifest", ""},
      {"garbage", "\xff\xfe{"},
      {"truncated", manifest.substr(0, manifest.size() / 2)},
      {"deep", std::string(200'000, '[')},
      {"array", "[1, 2]"},
      {"other-name", manifest},
      {"newer", R"({"format": 2, "name": "newer"})"},
      {"escape", R"({"format": 1, "name": "escape", "files": [{"name": "../../x", "size": 1, "sha256": ")" +
                     std::string(64, 'a') + "\"}]}"},
      {"no-files", R"({"format": 1, "name": "no-files", "files": []})"},
      {"bad-size", R"({"format": 1, "name": "bad-size", "files": [{"name": "x", "size": -1, "sha256": ")" +
                       std::string(64, 'a') + "\"}]}"},
      {"bad-entry",
       R"({"format": 1, "name": "bad-entry", "entry": "y", "files": [{"name": "x", "size": 1, "sha256": ")" +
           std::string(64, 'a') + "\"}]}"},
      {"lost-file", R"({"format": 1, "name": "lost-file", "files": [{"name": "x", "size": 1, "sha256": ")" +
                        std::string(64, 'a') + "\"}]}"},
  };
  for (const auto& [name, text] : broken) {
    fs::create_directories(folder_of(name));
    if (!text.empty()) write_file(folder_of(name) + "/manifest.json", text);
  }
  write_file(store_.root() + "/ready/a-file", "not a folder");
  fs::create_symlink("loop", store_.root() + "/ready/loop");
  auto listing = store_.list();
  ASSERT_TRUE(listing.ok());
  ASSERT_EQ(listing->models.size(), 1u);
  EXPECT_EQ(listing->broken.size(), broken.size() + 2);
  for (const BrokenModel& model : listing->broken) {
    EXPECT_THAT(model.message, HasSubstr(model.name)) << "names the file";
    EXPECT_THAT(model.message, HasSubstr("kinglet rm " + model.name)) << "says what to do";
    EXPECT_EQ(store_.find(model.name).error().code, ErrorCode::kInvalid);
    EXPECT_TRUE(store_.remove(model.name).ok()) << model.name;
  }
  EXPECT_TRUE(store_.list()->broken.empty());
  EXPECT_EQ(store_.list()->models.size(), 1u);
}

TEST_F(StoreTest, LossAndDamageAreFound) {
  StoredModel model = add("m", "contents");
  EXPECT_TRUE(store_.verify(model).ok());
  write_file(model.path(), "Contents");
  EXPECT_TRUE(store_.find("m").ok()) << "sizes are checked on every look, contents by verify";
  auto damage = store_.verify(model);
  ASSERT_FALSE(damage.ok());
  EXPECT_THAT(damage.error().message, HasSubstr("SHA-256"));
  write_file(model.path(), "short");
  EXPECT_THAT(store_.find("m").error().message, HasSubstr("has 5 bytes"));
  const std::atomic<bool> cancel{true};
  EXPECT_EQ(store_.verify(model, {}, &cancel).error().code, ErrorCode::kCancelled);
}

TEST_F(StoreTest, RemovedLinksDoNotHurtTheirTargets) {
  const std::string outside = folder_.path() + "/outside/precious";
  write_file(outside, "precious");
  add("m", "x");
  fs::create_directory_symlink(folder_.path() + "/outside", folder_of("m") + "/link");
  ASSERT_TRUE(store_.remove("m").ok());
  EXPECT_EQ(read_file(outside), "precious");
}

TEST_F(StoreTest, PlacesThatCannotBeWrittenAreNamed) {
  write_file(folder_.path() + "/file", "in the way");
  const Store blocked(folder_.path() + "/file/store");
  auto status = blocked.create_folders();
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr(folder_.path() + "/file"));

  const std::string locked = folder_.path() + "/locked";
  fs::create_directory(locked);
  ::chmod(folder_.path().c_str(), 0755);
  ::chmod(locked.c_str(), 0555);
  // Root may write anywhere: become somebody else, in a child.
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(3);
    auto refused = Store(locked + "/store").create_folders();
    if (refused.ok()) ::_exit(1);
    const bool clear = refused.error().code == ErrorCode::kIo &&
                       refused.error().message.find("Permission denied") != std::string::npos &&
                       refused.error().message.find(locked) != std::string::npos &&
                       refused.error().message.find("KINGLET_HOME") != std::string::npos;
    ::_exit(clear ? 0 : 2);
  }
  int result = 0;
  ::waitpid(child, &result, 0);
  EXPECT_EQ(WEXITSTATUS(result), 0);
}

TEST_F(StoreTest, TheDefaultPlace) {
  {
    const ScopedVariable home("KINGLET_HOME", "/some/where");
    EXPECT_EQ(Store::open_default()->root(), "/some/where/models");
  }
  const ScopedVariable kinglet("KINGLET_HOME", "");
  const ScopedVariable home("HOME", "/home/me");
  {
    const ScopedVariable cache("XDG_CACHE_HOME", "/cache");
    EXPECT_EQ(Store::open_default()->root(), "/cache/kinglet/models");
  }
  const ScopedVariable cache("XDG_CACHE_HOME", "relative");
  EXPECT_EQ(Store::open_default()->root(), "/home/me/.cache/kinglet/models");
  const ScopedVariable nowhere("HOME", "");
  EXPECT_FALSE(Store::open_default().ok());
}

TEST_F(StoreTest, LocksExclude) {
  ASSERT_TRUE(store_.create_folders().ok());
  const std::string path = store_.staging_lock_path("m");
  {
    auto held = hub::FileLock::try_acquire(path);
    ASSERT_TRUE(held.ok());
    EXPECT_EQ(hub::FileLock::try_acquire(path).error().code, ErrorCode::kResource);
    EXPECT_EQ(store_.remove("m").error().code, ErrorCode::kNotFound);
    fs::create_directories(store_.staging_dir("m"));
    EXPECT_THAT(store_.remove("m").error().message, HasSubstr("another process"));
    const std::atomic<bool> cancel{true};
    EXPECT_EQ(hub::FileLock::acquire(path, &cancel).error().code, ErrorCode::kCancelled);
  }
  EXPECT_TRUE(hub::FileLock::try_acquire(path).ok());
}

}  // namespace
}  // namespace kinglet
