#include "base/lost_pages.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>

namespace kinglet {
namespace {

// Read by the signal handler, so nothing here is ever moved or freed.
struct Watched {
  std::atomic<uintptr_t> begin{0}, end{0};  // both 0: the place is free
  std::atomic<bool> lost{false};
};
std::array<Watched, 4096> g_maps;
std::mutex g_mutex;  // held by who takes or frees a place
struct sigaction g_previous;
uintptr_t g_page = 0;

Watched* find(uintptr_t address) {
  for (Watched& map : g_maps)
    if (address >= map.begin.load(std::memory_order_acquire) && address < map.end.load(std::memory_order_acquire))
      return &map;
  return nullptr;
}

// From the missing page to the end: behind it nothing is left of the file either.
bool put_zeros(uintptr_t address) {
  Watched* map = find(address);
  if (map == nullptr) return false;
  const uintptr_t first = address / g_page * g_page;
  const uintptr_t last = (map->end.load(std::memory_order_acquire) + g_page - 1) / g_page * g_page;
  map->lost.store(true, std::memory_order_release);
  // The system call itself: a signal handler may make it, and ThreadSanitizer takes mmap() for a write to what others
  // read.
  return ::syscall(SYS_mmap, first, last - first, PROT_READ, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0) != -1;
}

void on_bus_error(int signal, siginfo_t* info, void* context) {
  const int saved = errno;
  const bool ours = put_zeros(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = saved;
  if (ours) return;
  if ((g_previous.sa_flags & SA_SIGINFO) != 0) return g_previous.sa_sigaction(signal, info, context);
  if (g_previous.sa_handler != SIG_DFL && g_previous.sa_handler != SIG_IGN) return g_previous.sa_handler(signal);
  std::signal(signal, SIG_DFL);  // the access is tried again, and ends the process
}

void install() {
  g_page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  struct sigaction action{};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, &g_previous);
}

}  // namespace

void watch_map(std::span<const std::byte> map) {
  static std::once_flag once;
  std::call_once(once, install);
  const std::lock_guard lock(g_mutex);
  for (Watched& place : g_maps) {
    if (place.end.load(std::memory_order_relaxed) != 0) continue;
    const auto begin = reinterpret_cast<uintptr_t>(map.data());
    place.lost.store(false, std::memory_order_relaxed);
    place.begin.store(begin, std::memory_order_release);
    place.end.store(begin + map.size(), std::memory_order_release);
    return;
  }
}

void forget_map(std::span<const std::byte> map) {
  const std::lock_guard lock(g_mutex);
  Watched* place = find(reinterpret_cast<uintptr_t>(map.data()));
  if (place == nullptr) return;
  place->end.store(0, std::memory_order_release);
  place->begin.store(0, std::memory_order_release);
}

bool pages_lost(std::span<const std::byte> map) {
  const Watched* place = map.empty() ? nullptr : find(reinterpret_cast<uintptr_t>(map.data()));
  return place != nullptr && place->lost.load(std::memory_order_acquire);
}

}  // namespace kinglet
