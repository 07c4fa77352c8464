// One instruction set's yardsticks: loops that do one thing as fast as the level can, for limits.h. Not part of the
// forward pass.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kinglet {

struct PeakKernels {
  // int8 products from registers, each added to one of many running sums, by the level's cheapest instructions. Returns
  // the operations done: a product and its addition are two.
  double (*int8_products)(int64_t rounds) = nullptr;
  // The same with float fused multiply-adds.
  double (*float_products)(int64_t rounds) = nullptr;
  // Reads `bytes` (rounded down to a multiple of 64 KiB) as `streams` (1, 2, 4 or 8) interleaved sequential streams
  // with the level's widest loads, prefetching `ahead` bytes before each (0: leaves it to the processor).
  void (*read)(const std::byte* data, uint64_t bytes, int streams, uint64_t ahead) = nullptr;
};

}  // namespace kinglet
