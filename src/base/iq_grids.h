// Codebooks of the IQ formats: the points that an index in a block stands for. For the decoders, packers and kernels of
// those formats only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace kinglet {

template <size_t kPoints, size_t kDimensions>
using IqGrid = std::array<std::array<int8_t, kDimensions>, kPoints>;

extern const IqGrid<256, 8> kIq2XxsGrid;
extern const IqGrid<512, 8> kIq2XsGrid;
extern const IqGrid<1024, 8> kIq2SGrid;
extern const IqGrid<256, 4> kIq3XxsGrid;
extern const IqGrid<512, 4> kIq3SGrid;
extern const IqGrid<2048, 8> kIq1Grid;
// 8 times kIq1Grid, plus 128, as unsigned bytes: for kernels.
extern const IqGrid<2048, 8> kIq1EighthsPlus128;

// The 16 levels of IQ4_NL and IQ4_XS.
inline constexpr std::array<int8_t, 16> kIq4Levels = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                      1,    13,   25,  38,  53,  69,  89,  113};

// Sign patterns of eight values are stored in seven bits; the eighth makes the number of minus signs even.
inline constexpr uint8_t with_parity(uint32_t seven_bits) {
  uint32_t parity = seven_bits ^ seven_bits >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return static_cast<uint8_t>(seven_bits | (parity & 1u) << 7);
}

}  // namespace kinglet
