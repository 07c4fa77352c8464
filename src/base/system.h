// What the operating system grants this process: memory and processors, after control groups. Each function takes the
// root of the file system, so that tests can show it other machines. Not for tensor memory (memory.h) or threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kinglet {

// Bytes still free under the tightest control-group limit on memory (v2 and v1), page cache that the kernel can drop
// counted as free. UINT64_MAX where nothing limits.
uint64_t cgroup_available_memory(const std::string& root = "");

// Bytes of physical memory that the machine can still hand out (MemAvailable); UINT64_MAX where unknown.
uint64_t machine_available_memory(const std::string& root = "");

// Bytes that this process holds (VmHWM, RssAnon, RssFile); 0 where the system does not say.
struct ResidentMemory {
  uint64_t peak = 0;       // since it began, pages of files included
  uint64_t anonymous = 0;  // now
  uint64_t file = 0;       // now, pages of mapped files: the program's own among them
};
ResidentMemory resident_memory(const std::string& root = "");

// Processors' worth of time under the tightest control-group quota (v2 and v1); infinity where nothing limits.
double cgroup_cpu_quota(const std::string& root = "");

// Physical cores among `cpus`: those that share a core (hyper-threads) count once.
int count_physical_cores(const std::vector<int>& cpus, const std::string& root = "");

// Logical processors that the calling thread may run on, ascending.
std::vector<int> allowed_cpus();

}  // namespace kinglet
