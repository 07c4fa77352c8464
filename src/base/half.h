// Conversions between float and the 16-bit float types: exact one way, round to nearest even the other. The plain
// definitions; kernels have their own vector forms with the same bits.
#pragma once

#include <bit>
#include <cstdint>

namespace kinglet {

float half_to_float(uint16_t half);   // IEEE binary16; subnormals, infinities and NaN payloads kept
uint16_t float_to_half(float value);  // round to nearest even, overflow to infinity, NaN to 0x7e00 with the sign

inline float bfloat16_to_float(uint16_t value) {
  return std::bit_cast<float>(uint32_t{value} << 16);
}
uint16_t float_to_bfloat16(float value);  // round to nearest even, NaN stays NaN

}  // namespace kinglet
