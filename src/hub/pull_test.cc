#include "hub/pull.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "base/hash.h"
#include "hub/files.h"
#include "hub/test_support.h"

namespace kinglet {
namespace {

using namespace hub_test;
using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr const char* kRepo = "acme/Tiny-GGUF";
constexpr const char* kFile = "Tiny-Q4_K_M.gguf";

class PullTest : public testing::Test {
 protected:
  void SetUp() override {
    contents_ = random_bytes(700'001, 1);
    hub_.add_file(kRepo, kFile, contents_);
    hub_.add_file(kRepo, "README.md", "read me");
  }

  Result<PullResult> pull_tiny() { return pull(store_, remote(kRepo), options_); }
  size_t stored_models() { return store_.list()->models.size(); }
  // The error of a pull that must fail and leave no model.
  Error failure(const std::string& rules) {
    hub_.set_scenario("{\"rules\": [" + rules + "]}");
    auto result = pull_tiny();
    EXPECT_FALSE(result.ok());
    EXPECT_EQ(stored_models(), 0u);
    return result.ok() ? Error{} : result.error();
  }
  void expect_success(const std::string& rules) {
    hub_.set_scenario("{\"rules\": [" + rules + "]}");
    auto result = pull_tiny();
    ASSERT_TRUE(result.ok()) << result.error().message;
    EXPECT_EQ(read_file(result->model.path()), contents_);
    EXPECT_TRUE(store_.verify(result->model).ok());
  }
  std::vector<std::string> staged() {
    std::vector<std::string> names;
    for (const auto& [name, text] : read_tree(store_.staging_dir(kRepo))) names.push_back(name);
    return names;
  }

  FakeHub& hub_ = fresh_hub();
  TemporaryFolder folder_;
  Store store_{folder_.path() + "/store"};
  PullOptions options_ = hub_.options();
  std::string contents_;
};

TEST_F(PullTest, FetchesInRangesAndStores) {
  std::vector<PullProgress> seen;
  options_.progress = [&](const PullProgress& progress) { seen.push_back(progress); };
  auto result = pull_tiny();
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_FALSE(result->already_present);
  EXPECT_EQ(result->model.name, kRepo);
  EXPECT_EQ(result->model.entry, kFile);
  EXPECT_EQ(result->model.revision, "0123456789abcdef0123456789abcdef01234567");
  EXPECT_EQ(read_file(result->model.path()), contents_);
  EXPECT_EQ(result->model.files[0].sha256, sha256_hex(contents_));
  EXPECT_GE(hub_.requests({"storage", "206"}).size(), contents_.size() / options_.piece_bytes);
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.back().phase, PullProgress::Phase::kDone);
  EXPECT_EQ(seen.back().done, contents_.size());
  uint64_t most = 0;
  for (const PullProgress& progress : seen) {
    if (progress.phase == PullProgress::Phase::kDownloading) most = std::max(most, progress.done);
  }
  EXPECT_EQ(most, contents_.size());
  EXPECT_TRUE(staged().empty());
}

TEST_F(PullTest, SecondPullTransfersNothing) {
  ASSERT_TRUE(pull_tiny().ok());
  hub_.forget_requests();
  auto again = pull_tiny();
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->already_present);
  EXPECT_EQ(hub_.requests().size(), 1u);  // the listing
}

TEST_F(PullTest, NewRevisionReplacesTheModel) {
  ASSERT_TRUE(pull_tiny().ok());
  contents_ = random_bytes(300'000, 2);
  hub_.add_file(kRepo, kFile, contents_);
  hub_.set_scenario(R"({"commit": "ffffffffffffffffffffffffffffffffffffffff"})");
  auto result = pull_tiny();
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(result->model.revision, std::string(40, 'f'));
  EXPECT_EQ(read_file(result->model.path()), contents_);
  EXPECT_EQ(stored_models(), 1u);
}

TEST_F(PullTest, UnchangedFilesOfANewRevisionAreNotFetchedAgain) {
  ASSERT_TRUE(pull_tiny().ok());
  hub_.set_scenario(R"({"commit": "ffffffffffffffffffffffffffffffffffffffff"})");
  hub_.forget_requests();
  ASSERT_TRUE(pull_tiny().ok());
  EXPECT_TRUE(hub_.requests({"storage"}).empty());
}

TEST_F(PullTest, AnswersThatEndAPull) {
  const Error unauthorised = failure(R"({"match": "hub /api", "action": "status", "status": 401})");
  EXPECT_EQ(unauthorised.code, ErrorCode::kNetwork);
  EXPECT_THAT(unauthorised.message, HasSubstr("set HF_TOKEN"));
  const Error gated = failure(
      R"({"match": "resolve", "action": "status", "status": 403, "headers": {"X-Error-Message": "Access restricted"}})");
  EXPECT_THAT(gated.message, HasSubstr("accepted"));
  EXPECT_THAT(gated.message, HasSubstr("Access restricted"));
  const Error missing = failure(R"({"match": "hub /api", "action": "status", "status": 404})");
  EXPECT_EQ(missing.code, ErrorCode::kNotFound);
  EXPECT_THAT(missing.message, HasSubstr(kRepo));
  hub_.forget_requests();
  failure(R"({"match": "hub /api", "action": "status", "status": 404, "id": 2})");
  EXPECT_EQ(hub_.requests().size(), 1u) << "a 404 is not retried";
  options_.token = "hf_wrong";
  EXPECT_THAT(failure(R"({"match": "hub /api", "action": "status", "status": 401, "id": 2})").message,
              HasSubstr("refuses the token"));
}

TEST_F(PullTest, PassingTroubleIsRetried) {
  expect_success(R"({"match": "hub /api", "action": "status", "status": 503, "times": 2},
                    {"match": "hub /api", "action": "status", "status": 429, "headers": {"Retry-After": "0"}, "times": 1},
                    {"match": "hub .*resolve", "action": "status", "status": 500, "times": 2},
                    {"match": "storage", "action": "status", "status": 403, "times": 1},
                    {"match": "storage", "action": "cut", "after": 20000, "times": 9})");
}

TEST_F(PullTest, HonoursRetryAfter) {
  const auto start = std::chrono::steady_clock::now();
  expect_success(
      R"({"match": "hub /api", "action": "status", "status": 429, "headers": {"Retry-After": "1"}, "times": 1})");
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(950));
}

TEST_F(PullTest, GivesUpInTheEnd) {
  EXPECT_THAT(failure(R"({"match": "hub /api", "action": "status", "status": 502})").message,
              HasSubstr("tried 6 times"));
  EXPECT_THAT(failure(R"({"match": "storage", "action": "cut", "after": 0})").message, HasSubstr("tried 6 times"));
  EXPECT_THAT(failure(R"({"match": "hub /api", "action": "status", "status": 429, "headers": {"Retry-After": "9999"}})")
                  .message,
              HasSubstr("9999 seconds"));
}

TEST_F(PullTest, StalledConnectionsAreCutAndRetried) {
  expect_success(R"({"match": "storage", "action": "stall", "after": 1000, "times": 1})");
}

TEST_F(PullTest, WrongSizesAreErrorsAndNothingStays) {
  for (const char* delta : {"1", "-1", "-700000"}) {
    const Error error = failure(R"({"match": "storage", "action": "size", "delta": )" + std::string(delta) + "}");
    EXPECT_EQ(error.code, ErrorCode::kInvalid);
    EXPECT_THAT(error.message, HasSubstr("wrong size"));
    EXPECT_TRUE(staged().empty()) << staged()[0];
  }
  EXPECT_THAT(failure(R"({"match": "storage", "action": "size", "delta": 5, "no_range": true})").message,
              HasSubstr("700006"));
}

TEST_F(PullTest, WrongContentsAreErrorsAndNothingStays) {
  const Error error = failure(R"({"match": "storage", "action": "corrupt", "at": 345678})");
  EXPECT_EQ(error.code, ErrorCode::kInvalid);
  EXPECT_THAT(error.message, HasSubstr("SHA-256"));
  EXPECT_TRUE(staged().empty());
  expect_success("");
}

TEST_F(PullTest, ServersThatIgnoreRanges) {
  expect_success(R"({"match": "storage", "action": "no_range"})");
  EXPECT_EQ(hub_.requests({"storage", "\"status\": 200"}).size(), 1u);
}

TEST_F(PullTest, ServersThatIgnoreRangesAndCut) {
  expect_success(R"({"match": "storage", "action": "cut", "after": 50000, "times": 1},
                    {"match": "storage", "action": "no_range"})");
}

TEST_F(PullTest, TokenStaysWithItsHost) {
  options_.token = "hf_secret";
  expect_success("");
  EXPECT_FALSE(hub_.requests({"\"hub\"", "Bearer hf_secret"}).empty());
  EXPECT_FALSE(hub_.requests({"\"storage\""}).empty());
  EXPECT_TRUE(hub_.requests({"\"storage\"", "hf_secret"}).empty());
  EXPECT_TRUE(hub_.requests({"\"hub\"", "\"authorization\": null"}).empty());
}

TEST_F(PullTest, TokenIsNotSentToTheSamePortOfAnotherHostName) {
  options_.token = "hf_secret";
  hub_.set_scenario(
      R"({"rules": [{"match": "hub /api", "times": 1, "action": "redirect", "to": "http://localhost:{hub}/api/models/acme/Tiny-GGUF/revision/main?blobs=true&away"}]})");
  ASSERT_TRUE(pull_tiny().ok());
  ASSERT_EQ(hub_.requests({"away"}).size(), 1u);
  EXPECT_TRUE(hub_.requests({"away", "hf_secret"}).empty());
}

TEST_F(PullTest, RenamedRepositoriesAndBadRedirects) {
  expect_success(
      R"({"match": "hub /api", "times": 1, "action": "redirect", "to": "/api/models/acme/Tiny-GGUF/revision/main?blobs=true"})");
  store_ = Store(folder_.path() + "/other");
  for (const char* to : {"file:///etc/passwd", "ftp://localhost/x", "http://user:pw@localhost/", ""}) {
    EXPECT_THAT(failure(R"({"match": "hub /api", "action": "redirect", "to": ")" + std::string(to) + "\"}").message,
                HasSubstr("not followed"))
        << to;
  }
  EXPECT_THAT(failure(R"({"match": "hub /api", "action": "redirect", "to": "/api/loop"})").message,
              HasSubstr("redirects"));
}

TEST_F(PullTest, HostileListings) {
  const std::string before = R"({"match": "hub /api", "action": "raw", "body": ")";
  const std::vector<std::string> bodies = {
      "",
      "not json",
      "[]",
      "{}",
      R"({\"sha\": \"..\", \"siblings\": []})",
      R"({\"sha\": \"a/../b\", \"siblings\": []})",
      R"({\"sha\": \"abc\", \"siblings\": [{\"rfilename\": \"../x-Q4_0.gguf\"}]})",
      R"({\"sha\": \"abc\", \"siblings\": [{\"rfilename\": \"/etc/x-Q4_0.gguf\"}]})",
      R"({\"sha\": \"abc\", \"siblings\": [{\"rfilename\": \"a\\\\b.gguf\"}]})",
      R"({\"sha\": \"abc\", \"siblings\": [{\"rfilename\": \"a\\u0000b.gguf\"}]})",
      R"({\"sha\": \"abc\", \"siblings\": [{\"rfilename\": \"a.gguf\", \"size\": -5}]})",
      R"({\"sha\": \"abc\", \"siblings\": [{\"rfilename\": \"a.gguf\", \"size\": 99999999999999999}]})",
      R"({\"sha\": \"abc\", \"siblings\": [{\"rfilename\": \"a.gguf\", \"lfs\": {\"sha256\": \"zz\", \"size\": 1}}]})",
      R"({\"sha\": \"abc\", \"siblings\": [{\"rfilename\": \"a.gguf\"}, {\"rfilename\": \"a.gguf\"}]})",
      R"({\"sha\": \"abc\", \"siblings\": [{\"rfilename\": \"a.gguf\"}]})",
      std::string(100'000, '['),
  };
  for (const std::string& body : bodies) {
    const Error error = failure(before + body + "\"}");
    EXPECT_FALSE(error.message.empty()) << body.substr(0, 100);
  }
  EXPECT_THAT(failure(before + bodies[6] + "\"}").message, HasSubstr("not safe"));
  for (const auto& entry : fs::recursive_directory_iterator(folder_.path())) {
    EXPECT_THAT(entry.path().string(), HasSubstr(folder_.path() + "/store"));
  }
}

TEST_F(PullTest, SmallFilesAreCheckedByTheirGitId) {
  const std::string repo = "acme/Tiny";
  hub_.add_file(repo, "config.json", "{}");
  hub_.add_file(repo, "tokenizer.json", "{\"model\": 1}");
  hub_.add_file(
      repo, "model.safetensors.index.json",
      R"({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}})");
  hub_.add_file(repo, "model-00001-of-00002.safetensors", random_bytes(200'000, 3));
  hub_.add_file(repo, "model-00002-of-00002.safetensors", random_bytes(100'000, 4));
  hub_.add_file(repo, "pytorch_model.bin", "unwanted");
  hub_.add_file(repo, "modeling.py", "unwanted");
  hub_.set_scenario(R"({"rules": [{"match": "tokenizer.json", "action": "corrupt", "at": 3, "times": 1}]})");
  auto bad = pull(store_, remote(repo), options_);
  ASSERT_FALSE(bad.ok());
  EXPECT_THAT(bad.error().message, HasSubstr("git SHA-1"));
  auto good = pull(store_, remote(repo), options_);
  ASSERT_TRUE(good.ok()) << good.error().message;
  EXPECT_TRUE(good->model.entry.empty());
  EXPECT_EQ(good->model.path(), good->model.files_dir);
  EXPECT_EQ(read_tree(good->model.files_dir).size(), 5u);
  EXPECT_TRUE(hub_.requests({"unwanted"}).empty());
  EXPECT_TRUE(store_.verify(good->model).ok());
  auto resolved = resolve_model(repo, store_);
  ASSERT_TRUE(resolved.ok());
  EXPECT_EQ(resolved->path, good->model.files_dir);
  EXPECT_TRUE(resolve_model_path(good->model.files_dir).ok());
}

TEST_F(PullTest, AnIndexThatNamesAMissingShardIsNoModel) {
  const std::string repo = "acme/Hole";
  hub_.add_file(repo, "config.json", "{}");
  hub_.add_file(repo, "model-00001-of-00002.safetensors", "x");
  for (const char* other : {"model-00002-of-00002.safetensors", "../../../etc/passwd"}) {
    hub_.add_file(repo, "model.safetensors.index.json",
                  R"({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": ")" + std::string(other) + "\"}}");
    auto result = pull(store_, remote(repo), options_);
    ASSERT_FALSE(result.ok());
    EXPECT_THAT(result.error().message, HasSubstr("index.json"));
    EXPECT_FALSE(store_.contains(repo));
  }
}

TEST_F(PullTest, SplitModelsComeWhole) {
  const std::string repo = "acme/Split";
  for (int part = 1; part <= 3; ++part) {
    hub_.add_file(repo, "Q8_0/big-Q8_0-0000" + std::to_string(part) + "-of-00003.gguf",
                  random_bytes(90'000, 10u + part));
  }
  auto result = pull(store_, remote(repo + ":q8_0"), options_);
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(result->model.name, repo + ":Q8_0");
  EXPECT_EQ(result->model.entry, "Q8_0/big-Q8_0-00001-of-00003.gguf");
  EXPECT_EQ(result->model.files.size(), 3u);
  EXPECT_TRUE(resolve_model_path(result->model.path()).ok());
}

TEST_F(PullTest, RevisionsArePartOfTheName) {
  auto branch = pull(store_, remote(std::string(kRepo) + "@refs/pr/3"), options_);
  ASSERT_TRUE(branch.ok()) << branch.error().message;
  EXPECT_EQ(branch->model.name, std::string(kRepo) + "@refs/pr/3");
  EXPECT_EQ(hub_.requests({"revision/refs%2Fpr%2F3"}).size(), 1u);
  const std::string pinned = std::string(kRepo) + "@0123456789abcdef0123456789abcdef01234567";
  ASSERT_TRUE(pull(store_, remote(pinned), options_).ok());
  hub_.forget_requests();
  ASSERT_TRUE(pull(store_, remote(pinned), options_)->already_present);
  EXPECT_TRUE(hub_.requests().empty()) << "a pinned commit that is stored needs no network";
}

TEST_F(PullTest, UsesWhatTheHuggingFaceCacheHolds) {
  const std::string commit = "0123456789abcdef0123456789abcdef01234567";
  const std::string cache = folder_.path() + "/hf";
  const std::string repo = cache + "/models--acme--Tiny-GGUF";
  write_file(repo + "/blobs/" + sha256_hex(contents_), contents_);
  write_file(repo + "/refs/main", commit);
  fs::create_directories(repo + "/snapshots/" + commit);
  fs::create_symlink("../../blobs/" + sha256_hex(contents_), repo + "/snapshots/" + commit + "/" + kFile);
  options_.hub_cache = cache;
  expect_success("");
  EXPECT_TRUE(hub_.requests({"resolve"}).empty());

  store_ = Store(folder_.path() + "/offline");
  options_.offline = true;
  hub_.forget_requests();
  expect_success("");
  EXPECT_TRUE(hub_.requests().empty());

  store_ = Store(folder_.path() + "/damaged");
  std::string damaged = contents_;
  damaged[5] = static_cast<char>(damaged[5] ^ 1);
  fs::remove(repo + "/blobs/" + sha256_hex(contents_));  // the stores hold links to the good file
  write_file(repo + "/blobs/" + sha256_hex(contents_), damaged);
  EXPECT_THAT(failure("").message, HasSubstr("damaged"));
  options_.offline = false;
  expect_success("");
}

TEST_F(PullTest, AnUnreachableHubPointsToTheCache) {
  const std::string commit(40, 'c');
  const std::string repo = folder_.path() + "/hf/models--acme--Tiny-GGUF";
  write_file(repo + "/refs/main", commit);
  write_file(repo + "/snapshots/" + commit + "/" + kFile, contents_);  // a cache without links: no hash is known
  options_.hub_cache = folder_.path() + "/hf";
  EXPECT_THAT(failure(R"({"match": "hub /api", "action": "status", "status": 500})").message,
              HasSubstr(commit + ": HF_HUB_OFFLINE=1"));
  options_.offline = true;
  expect_success("");
}

TEST_F(PullTest, OfflineSaysSo) {
  options_.offline = true;
  const Error error = failure("");
  EXPECT_THAT(error.message, HasSubstr("HF_HUB_OFFLINE"));
  EXPECT_TRUE(hub_.requests().empty());
}

TEST_F(PullTest, CancelledAtAnyPointItResumes) {
  hub_.set_scenario(R"({"rules": [{"match": "storage", "action": "slow", "rate": 200000}]})");
  for (int round = 0; round < 8; ++round) {
    std::atomic<bool> cancel{false};
    options_.cancel = &cancel;
    std::thread canceller([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(10 + 23 * round));
      cancel = true;
    });
    auto result = pull_tiny();
    canceller.join();
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::kCancelled) << result.error().message;
    EXPECT_EQ(stored_models(), 0u);
  }
  options_.cancel = nullptr;
  uint64_t first_done = 0;
  options_.progress = [&](const PullProgress& progress) {
    if (progress.phase == PullProgress::Phase::kDownloading && progress.total > 0 && first_done == 0) {
      first_done = progress.done + 1;
    }
  };
  expect_success("");
  EXPECT_GT(first_done, 60'000u) << "the last pull began at zero";
}

TEST_F(PullTest, AResumedDownloadWhoseFileChangedBeginsAgain) {
  hub_.set_scenario(R"({"rules": [{"match": "storage", "action": "cut", "after": 30000, "etag": "\"old\"", "times": 3},
                                  {"match": "storage", "action": "status", "status": 404}]})");
  ASSERT_FALSE(pull_tiny().ok());
  ASSERT_FALSE(staged().empty());
  hub_.forget_requests();
  hub_.set_scenario(R"({"rules": [{"match": "storage", "action": "slow", "rate": 10000000, "etag": "\"new\""}]})");
  auto result = pull_tiny();
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(read_file(result->model.path()), contents_);
  EXPECT_FALSE(hub_.requests({"if_range\": \"\\\"old"}).empty());
}

TEST_F(PullTest, TwoAtOnceShareTheWork) {
  hub_.set_scenario(R"({"rules": [{"match": "storage", "action": "slow", "rate": 2000000}]})");
  std::atomic<int> good{0};
  auto one = [&] {
    PullOptions options = hub_.options();
    Store store(store_.root());
    auto result = pull(store, remote(kRepo), options);
    if (result.ok()) ++good;
  };
  std::thread first(one);
  std::thread second(one);
  first.join();
  second.join();
  EXPECT_EQ(good, 2);
  EXPECT_EQ(stored_models(), 1u);
  EXPECT_LE(hub_.requests({"\"storage\""}).size(), contents_.size() / options_.piece_bytes + 2);
}

TEST_F(PullTest, UnreachableHostsAreNamed) {
  options_.endpoint = "http://127.0.0.1:1";
  const Error error = failure("");
  EXPECT_EQ(error.code, ErrorCode::kNetwork);
  EXPECT_THAT(error.message, HasSubstr("127.0.0.1:1"));
}

TEST_F(PullTest, ProxiesOfTheEnvironmentAreUsed) {
  // The fake hub answers absolute addresses too; a host that cannot exist proves that it was asked as a proxy.
  const ScopedVariable proxy("http_proxy", hub_.url());
  const ScopedVariable except("no_proxy", "127.0.0.1");
  options_.endpoint = "http://hub.invalid";
  const Error error = failure(R"({"match": "hub /api", "action": "status", "status": 404})");
  EXPECT_EQ(error.code, ErrorCode::kNotFound);
  EXPECT_FALSE(hub_.requests({"http://hub.invalid/api"}).empty());
}

TEST_F(PullTest, ObtainPullsOnceAndThenFinds) {
  auto first = obtain_model(store_, kRepo, options_);
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_EQ(first->kind, ModelReference::Kind::kStored);
  hub_.forget_requests();
  auto second = obtain_model(store_, kRepo, options_);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->path, first->path);
  EXPECT_TRUE(hub_.requests().empty());
}

TEST(PullOptionsTest, ReadTheEnvironment) {
  const ScopedVariable endpoint("HF_ENDPOINT", "https://mirror.example/hub//");
  const ScopedVariable token("HF_TOKEN", "hf_abc");
  const ScopedVariable offline("HF_HUB_OFFLINE", "True");
  const ScopedVariable cache("HF_HUB_CACHE", "");
  const ScopedVariable home("HF_HOME", "/somewhere");
  auto options = PullOptions::from_environment();
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->endpoint, "https://mirror.example/hub");
  EXPECT_EQ(options->token, "hf_abc");
  EXPECT_TRUE(options->offline);
  EXPECT_EQ(options->hub_cache, "/somewhere/hub");
  for (const char* bad : {"ftp://x", "mirror.example", "https://", "https://u:p@x", "https://x/?q", "https://x\n.y"}) {
    const ScopedVariable wrong("HF_ENDPOINT", bad);
    EXPECT_FALSE(PullOptions::from_environment().ok()) << bad;
  }
  const ScopedVariable wrong("HF_TOKEN", "abc\r\nX-Evil: 1");
  EXPECT_FALSE(PullOptions::from_environment().ok());
}

}  // namespace
}  // namespace kinglet
