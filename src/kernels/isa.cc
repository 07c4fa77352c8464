#include "kernels/isa.h"

#include <array>
#include <cstdlib>
#include <string>

#include "base/check.h"
#include "kernels/ops.h"
#include "kernels/table.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace kinglet {

namespace level_portable {
extern const KernelTable kTable;
}
#if defined(__x86_64__)
namespace level_avx2 {
extern const KernelTable kTable;
}
namespace level_avx512vnni {
extern const KernelTable kTable;
}
#ifndef KINGLET_FEWER_LEVELS
namespace level_avx {
extern const KernelTable kTable;
}
namespace level_avxvnni {
extern const KernelTable kTable;
}
namespace level_avx512 {
extern const KernelTable kTable;
}
#endif
#elif defined(__aarch64__)
namespace level_neon {
extern const KernelTable kTable;
}
namespace level_neondot {
extern const KernelTable kTable;
}
#endif

namespace {

struct Level {
  IsaLevel level;
  const KernelTable* table;
  bool (*runs_here)();
};

bool always() {
  return true;
}

#if defined(__x86_64__)
// __builtin_cpu_supports looks at what the system saves, too, not at CPUID alone.
bool has_avx() {
  return __builtin_cpu_supports("avx") != 0;
}
bool has_avx2() {
  return has_avx() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
#ifndef KINGLET_FEWER_LEVELS
bool has_avx_vnni() {
  return has_avx2() && __builtin_cpu_supports("avxvnni");
}
#endif
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
bool has_avx512_vnni() {
  return has_avx512() && __builtin_cpu_supports("avx512vnni");
}

constexpr std::array kLevels = {
    Level{IsaLevel::kPortable, &level_portable::kTable, always},
#ifdef KINGLET_FEWER_LEVELS
    Level{IsaLevel::kAvx2, &level_avx2::kTable, has_avx2},
#else
    Level{IsaLevel::kAvx, &level_avx::kTable, has_avx},
    Level{IsaLevel::kAvx2, &level_avx2::kTable, has_avx2},
    Level{IsaLevel::kAvxVnni, &level_avxvnni::kTable, has_avx_vnni},
    Level{IsaLevel::kAvx512, &level_avx512::kTable, has_avx512},
#endif
    Level{IsaLevel::kAvx512Vnni, &level_avx512vnni::kTable, has_avx512_vnni},
};
#elif defined(__aarch64__)
bool has_dot_product() {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & (1ul << 20)) != 0;  // HWCAP_ASIMDDP
#else
  return false;
#endif
}

constexpr std::array kLevels = {
    Level{IsaLevel::kPortable, &level_portable::kTable, always},
    Level{IsaLevel::kNeon, &level_neon::kTable, always},
    Level{IsaLevel::kNeonDot, &level_neondot::kTable, has_dot_product},
};
#else
constexpr std::array kLevels = {Level{IsaLevel::kPortable, &level_portable::kTable, always}};
#endif

}  // namespace

std::string_view isa_name(IsaLevel level) {
  switch (level) {
    case IsaLevel::kPortable:
      return "portable";
    case IsaLevel::kAvx:
      return "avx";
    case IsaLevel::kAvx2:
      return "avx2";
    case IsaLevel::kAvxVnni:
      return "avxvnni";
    case IsaLevel::kAvx512:
      return "avx512";
    case IsaLevel::kAvx512Vnni:
      return "avx512vnni";
    case IsaLevel::kNeon:
      return "neon";
    case IsaLevel::kNeonDot:
      return "neondot";
  }
  return "unknown";
}

std::vector<IsaLevel> available_isa_levels() {
  std::vector<IsaLevel> levels;
  for (const Level& level : kLevels) {
    if (level.runs_here()) levels.push_back(level.level);
  }
  return levels;
}

Result<IsaLevel> choose_isa_level(std::string_view forced) {
  const std::vector<IsaLevel> levels = available_isa_levels();
  const char* source = "the requested instruction set";
  if (forced.empty()) {
    const char* variable = std::getenv("KINGLET_ISA");
    if (variable == nullptr || *variable == '\0') return levels.back();
    forced = variable;
    source = "KINGLET_ISA";
  }
  std::string names;
  for (IsaLevel level : levels) {
    if (isa_name(level) == forced) return level;
    names += (names.empty() ? "" : ", ") + std::string(isa_name(level));
  }
  return Error{ErrorCode::kUnsupported,
               std::string(source) + " is \"" + std::string(forced) + "\"; this machine can run: " + names};
}

const KernelTable& kernel_table(IsaLevel wanted) {
  for (const Level& level : kLevels) {
    if (level.level == wanted && level.runs_here()) return *level.table;
  }
  KL_CHECK(false, "an instruction set that this machine cannot run");
  return *kLevels.front().table;
}

}  // namespace kinglet
