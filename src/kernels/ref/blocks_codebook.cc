// The types whose weights are points of a codebook, or ternary.
#include "base/iq_grids.h"
#include "kernels/ref/blocks.h"

namespace kinglet::ref {
namespace {

// Their integers count in eighths of the block's 16-bit float.
Block codebook_block(const uint8_t* d, int group) {
  Block b;
  b.columns = b.run = 256;
  b.group = group;
  b.d = 0.125f * load_half(d);
  return b;
}
// `count` columns from `first` on: a point's, negative where a bit is set.
void put_point(Block& b, int first, int count, const int8_t* point, unsigned negative) {
  for (int i = 0; i < count; ++i) b.q[first + i] = negative >> i & 1 ? -point[i] : point[i];
}

// IQ2_XXS and IQ3_XXS: beside the indices, of every 32 columns four times seven signs and four bits of scale.
Block block_of_xxs(DType type, const uint8_t* p) {
  const bool two = type == DType::kIQ2_XXS;
  Block b = codebook_block(p, 32);
  if (!two) b.d *= 2.0f;
  for (int j = 0; j < 8; ++j) {
    const uint8_t* indices = p + 2 + 8 * j;
    const uint32_t tail = load_u32(two ? indices + 4 : p + 66 + 4 * j);
    b.scale[j] = static_cast<int>(2 * (tail >> 28) + 1);
    for (int l = 0; l < 4; ++l) {
      const unsigned signs = with_parity(tail >> 7 * l & 0x7f);
      const int at = 32 * j + 8 * l;
      if (two) {
        put_point(b, at, 8, kIq2XxsGrid[indices[l]].data(), signs);
      } else {
        put_point(b, at, 4, kIq3XxsGrid[indices[2 * l]].data(), signs);
        put_point(b, at + 4, 4, kIq3XxsGrid[indices[2 * l + 1]].data(), signs >> 4);
      }
    }
  }
  return b;
}
Block block_of_iq2_xs(const uint8_t* p) {
  Block b = codebook_block(p, 16);
  for (int j = 0; j < 16; ++j) b.scale[j] = 2 * (p[66 + j / 2] >> 4 * (j % 2) & 15) + 1;
  for (int l = 0; l < 32; ++l) {
    const uint16_t q = load_u16(p + 2 + 2 * l);
    put_point(b, 8 * l, 8, kIq2XsGrid[q % 512].data(), with_parity(q / 512u));
  }
  return b;
}
Block block_of_iq2_s(const uint8_t* p) {
  Block b = codebook_block(p, 16);
  for (int j = 0; j < 16; ++j) b.scale[j] = 2 * (p[74 + j / 2] >> 4 * (j % 2) & 15) + 1;
  for (int l = 0; l < 32; ++l) {
    const int index = p[2 + l] + 256 * (p[66 + l / 4] >> 2 * (l % 4) & 3);
    put_point(b, 8 * l, 8, kIq2SGrid[static_cast<size_t>(index)].data(), p[34 + l]);
  }
  return b;
}
Block block_of_iq3_s(const uint8_t* p) {
  Block b = codebook_block(p, 32);
  b.d *= 8.0f;
  for (int j = 0; j < 8; ++j) b.scale[j] = 2 * (p[106 + j / 2] >> 4 * (j % 2) & 15) + 1;
  for (int l = 0; l < 64; ++l) {
    const int index = p[2 + l] + 256 * (p[66 + l / 8] >> (l % 8) & 1);
    put_point(b, 4 * l, 4, kIq3SGrid[static_cast<size_t>(index)].data(), p[74 + l / 2] >> 4 * (l % 2) & 15u);
  }
  return b;
}

// Ternary points, each eight values an eighth up or down.
void put_iq1_point(Block& b, int first, unsigned index, bool down) {
  for (int i = 0; i < 8; ++i) b.q[first + i] = 8 * kIq1Grid[index][static_cast<size_t>(i)] + (down ? -1 : 1);
}
Block block_of_iq1_s(const uint8_t* p) {
  Block b = codebook_block(p, 32);
  for (int j = 0; j < 8; ++j) {
    const unsigned high = load_u16(p + 34 + 2 * j);
    b.scale[j] = static_cast<int>(2 * (high >> 12 & 7) + 1);
    for (int l = 0; l < 4; ++l)
      put_iq1_point(b, 32 * j + 8 * l, p[2 + 4 * j + l] + 256 * (high >> 3 * l & 7), (high & 0x8000) != 0);
  }
  return b;
}
Block block_of_iq1_m(const uint8_t* p) {
  unsigned d = 0;  // in the top nibbles of the four words of scales
  for (unsigned i = 0; i < 4; ++i) d |= (p[49 + 2 * i] / 16u) << 4 * i;
  const uint8_t d_bytes[2] = {static_cast<uint8_t>(d & 255), static_cast<uint8_t>(d >> 8)};
  Block b = codebook_block(d_bytes, 16);
  for (int j = 0; j < 16; ++j) b.scale[j] = 2 * (load_u16(p + 48 + j / 4 * 2) >> 3 * (j % 4) & 7) + 1;
  for (int l = 0; l < 32; ++l) {
    const unsigned high = p[32 + l / 2] >> 4 * (l % 2) & 15u;
    put_iq1_point(b, 8 * l, p[l] + 256 * (high & 7), (high & 8) != 0);
  }
  return b;
}

// TQ1_0, TQ2_0: -1, 0, 1 (and 2, where a file has the code that stands for nothing).
Block block_of_ternary(DType type, const uint8_t* p) {
  const bool five_a_byte = type == DType::kTQ1_0;
  Block b = codebook_block(p + (five_a_byte ? 52 : 64), 256);
  b.d *= 8.0f;
  b.scale[0] = b.offset = 1;
  for (int k = 0; k < 256; ++k) {
    if (!five_a_byte) {
      b.q[k] = p[k / 128 * 32 + k % 32] >> (k % 128 / 32 * 2) & 3;
      continue;
    }
    // Digits of base three, the first in the highest place of a fraction of 256.
    const int at = k < 160 ? k % 32 : k < 240 ? 32 + k % 16 : 48 + k % 4;
    const int digit = k < 160 ? k / 32 : k < 240 ? (k - 160) / 16 : (k - 240) / 4;
    unsigned fraction = p[at];
    for (int i = 0; i < digit; ++i) fraction = fraction * 3 % 256;
    b.q[k] = static_cast<int>(fraction * 3 / 256);
  }
  return b;
}

}  // namespace

Block codebook_block_of(DType type, const uint8_t* p) {
  switch (type) {
    case DType::kIQ2_XXS:
    case DType::kIQ3_XXS:
      return block_of_xxs(type, p);
    case DType::kIQ2_XS:
      return block_of_iq2_xs(p);
    case DType::kIQ2_S:
      return block_of_iq2_s(p);
    case DType::kIQ3_S:
      return block_of_iq3_s(p);
    case DType::kIQ1_S:
      return block_of_iq1_s(p);
    case DType::kIQ1_M:
      return block_of_iq1_m(p);
    default:
      return block_of_ternary(type, p);
  }
}

}  // namespace kinglet::ref
