// Memory for what a block of a layer computes on the way: rows of floats, taken one after the other and given back all
// at once. Its size is known from the spec before a model is loaded.
#pragma once

#include <cstdint>

#include "base/check.h"
#include "base/memory.h"
#include "base/result.h"
#include "families/model_spec.h"

namespace kinglet {

class Scratch {
 public:
  Status reserve(int64_t floats) {
    KL_TRY(buffer_, AlignedBuffer::allocate(static_cast<size_t>(floats) * sizeof(float)));
    return {};
  }
  void clear() { used_ = 0; }
  // [rows][columns], aligned to 64 bytes, not zeroed.
  float* take(int64_t rows, int64_t columns) {
    const int64_t floats = (rows * columns + 15) / 16 * 16;
    KL_CHECK((used_ + floats) * sizeof(float) <= buffer_.size(), "a block needs more memory than was planned");
    float* taken = buffer_.as<float>() + used_;
    used_ += floats;
    return taken;
  }

 private:
  AlignedBuffer buffer_;
  int64_t used_ = 0;
};

// Floats that the blocks of any layer take at most, for `tokens` tokens.
int64_t scratch_floats(const ModelSpec& spec, int64_t tokens);

}  // namespace kinglet
