#include "base/float_env.h"

#include <cfenv>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace kinglet {

#if defined(__x86_64__)

namespace {
constexpr uint32_t kFlushToZero = 1u << 15;
constexpr uint32_t kRounding = 3u << 13;
constexpr uint32_t kMaskExceptions = 0x3fu << 7;
constexpr uint32_t kDenormalsAreZero = 1u << 6;
}  // namespace

FloatEnv::FloatEnv() : saved_(_mm_getcsr()) {
  const auto current = static_cast<uint32_t>(saved_);
  _mm_setcsr((current & ~(kFlushToZero | kRounding | kDenormalsAreZero)) | kMaskExceptions);
}
FloatEnv::~FloatEnv() {
  _mm_setcsr(static_cast<uint32_t>(saved_));
}

#elif defined(__aarch64__)

namespace {
constexpr uint64_t kFlushHalf = 1u << 19;
constexpr uint64_t kRounding = 3u << 22;
constexpr uint64_t kFlushToZero = 1u << 24;
constexpr uint64_t kDefaultNan = 1u << 25;

uint64_t read_control() {
  uint64_t value = 0;
  asm volatile("mrs %0, fpcr" : "=r"(value));
  return value;
}
void write_control(uint64_t value) {
  asm volatile("msr fpcr, %0" : : "r"(value));
}
}  // namespace

FloatEnv::FloatEnv() : saved_(read_control()) {
  write_control(saved_ & ~(kFlushHalf | kRounding | kFlushToZero | kDefaultNan));
}
FloatEnv::~FloatEnv() {
  write_control(saved_);
}

#else

FloatEnv::FloatEnv() : saved_(static_cast<uint64_t>(std::fegetround())) {
  std::fesetround(FE_TONEAREST);
}
FloatEnv::~FloatEnv() {
  std::fesetround(static_cast<int>(saved_));
}

#endif

}  // namespace kinglet
