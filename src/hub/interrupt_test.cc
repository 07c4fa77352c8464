// What pulls leave behind when the process or the disk gives out: processes killed at random moments, file size limits,
// a full file system.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <random>
#include <thread>

#include "base/hash.h"
#include "hub/pull.h"
#include "hub/test_support.h"

namespace kinglet {
namespace {

using namespace hub_test;
namespace fs = std::filesystem;

constexpr const char* kRepo = "acme/Tiny-GGUF";

class InterruptTest : public testing::Test {
 protected:
  void SetUp() override {
    contents_ = random_bytes(3'000'000, 7);
    hub_.add_file(kRepo, "Tiny-Q4_K_M.gguf", contents_);
  }

  // Runs `body` in a child and returns its exit code; `body` returns what the child shall exit with.
  template <class Body>
  int in_child(Body body) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(body());
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  // 0 when a pull into `root` fails with kResource and a message that holds `words`.
  int expect_no_room(const std::string& root, const std::string& words) {
    Store store(root);
    auto result = pull(store, remote(kRepo), options_);
    if (result.ok()) return 1;
    std::fprintf(stderr, "%s\n", result.error().message.c_str());
    if (result.error().code != ErrorCode::kResource) return 2;
    if (result.error().message.find(words) == std::string::npos) return 3;
    auto listing = store.list();
    return listing.ok() && listing->models.empty() && listing->broken.empty() ? 0 : 4;
  }

  FakeHub& hub_ = fresh_hub();
  TemporaryFolder folder_;
  Store store_{folder_.path() + "/store"};
  PullOptions options_ = hub_.options();
  std::string contents_;
};

TEST_F(InterruptTest, KilledAtRandomMomentsItResumes) {
  hub_.set_scenario(R"({"rules": [{"match": "storage", "action": "slow", "rate": 400000}]})");
  std::mt19937 random(12);
  int finished = 0;
  for (int round = 0; round < 12; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      auto result = pull(store_, remote(kRepo), options_);
      ::_exit(result.ok() ? 0 : 1);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 500));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    auto listing = store_.list();
    ASSERT_TRUE(listing.ok());
    EXPECT_TRUE(listing->broken.empty());
    for (const StoredModel& model : listing->models) {
      ++finished;
      EXPECT_TRUE(store_.verify(model).ok());
    }
  }
  hub_.set_scenario("{}");
  hub_.forget_requests();
  uint64_t resumed_from = 0;
  options_.progress = [&](const PullProgress& progress) {
    if (progress.phase == PullProgress::Phase::kDownloading && resumed_from == 0) resumed_from = progress.done + 1;
  };
  auto result = pull(store_, remote(kRepo), options_);
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_TRUE(read_file(result->model.path()) == contents_);
  EXPECT_TRUE(finished > 0 || resumed_from > 10'000u) << "nothing of twelve attempts was kept";
}

TEST_F(InterruptTest, AKilledCommitLeavesTheOldModelOrTheNew) {
  ASSERT_TRUE(pull(store_, remote(kRepo), options_).ok());
  std::mt19937 random(13);
  for (int round = 0; round < 10; ++round) {
    const std::string fresh = random_bytes(200'000, 100u + static_cast<unsigned>(round));
    hub_.add_file(kRepo, "Tiny-Q4_K_M.gguf", fresh);
    const std::string digits = std::to_string(1000 + round);
    hub_.set_scenario("{\"commit\": \"" + std::string(36, 'a') + digits + "\"}");
    const pid_t child = ::fork();
    if (child == 0) {
      auto result = pull(store_, remote(kRepo), options_);
      ::_exit(result.ok() ? 0 : 1);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + random() % 120));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    auto model = store_.find(kRepo);
    ASSERT_TRUE(model.ok()) << model.error().message;
    EXPECT_TRUE(store_.verify(*model).ok());
  }
}

TEST_F(InterruptTest, FileSizeLimitsAreErrors) {
  const int code = in_child([&] {
    const rlimit limit{1'000'000, 1'000'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    return expect_no_room(store_.root(), "file size limit");
  });
  EXPECT_EQ(code, 0);
  EXPECT_TRUE(pull(store_, remote(kRepo), options_).ok());
}

TEST_F(InterruptTest, AFullFileSystemIsAnError) {
  const std::string mount_point = folder_.path() + "/tiny";
  fs::create_directory(mount_point);
  constexpr int kCannotMount = 77;
  const int code = in_child([&] {
    // In a mount namespace of its own; gone with the child.
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", mount_point.c_str(), "tmpfs", 0, "size=2m") != 0) {
      return kCannotMount;
    }
    return expect_no_room(mount_point + "/store", "are free");
  });
  if (code == kCannotMount) {
    std::fprintf(stderr, "SKIPPED: a small file system can't be mounted here (needs root)\n");
    GTEST_SKIP() << "cannot mount a tmpfs";
  }
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace kinglet
