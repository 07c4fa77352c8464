// The processor's float modes that our bits depend on: round to nearest even, subnormals kept. Libraries loaded into
// the process (anything built with -ffast-math) may have changed them.
#pragma once

#include <cstdint>

namespace kinglet {

// Sets the modes for the calling thread while it lives; puts the former ones back.
class FloatEnv {
 public:
  FloatEnv();
  ~FloatEnv();
  FloatEnv(const FloatEnv&) = delete;
  FloatEnv& operator=(const FloatEnv&) = delete;

 private:
  uint64_t saved_;
};

}  // namespace kinglet
