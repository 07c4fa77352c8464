#include "kernels/ref/linear_ref.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/half.h"
#include "kernels/math.h"
#include "kernels/ref/blocks.h"

namespace kinglet::ref {
namespace {

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

// Float scale and small codes: FP8, NF4.
float coded_weight(DType type, const uint8_t* row, int64_t k) {
  const DTypeInfo& info = dtype_info(type);
  row += k / info.block_values * info.block_bytes;
  k %= info.block_values;
  const float scale = std::bit_cast<float>(load_u32(row));
  if (type == DType::kFp8G128) return e4m3(row[4 + k]) * scale;
  return kNf4Levels[row[4 + k / 2] >> 4 * (k % 2) & 15] * scale;
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
