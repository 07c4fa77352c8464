#include "kernels/ref/linear_ref.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/half.h"
#include "kernels/math.h"

namespace kinglet::ref {
namespace {

uint16_t load_u16(const uint8_t* p) {
  return static_cast<uint16_t>(p[0] | p[1] << 8);
}
float load_half(const uint8_t* p) {
  return half_to_float(load_u16(p));
}
uint32_t load_u32(const uint8_t* p) {
  return static_cast<uint32_t>(load_u16(p)) | static_cast<uint32_t>(load_u16(p + 2)) << 16;
}

// What a block means, for all types with an integer meaning: value k = (d * scale[k / group]) * (q[k] - offset)
// (+ or - m * shift[k / group]). Its integers are summed up over runs; each run may have a d of its own.
struct Block {
  int columns = 0, group = 0, offset = 0;
  int run = 0;  // 0: the block of a K-quant
  bool shifted = false, shift_subtracted = false;
  float run_d[4] = {};
  float d = 0, m = 0;
  int scale[16] = {}, shift[16] = {};
  int q[256] = {};
};

Block block_of_32(DType type, const uint8_t* p) {
  Block b;
  b.columns = b.group = b.run = 32;
  b.scale[0] = b.shift[0] = 1;
  b.d = load_half(p);
  p += 2;
  if (type == DType::kQ8_0) {
    for (int k = 0; k < 32; ++k) b.q[k] = static_cast<int8_t>(p[k]);
    return b;
  }
  b.shifted = type == DType::kQ4_1 || type == DType::kQ5_1;
  if (b.shifted) {
    b.m = load_half(p);
    p += 2;
  }
  const bool five = type == DType::kQ5_0 || type == DType::kQ5_1;
  const uint32_t high = five ? load_u32(p) : 0;
  if (five) p += 4;
  for (int k = 0; k < 32; ++k) {
    b.q[k] = (k < 16 ? p[k] & 15 : p[k - 16] >> 4) + (high >> k & 1u ? 16 : 0);
  }
  b.offset = b.shifted ? 0 : five ? 16 : 8;
  return b;
}

// Q4_K, Q5_K.
Block block_of_k(DType type, const uint8_t* p) {
  Block b;
  b.columns = 256;
  b.group = 32;
  b.shifted = b.shift_subtracted = true;
  b.d = load_half(p);
  b.m = load_half(p + 2);
  const uint8_t* s = p + 4;
  for (int j = 0; j < 8; ++j) {
    b.scale[j] = j < 4 ? s[j] % 64 : s[j + 4] % 16 + 16 * (s[j - 4] / 64);
    b.shift[j] = j < 4 ? s[j + 4] % 64 : s[j + 4] / 16 + 16 * (s[j] / 64);
  }
  const uint8_t* fifth = p + 16;
  const uint8_t* low = type == DType::kQ5_K ? p + 48 : p + 16;
  for (int k = 0; k < 256; ++k) {
    const uint8_t byte = low[k / 64 * 32 + k % 32];
    b.q[k] = k / 32 % 2 == 0 ? byte % 16 : byte / 16;
    if (type == DType::kQ5_K && (fifth[k % 32] >> (k / 32) & 1)) b.q[k] += 16;
  }
  return b;
}

Block block_of_q6_k(const uint8_t* p) {
  Block b;
  b.columns = 256;
  b.group = 16;
  b.offset = 32;
  b.d = load_half(p + 208);
  for (int j = 0; j < 16; ++j) b.scale[j] = static_cast<int8_t>(p[192 + j]);
  for (int half = 0; half < 2; ++half) {
    for (int l = 0; l < 32; ++l) {
      const uint8_t a = p[64 * half + l], c = p[64 * half + 32 + l], h = p[128 + 32 * half + l];
      int* q = b.q + 128 * half + l;
      q[0] = a % 16 + 16 * (h & 3);
      q[32] = c % 16 + 16 * (h >> 2 & 3);
      q[64] = a / 16 + 16 * (h >> 4 & 3);
      q[96] = c / 16 + 16 * (h >> 6);
    }
  }
  return b;
}

constexpr int kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr int kFp4Levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
constexpr float kNf4Levels[16] = {-1.0f,
                                  -0.6961928009986877f,
                                  -0.5250730514526367f,
                                  -0.39491748809814453f,
                                  -0.28444138169288635f,
                                  -0.18477343022823334f,
                                  -0.09105003625154495f,
                                  0.0f,
                                  0.07958029955625534f,
                                  0.16093020141124725f,
                                  0.24611230194568634f,
                                  0.33791524171829224f,
                                  0.44070982933044434f,
                                  0.5626170039176941f,
                                  0.7229568362236023f,
                                  1.0f};

float e4m3(uint8_t x) {
  if ((x & 0x7f) == 0x7f) return std::numeric_limits<float>::quiet_NaN();
  const int exponent = x >> 3 & 15, mantissa = x & 7;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                        : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return x & 0x80 ? -magnitude : magnitude;
}

// IQ4_NL, MXFP4: 32 values; IQ4_XS: 256, with a scale every 32.
Block block_of_levels(DType type, const uint8_t* p) {
  Block b;
  b.columns = b.run = type == DType::kIQ4_XS ? 256 : 32;
  b.group = 32;
  b.scale[0] = 1;
  b.d = type == DType::kMXFP4 ? std::ldexp(1.0f, p[0] - 128) : load_half(p);
  const int* levels = type == DType::kMXFP4 ? kFp4Levels : kIq4Levels;
  for (int j = 0; type == DType::kIQ4_XS && j < 8; ++j) {
    b.scale[j] = (p[4 + j / 2] >> 4 * (j % 2) & 15) + 16 * (load_u16(p + 2) >> 2 * j & 3) - 32;
  }
  p += type == DType::kMXFP4 ? 1 : type == DType::kIQ4_XS ? 8 : 2;
  for (int k = 0; k < b.columns; ++k) b.q[k] = levels[p[k / 32 * 16 + k % 16] >> (k % 32 / 16 * 4) & 15];
  return b;
}

Block block_of_nvfp4(const uint8_t* p) {
  Block b;
  b.columns = 64;
  b.group = b.run = 16;
  b.d = 1.0f;
  for (int j = 0; j < 4; ++j) {
    b.scale[j] = 1;
    b.run_d[j] = p[j] == 0x7f ? 0.0f : 0.5f * e4m3(p[j] & 0x7f);
    if (p[j] == 0xff) b.run_d[j] = 240.0f;  // the sign counts for nothing, NaN is 0x7f alone
  }
  for (int k = 0; k < 64; ++k) b.q[k] = kFp4Levels[p[4 + k / 16 * 8 + k % 8] >> (k % 16 / 8 * 4) & 15];
  return b;
}

bool is_int4_group(DType type) {
  return type == DType::kInt4G32 || type == DType::kInt4G64 || type == DType::kInt4G128;
}

Block block_of_group(DType type, const uint8_t* p) {
  Block b;
  b.columns = b.group = b.run = static_cast<int>(dtype_info(type).block_values);
  b.scale[0] = 1;
  b.d = std::bit_cast<float>(load_u32(p));
  b.offset = p[4];
  for (int k = 0; k < b.columns; ++k) b.q[k] = is_int4_group(type) ? p[8 + k / 2] >> 4 * (k % 2) & 15 : p[8 + k];
  return b;
}

// Float scale and small codes: FP8, NF4.
float coded_weight(DType type, const uint8_t* row, int64_t k) {
  const DTypeInfo& info = dtype_info(type);
  row += k / info.block_values * info.block_bytes;
  k %= info.block_values;
  const float scale = std::bit_cast<float>(load_u32(row));
  if (type == DType::kFp8G128) return e4m3(row[4 + k]) * scale;
  return kNf4Levels[row[4 + k / 2] >> 4 * (k % 2) & 15] * scale;
}

Block block_of(DType type, const uint8_t* p) {
  if (type == DType::kNVFP4) return block_of_nvfp4(p);
  if (type == DType::kIQ4_NL || type == DType::kIQ4_XS || type == DType::kMXFP4) return block_of_levels(type, p);
  if (has_padded_rows(type)) return block_of_group(type, p);
  if (type == DType::kQ6_K) return block_of_q6_k(p);
  if (type == DType::kQ4_K || type == DType::kQ5_K) return block_of_k(type, p);
  return block_of_32(type, p);
}

bool is_float(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16 || type == DType::kFp8G128 ||
         type == DType::kNf4G64;
}

float float_weight(DType type, const uint8_t* row, int64_t k) {
  if (type == DType::kF16) return load_half(row + 2 * k);
  if (type == DType::kBF16) return bfloat16_to_float(load_u16(row + 2 * k));
  if (type != DType::kF32) return coded_weight(type, row, k);
  return std::bit_cast<float>(load_u32(row + 4 * k));
}

float canonical(float x) {
  return x == x ? x : std::numeric_limits<float>::quiet_NaN();
}

float dot_f32(const float* w, const float* x, int64_t columns) {
  float total = 0.0f;
  for (int64_t k = 0; k < columns;) {
    float chain = 0.0f;
    for (const int64_t end = std::min(columns, k + 64); k < end; ++k) chain = exact_fma(w[k], x[k], chain);
    total += chain;
  }
  return total;
}

// acc and the product of one block of a K-quant, or of run r of another block.
float add_run(const Block& b, int r, const int8_t* q, float scale, float acc) {
  const int run = b.run == 0 ? b.columns : b.run;
  int sum = 0, shift_sum = 0;
  for (int j = r * run / b.group; j < (r + 1) * run / b.group; ++j) {
    int dot = 0, activations = 0;
    for (int k = b.group * j; k < b.group * (j + 1); ++k) {
      dot += (b.q[k] - b.offset) * q[k - r * run];
      activations += q[k - r * run];
    }
    sum += b.scale[j] * dot;
    shift_sum += b.shift[j] * activations;
  }
  if (b.run == 0) {
    float value = static_cast<float>(sum) * b.d;
    if (b.shifted) value = exact_fma(-b.m, static_cast<float>(shift_sum), value);
    return exact_fma(value, scale, acc);
  }
  const float d = b.run == 16 ? b.run_d[r] : b.d;
  acc = exact_fma(static_cast<float>(sum), d * scale, acc);
  return b.shifted ? exact_fma(b.m, scale * static_cast<float>(shift_sum), acc) : acc;
}

}  // namespace

QuantisedGroup quantise_group(const float* x, int values, bool bound_sums) {
  QuantisedGroup g = {};
  float full = 0.0f, top = 0.0f;
  for (int i = 0; i < values; ++i) {
    if (!std::isfinite(x[i])) {
      g.scale = std::numeric_limits<float>::quiet_NaN();
      return g;
    }
    full = std::max(full, std::fabs(x[i]));
  }
  for (int i = 0; bound_sums && i < values; i += 16) {
    float sum[16];
    for (int l = 0; l < 16; ++l) sum[l] = std::fabs(x[i + l]);
    for (int step = 8; step > 0; step /= 2) {
      for (int l = 0; l < step; ++l) sum[l] += sum[l + step];
    }
    top = std::max(top, sum[0]);
  }
  full = std::max(full, top * (127.0f / 1014.0f));
  if (!std::isfinite(full)) {
    g.scale = std::numeric_limits<float>::quiet_NaN();
    return g;
  }
  const float inverse = full > 0.0f ? 127.0f / full : 0.0f;
  if (full == 0.0f || !std::isfinite(inverse)) return g;
  for (int i = 0; i < values; ++i) g.q[i] = static_cast<int8_t>(std::nearbyintf(x[i] * inverse));
  g.scale = full / 127.0f;
  return g;
}

void widen_row(DType type, const uint8_t* row, int64_t columns, float* out) {
  for (int64_t k = 0; is_float(type) && k < columns; ++k) out[k] = float_weight(type, row, k);
  if (is_float(type)) return;
  const DTypeInfo& info = dtype_info(type);
  for (int64_t at = 0; at < columns; at += info.block_values, row += info.block_bytes) {
    const Block b = block_of(type, row);
    for (int k = 0; k < b.columns && at + k < columns; ++k) {
      const float d = b.run == 16 ? b.run_d[k / 16] : b.d;
      const float scale = d * static_cast<float>(b.scale[k / b.group]);
      const float shift = b.m * static_cast<float>(b.shift[k / b.group]);
      const float value = scale * static_cast<float>(b.q[k] - b.offset);
      out[at + k] = !b.shifted ? value : b.shift_subtracted ? value - shift : value + shift;
    }
  }
}

void linear(ComputeMode mode, DType type, const uint8_t* w, int64_t rows, int64_t columns, const float* x,
            int64_t tokens, int64_t ldx, float* y, int64_t ldy, float multiplier) {
  const DTypeInfo& info = dtype_info(type);
  const int64_t bytes = static_cast<int64_t>(row_bytes(type, static_cast<uint64_t>(columns)));
  if (mode == ComputeMode::kF32 || is_float(type)) {
    std::vector<float> row(static_cast<size_t>(columns));
    for (int64_t r = 0; r < rows; ++r) {
      widen_row(type, w + r * bytes, columns, row.data());
      for (int64_t t = 0; t < tokens; ++t)
        y[t * ldy + r] = canonical(dot_f32(row.data(), x + t * ldx, columns) * multiplier);
    }
    return;
  }
  const Block shape = block_of(type, w);  // what all blocks have in common
  const int run = shape.run == 0 ? shape.columns : shape.run, group = std::max(run, 32);
  const int64_t groups = (columns + group - 1) / group;
  std::vector<QuantisedGroup> quantised;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t g = 0; g < groups; ++g) {
      std::vector<float> values(static_cast<size_t>(group), 0.0f);
      for (int64_t k = 0; k < group && g * group + k < columns; ++k)
        values[static_cast<size_t>(k)] = x[t * ldx + g * group + k];
      quantised.push_back(quantise_group(values.data(), group, shape.run == 0));
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t t = 0; t < tokens; ++t) y[t * ldy + r] = 0.0f;
    for (int64_t k = 0; k < columns; k += run) {
      const Block b = block_of(type, w + r * bytes + k / info.block_values * info.block_bytes);
      for (int64_t t = 0; t < tokens; ++t) {
        const QuantisedGroup& a = quantised[static_cast<size_t>(t * groups + k / group)];
        float& out = y[t * ldy + r];
        out = add_run(b, static_cast<int>(k % b.columns / run), a.q + k % group, a.scale, out);
      }
    }
    for (int64_t t = 0; t < tokens; ++t) y[t * ldy + r] = canonical(y[t * ldy + r] * multiplier);
  }
}

}  // namespace kinglet::ref
