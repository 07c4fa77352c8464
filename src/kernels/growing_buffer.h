// Memory for 64-byte aligned floats that only grows, so that steady work allocates nothing. What it held is lost when
// it grows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace kinglet {

class GrowingBuffer {
 public:
  float* reserve(int64_t floats) {
    if (floats > size_) {
      data_.reset();
      data_.reset(static_cast<float*>(::operator new(static_cast<size_t>(floats) * sizeof(float), kAlignment)));
      size_ = floats;
    }
    return data_.get();
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(float* p) const { ::operator delete(p, kAlignment); }
  };
  std::unique_ptr<float, Free> data_;
  int64_t size_ = 0;
};

}  // namespace kinglet
