#include "formats/quant_sources.h"

#include <algorithm>
#include <cstring>

#include "formats/decode.h"
#include "formats/decode_blocks.h"

namespace kinglet {
namespace {

float float_at(const std::byte* floats, int64_t i) {
  return blocks::load<float>(reinterpret_cast<const uint8_t*>(floats) + i * 4);
}

uint8_t byte_at(const std::byte* bytes, int64_t i) {
  return static_cast<uint8_t>(bytes[i]);
}

void store(std::byte* out, float value) {
  std::memcpy(out, &value, sizeof value);
}

// Values 2j and 2j+1 of a byte become values j and j + pairs of another arrangement: GGUF's halves.
void halves_from_neighbours(const std::byte* in, std::byte* out, int pairs) {
  const auto nibble = [in](int i) { return byte_at(in, i / 2) >> (i % 2 * 4) & 15; };
  for (int j = 0; j < pairs; ++j) out[j] = static_cast<std::byte>(nibble(j) | nibble(j + pairs) << 4);
}

}  // namespace

float ScaleGrid::at(int64_t r, int64_t tile_column) const {
  const int64_t i =
      r / rows_per_matrix * matrix_stride + r % rows_per_matrix / tile_rows * row_stride + tile_column * column_stride;
  float scale = 0.0f;
  decode_row(dtype, data + i * dtype_info(dtype).block_bytes, 1, &scale);
  return scale;
}

uint8_t PackedInts::at(int64_t packed, int64_t across) const {
  constexpr int kAwqLane[8] = {0, 4, 1, 5, 2, 6, 3, 7};  // column of a group of eight -> nibble of the word
  const int lanes = word_bytes * 8 / bits;
  const auto lane = static_cast<int>(packed % lanes);
  const int shift = bits * (awq_order ? kAwqLane[lane] : lane);
  const int64_t word = packed / lanes * packed_stride + across * across_stride;
  const int byte = shift / 8;  // fields never straddle bytes
  return static_cast<uint8_t>((byte_at(data, word * word_bytes + byte) >> shift % 8 & ((1 << bits) - 1)) ^ flip);
}

void Fp8Source::row(int64_t r, std::byte* out) const {
  constexpr int64_t kGroup = 128;
  const std::byte* in = values + r * columns;
  for (int64_t c = 0; c < columns; c += kGroup) {
    const auto count = static_cast<size_t>(std::min(kGroup, columns - c));
    store(out, scales.at(r, c / scales.tile_columns));
    std::memset(out + 4, 0, kGroup);
    std::memcpy(out + 4, in + c, count);
    out += 4 + kGroup;
  }
}

void IntSource::row(int64_t r, std::byte* out) const {
  const DTypeInfo& info = dtype_info(block);
  const auto size = static_cast<int64_t>(info.block_values);
  std::memset(out, 0, row_bytes(block, static_cast<uint64_t>(columns)));
  for (int64_t start = 0; start < columns; start += size) {
    const int64_t first = order.empty() ? start : order[static_cast<size_t>(start)];
    const int64_t group =
        group_of_column.empty() ? start / scales.tile_columns : group_of_column[static_cast<size_t>(first)];
    store(out, scales.at(r, group));
    const int zero = has_zeros ? (zeros.at(r, group) + zero_offset) & zero_mask : symmetric_zero;
    out[4] = static_cast<std::byte>(zero);
    const int64_t count = std::min(size, columns - start);
    for (int64_t j = 0; j < count; ++j) {
      const int64_t c = order.empty() ? start + j : order[static_cast<size_t>(start + j)];
      const uint8_t code = packed_by_row ? codes.at(r, c) : codes.at(c, r);
      if (codes.bits == 8) {
        out[8 + j] = static_cast<std::byte>(code);
      } else {
        out[8 + j / 2] |= static_cast<std::byte>(code << (j % 2 * 4));
      }
    }
    out += info.block_bytes;
  }
}

void Fp4Source::row(int64_t r, std::byte* out) const {
  const DTypeInfo& info = dtype_info(block);
  const int group = block == DType::kMXFP4 ? 32 : 16;
  const int groups = static_cast<int>(info.block_values) / group;
  const int64_t row_groups = columns / group;
  std::memset(out, 0, row_bytes(block, static_cast<uint64_t>(columns)));
  for (int64_t g = 0; g < row_groups; ++g) {
    std::byte* to = out + g / groups * info.block_bytes;
    const auto within = static_cast<int>(g % groups);
    const int64_t at = r * row_groups + g;
    to[within] = scales[at];
    halves_from_neighbours(values + at * group / 2, to + groups + within * group / 2, group / 2);
  }
}

void Nf4Source::row(int64_t r, std::byte* out) const {
  constexpr int64_t kGroup = 64;
  for (int64_t c = 0; c < columns; c += kGroup) {
    const int64_t at = r * columns + c;
    const int64_t i = at / group;
    float scale = 0.0f;
    if (nested_absmax == nullptr) {
      scale = float_at(absmax, i);
    } else {
      scale = float_at(nested_levels, byte_at(absmax, i)) * float_at(nested_absmax, i / nested_group);
      scale += nested_offset;
    }
    store(out, scale);
    for (int64_t j = 0; j < kGroup / 2; ++j) {
      const unsigned pair = byte_at(values, at / 2 + j);
      out[4 + j] = static_cast<std::byte>((pair >> 4 | pair << 4) & 255);
    }
    out += 4 + kGroup / 2;
  }
}

}  // namespace kinglet
