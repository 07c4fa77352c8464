// One block of each packed format to floats. The dispatch is decode.h; this header is for its implementation only.
// Each function reads exactly dtype_info(type).block_bytes bytes and writes block_values floats. The float operations
// and their order are gguf-py's, so the bits agree; layouts are named in the fact sheet of docs and in ggml-common.h.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/half.h"

namespace kinglet::blocks {

static_assert(std::endian::native == std::endian::little, "files are little-endian and read in place");

// Blocks lie at any address: fields wider than a byte are copied out.
template <class T>
T load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
inline float load_half(const uint8_t* at) {
  return half_to_float(load<uint16_t>(at));
}

using Decoder = void (*)(const uint8_t* block, float* out);

// decode_legacy.cc
void q4_0(const uint8_t* block, float* out);
void q4_1(const uint8_t* block, float* out);
void q5_0(const uint8_t* block, float* out);
void q5_1(const uint8_t* block, float* out);
void q8_0(const uint8_t* block, float* out);
void tq1_0(const uint8_t* block, float* out);
void tq2_0(const uint8_t* block, float* out);
void mxfp4(const uint8_t* block, float* out);
void nvfp4(const uint8_t* block, float* out);

// decode_k.cc
void q2_k(const uint8_t* block, float* out);
void q3_k(const uint8_t* block, float* out);
void q4_k(const uint8_t* block, float* out);
void q5_k(const uint8_t* block, float* out);
void q6_k(const uint8_t* block, float* out);

// decode_iq.cc
void iq1_s(const uint8_t* block, float* out);
void iq1_m(const uint8_t* block, float* out);
void iq2_xxs(const uint8_t* block, float* out);
void iq2_xs(const uint8_t* block, float* out);
void iq2_s(const uint8_t* block, float* out);
void iq3_xxs(const uint8_t* block, float* out);
void iq3_s(const uint8_t* block, float* out);
void iq4_nl(const uint8_t* block, float* out);
void iq4_xs(const uint8_t* block, float* out);

// decode_groups.cc
float e4m3(uint8_t x);
void fp8_g128(const uint8_t* block, float* out);
void int4_g32(const uint8_t* block, float* out);
void int4_g64(const uint8_t* block, float* out);
void int4_g128(const uint8_t* block, float* out);
void int8_g32(const uint8_t* block, float* out);
void int8_g64(const uint8_t* block, float* out);
void int8_g128(const uint8_t* block, float* out);
void nf4_g64(const uint8_t* block, float* out);
std::span<const float, 16> nf4_levels();

}  // namespace kinglet::blocks
