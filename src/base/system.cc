#include "base/system.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>
#include <utility>

namespace kinglet {
namespace {

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

std::optional<std::string> read_small_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  return number;
}

std::optional<uint64_t> read_number(const std::string& path) {
  const auto text = read_small_file(path);
  return text ? parse_number(*text) : std::nullopt;
}

// The number after "key" in a file of "key number" lines; `key` includes its separator.
uint64_t number_after(const std::string& text, std::string_view key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!std::string_view(line).starts_with(key)) continue;
    const size_t digit = line.find_first_of("0123456789", key.size());
    if (digit != std::string::npos) return parse_number(std::string_view(line).substr(digit)).value_or(0);
  }
  return 0;
}

// The folders that limit this process in one hierarchy, innermost first. In a container the path that the kernel tells
// may not exist under the mounted hierarchy; its root then is our group.
std::vector<std::string> group_folders(const std::string& mount, std::string group) {
  std::vector<std::string> folders;
  while (!group.empty() && group != "/") {
    folders.push_back(mount + group);
    group.resize(group.rfind('/'));
  }
  folders.push_back(mount);
  return folders;
}

// Path of this process's group: of the v2 hierarchy for an empty controller, else of the v1 controller.
std::optional<std::string> group_path(const std::string& root, std::string_view controller) {
  const auto text = read_small_file(root + "/proc/self/cgroup");
  if (!text) return std::nullopt;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos || second + 1 >= line.size() || line[second + 1] != '/') continue;
    const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    if (names.find("," + std::string(controller) + ",") == std::string::npos) continue;
    return line.substr(second + 1);
  }
  return std::nullopt;
}

struct MemoryFiles {
  const char* limit;
  const char* usage;
  const char* reclaimable;  // a line of memory.stat
};

uint64_t free_under(const std::vector<std::string>& folders, const MemoryFiles& files) {
  uint64_t least = kNoLimit;
  for (const std::string& folder : folders) {
    const auto limit = read_number(folder + files.limit);
    if (!limit || *limit >= kNoLimit / 2) continue;  // "max", or v1's "no limit", a number near 2^63
    const uint64_t usage = read_number(folder + files.usage).value_or(0);
    const auto stat = read_small_file(folder + "/memory.stat");
    const uint64_t reclaimable = stat ? number_after(*stat, files.reclaimable) : 0;
    const uint64_t held = usage - std::min(usage, reclaimable);
    least = std::min(least, *limit - std::min(*limit, held));
  }
  return least;
}

std::vector<int> parse_cpu_list(std::string_view text) {  // "0-3,8"
  std::vector<int> cpus;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const size_t dash = part.find('-');
    const auto first = parse_number(part);
    const auto last = dash == std::string_view::npos ? first : parse_number(part.substr(dash + 1));
    constexpr uint64_t kMostCpus = 1 << 16;
    if (!first || !last || *last >= kMostCpus) break;
    for (uint64_t cpu = *first; cpu <= *last; ++cpu) cpus.push_back(static_cast<int>(cpu));
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
  }
  return cpus;
}

}  // namespace

uint64_t cgroup_available_memory(const std::string& root) {
  uint64_t least = kNoLimit;
  if (const auto group = group_path(root, "")) {
    least = free_under(group_folders(root + "/sys/fs/cgroup", *group),
                       {"/memory.max", "/memory.current", "inactive_file "});
  }
  if (const auto group = group_path(root, "memory")) {
    least = std::min(least, free_under(group_folders(root + "/sys/fs/cgroup/memory", *group),
                                       {"/memory.limit_in_bytes", "/memory.usage_in_bytes", "total_inactive_file "}));
  }
  return least;
}

uint64_t machine_available_memory(const std::string& root) {
  const auto text = read_small_file(root + "/proc/meminfo");
  if (!text) return kNoLimit;
  const uint64_t kibibytes = number_after(*text, "MemAvailable:");
  return kibibytes == 0 || kibibytes > kNoLimit / 1024 ? kNoLimit : kibibytes * 1024;
}

ResidentMemory resident_memory(const std::string& root) {
  const std::string text = read_small_file(root + "/proc/self/status").value_or("");
  const auto bytes = [&](const char* name) {
    const uint64_t kibibytes = number_after(text, name);
    return kibibytes > kNoLimit / 1024 ? 0 : kibibytes * 1024;
  };
  return {bytes("VmHWM:"), bytes("RssAnon:"), bytes("RssFile:")};
}

double cgroup_cpu_quota(const std::string& root) {
  double least = std::numeric_limits<double>::infinity();
  const auto consider = [&](std::optional<uint64_t> quota, std::optional<uint64_t> period) {
    if (!quota || !period || *quota == 0 || *period == 0) return;
    least = std::min(least, static_cast<double>(*quota) / static_cast<double>(*period));
  };
  if (const auto group = group_path(root, "")) {
    for (const std::string& folder : group_folders(root + "/sys/fs/cgroup", *group)) {
      const auto text = read_small_file(folder + "/cpu.max");  // "max 100000" or "150000 100000"
      const size_t space = text ? text->find(' ') : std::string::npos;
      if (space == std::string::npos) continue;
      consider(parse_number(*text), parse_number(std::string_view(*text).substr(space + 1)));
    }
  }
  if (const auto group = group_path(root, "cpu")) {
    for (const std::string& folder : group_folders(root + "/sys/fs/cgroup/cpu", *group)) {
      consider(read_number(folder + "/cpu.cfs_quota_us"), read_number(folder + "/cpu.cfs_period_us"));  // -1: none
    }
  }
  return least;
}

int count_physical_cores(const std::vector<int>& cpus, const std::string& root) {
  std::set<int> cores;  // each known by its lowest logical processor
  for (int cpu : cpus) {
    const std::string folder = root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    auto text = read_small_file(folder + "core_cpus_list");
    if (!text) text = read_small_file(folder + "thread_siblings_list");
    const std::vector<int> siblings = text ? parse_cpu_list(*text) : std::vector<int>{};
    cores.insert(siblings.empty() ? cpu : *std::min_element(siblings.begin(), siblings.end()));
  }
  return std::max<int>(1, static_cast<int>(cores.size()));
}

std::vector<int> allowed_cpus() {
  std::vector<int> cpus;
  // The kernel refuses a set smaller than its own; grow until it is content.
  for (int capacity = 1024; capacity <= 1 << 16; capacity *= 2) {
    cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(capacity));
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(capacity));
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    for (int cpu = 0; known && cpu < capacity; ++cpu) {
      if (CPU_ISSET_S(static_cast<size_t>(cpu), bytes, set)) cpus.push_back(cpu);
    }
    CPU_FREE(set);
    if (known) break;
  }
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

}  // namespace kinglet
