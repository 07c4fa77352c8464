// Rotary embeddings: the tables, made once with our own sin and cos in double, and the rotation of heads.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "kernels/math.h"
#include "kernels/ops.h"
#include "kernels/table.h"

namespace kinglet {

Result<RopeTable> make_rope_table(const Compute& compute, std::span<const double> inverse_frequency, float magnitude,
                                  int64_t positions) {
  constexpr int64_t kMostPositions = int64_t{1} << 32, kMostPairs = int64_t{1} << 16;
  const int64_t pairs = static_cast<int64_t>(inverse_frequency.size());
  if (positions < 0 || positions > kMostPositions || pairs > kMostPairs) {
    return Error{ErrorCode::kResource, "a rotary table of " + std::to_string(positions) + " positions with " +
                                           std::to_string(pairs) + " frequencies is too large"};
  }
  RopeTable table;
  table.rotated = 2 * pairs;
  table.positions = positions;
  KL_TRY(table.buffer, AlignedBuffer::allocate(static_cast<size_t>(2 * positions * pairs) * sizeof(float)));
  float* cos = table.buffer.as<float>();
  float* sin = cos + positions * pairs;
  const double factor = static_cast<double>(magnitude);
  const auto fill = [&](int64_t begin, int64_t end) {
    for (int64_t position = begin; position < end; ++position) {
      for (int64_t p = 0; p < pairs; ++p) {
        const double angle = static_cast<double>(position) * inverse_frequency[static_cast<size_t>(p)];
        cos[position * pairs + p] = static_cast<float>(cos_f64(angle) * factor);
        sin[position * pairs + p] = static_cast<float>(sin_f64(angle) * factor);
      }
    }
  };
  compute.pool->parallel_for(positions, std::max<int64_t>(1, 2048 / std::max<int64_t>(1, pairs)), fill);
  return table;
}

void rope_half_split(const Compute& compute, const RopeTable& table, const int32_t* positions, float* x, int64_t ld,
                     int64_t tokens, int64_t heads, int64_t head_dim) {
  KL_CHECK(table.rotated <= head_dim, "more rotated dimensions than a head has");
  const RowKernels& kernels = compute.kernels->rows;
  const int64_t half = table.rotated / 2;
  if (half == 0) return;
  const auto rotate = [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t position = positions[t];
      KL_CHECK(position >= 0 && position < table.positions, "position outside the rotary table");
      for (int64_t h = 0; h < heads; ++h) {
        kernels.rope_half_split(table.cos_row(position), table.sin_row(position), half, x + t * ld + h * head_dim);
      }
    }
  };
  compute.pool->parallel_for(tokens, std::max<int64_t>(1, 16384 / (heads * head_dim)), rotate);
}

}  // namespace kinglet
