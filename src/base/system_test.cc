#include "base/system.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>

namespace kinglet {
namespace {

// A machine made of files.
class SystemTest : public testing::Test {
 protected:
  ~SystemTest() override { std::filesystem::remove_all(root_); }
  void put(const std::string& path, const std::string& contents) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << contents;
  }
  const std::string root_ = testing::TempDir() + "kinglet-system-" + std::to_string(::getpid());
};

TEST_F(SystemTest, NothingKnownMeansNoLimit) {
  EXPECT_EQ(cgroup_available_memory(root_), UINT64_MAX);
  EXPECT_EQ(machine_available_memory(root_), UINT64_MAX);
  EXPECT_TRUE(std::isinf(cgroup_cpu_quota(root_)));
  EXPECT_EQ(count_physical_cores({0, 1, 2}, root_), 3);
}

TEST_F(SystemTest, MemoryOfTheMachine) {
  put("/proc/meminfo", "MemTotal:       8000000 kB\nMemFree: 1 kB\nMemAvailable:    4000000 kB\n");
  EXPECT_EQ(machine_available_memory(root_), uint64_t{4000000} * 1024);
}

TEST_F(SystemTest, MemoryOfTheProcess) {
  EXPECT_EQ(resident_memory(root_).peak, 0u);
  put("/proc/self/status", "Name:\tx\nVmHWM:\t    3000 kB\nRssAnon:\t    1000 kB\nRssFile:\t     500 kB\n");
  const ResidentMemory held = resident_memory(root_);
  EXPECT_EQ(held.peak, 3000u * 1024);
  EXPECT_EQ(held.anonymous, 1000u * 1024);
  EXPECT_EQ(held.file, 500u * 1024);
  const ResidentMemory own = resident_memory();
  EXPECT_GT(own.anonymous, 0u);
  EXPECT_GE(own.peak, own.anonymous);
}

TEST_F(SystemTest, MemoryUnderTheTightestGroup) {
  put("/proc/self/cgroup", "0::/user/app\n");
  put("/sys/fs/cgroup/user/app/memory.max", "max\n");
  put("/sys/fs/cgroup/user/memory.max", "1000000\n");
  put("/sys/fs/cgroup/user/memory.current", "700000\n");
  put("/sys/fs/cgroup/user/memory.stat", "anon 5\ninactive_file 300000\nactive_file 9\n");
  EXPECT_EQ(cgroup_available_memory(root_), 600000u);
  put("/sys/fs/cgroup/user/memory.current", "1900000\n");  // over the limit: nothing left, not a huge number
  EXPECT_EQ(cgroup_available_memory(root_), 0u);
}

TEST_F(SystemTest, GroupPathOfAContainerThatDoesNotExistInIt) {
  put("/proc/self/cgroup", "0::/docker/0123abcd\n");
  put("/sys/fs/cgroup/memory.max", "500\n");
  put("/sys/fs/cgroup/memory.current", "100\n");
  put("/sys/fs/cgroup/cpu.max", "250000 100000\n");
  EXPECT_EQ(cgroup_available_memory(root_), 400u);
  EXPECT_EQ(cgroup_cpu_quota(root_), 2.5);
}

TEST_F(SystemTest, VersionOneGroups) {
  put("/proc/self/cgroup", "12:cpu,cpuacct:/a\n3:memory:/b\n1:name=systemd:/x\n");
  put("/sys/fs/cgroup/memory/b/memory.limit_in_bytes", "9223372036854771712\n");  // how version 1 says "none"
  put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n");
  put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "1096\n");
  put("/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "150000\n");
  put("/sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
  put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cgroup_available_memory(root_), 3000u);
  EXPECT_EQ(cgroup_cpu_quota(root_), 1.5);
}

TEST_F(SystemTest, UnlimitedQuota) {
  put("/proc/self/cgroup", "0::/\n");
  put("/sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_TRUE(std::isinf(cgroup_cpu_quota(root_)));
}

TEST_F(SystemTest, DamagedFilesAreNoLimit) {
  put("/proc/self/cgroup", "rubbish\n0:\n:::\n0::\n0::/ok\n");
  put("/sys/fs/cgroup/ok/memory.max", "");
  put("/sys/fs/cgroup/ok/cpu.max", "5 0\n");
  EXPECT_EQ(cgroup_available_memory(root_), UINT64_MAX);
  EXPECT_TRUE(std::isinf(cgroup_cpu_quota(root_)));
}

TEST_F(SystemTest, HyperThreadsCountOnce) {
  const auto siblings = [&](int cpu, const char* list) {
    put("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list", list);
  };
  siblings(0, "0,4\n");
  siblings(4, "0,4\n");
  siblings(1, "1-2\n");
  siblings(2, "1-2\n");
  EXPECT_EQ(count_physical_cores({0, 1, 2, 4}, root_), 2);
  EXPECT_EQ(count_physical_cores({2, 4}, root_), 2);  // affinity to the second thread of each
  EXPECT_EQ(count_physical_cores({7}, root_), 1);     // no facts: a core of its own
  EXPECT_EQ(count_physical_cores({}, root_), 1);
}

TEST(System, ThisMachine) {
  const std::vector<int> cpus = allowed_cpus();
  EXPECT_GE(cpus.size(), 1u);
  EXPECT_GE(count_physical_cores(cpus), 1);
  EXPECT_LE(count_physical_cores(cpus), static_cast<int>(cpus.size()));
}

}  // namespace
}  // namespace kinglet
