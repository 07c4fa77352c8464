#include "bench/kernel_cases.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/half.h"
#include "formats/decode.h"
#include "kernels/table.h"

namespace kinglet::bench {
namespace {

// The same numbers on every machine, without a library's distributions.
class Numbers {
 public:
  uint32_t next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 33);
  }
  float between(float low, float high) { return low + (high - low) * static_cast<float>(next() >> 7) * 0x1p-24f; }
  std::vector<float> many(int64_t count, float low = -1.0f, float high = 1.0f) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = between(low, high);
    return values;
  }

 private:
  uint64_t state_ = 1;
};

// Blocks of random bits in which no scale is large: bytes of at most 0x2f. Floats are random numbers.
std::vector<std::byte> random_weights(DType type, int64_t rows, int64_t columns) {
  std::vector<std::byte> bytes(static_cast<size_t>(rows) * row_bytes(type, static_cast<uint64_t>(columns)));
  Numbers numbers;
  if (type == DType::kF32 || type == DType::kF16 || type == DType::kBF16) {
    const size_t size = dtype_info(type).block_bytes;
    for (size_t at = 0; at < bytes.size(); at += size) {
      const float value = numbers.between(-0.1f, 0.1f);
      const uint16_t half = type == DType::kF16 ? float_to_half(value) : float_to_bfloat16(value);
      std::memcpy(bytes.data() + at, type == DType::kF32 ? static_cast<const void*>(&value) : &half, size);
    }
  } else {
    for (std::byte& b : bytes) b = static_cast<std::byte>(numbers.next() & 0x2f);
  }
  return bytes;
}

std::string name_of(const LinearShape& shape) {
  return "linear/" + std::string(dtype_info(shape.type).name) + (shape.mode == ComputeMode::kInt8 ? "/int8" : "/f32") +
         "/tokens:" + std::to_string(shape.tokens);
}

struct Cache {
  KvLayout layout;
  std::vector<AlignedBuffer> buffers;
  std::vector<std::byte*> pages;
};

Result<Cache> make_cache(KvType type, int64_t positions) {
  Cache cache;
  cache.layout = {.type = type, .kv_heads = 2, .head_dim = 128, .value_dim = 128, .page_positions = 64};
  for (int64_t p = 0; p < positions; p += cache.layout.page_positions) {
    KL_TRY(AlignedBuffer page, AlignedBuffer::allocate(cache.layout.page_bytes()));
    cache.pages.push_back(page.data());
    cache.buffers.push_back(std::move(page));
  }
  return cache;
}

constexpr int64_t kRow = 2048;

}  // namespace

Result<KernelCase> linear_case(const Compute& compute, const LinearShape& shape) {
  struct Data {
    std::vector<PackedMatrix> copies;
    std::vector<float> x, y;
    Activations activations;
    size_t next = 0;
  };
  const std::vector<std::byte> weights = random_weights(shape.type, shape.rows, shape.columns);
  const TensorView view = {.name = "w", .dtype = shape.type, .shape = {shape.rows, shape.columns}, .data = weights};
  auto data = std::make_shared<Data>();
  do {
    KL_TRY(PackedMatrix packed, pack_matrix(compute, view, decode_row));
    data->copies.push_back(std::move(packed));
  } while (data->copies.size() * data->copies[0].bytes() < shape.copies_bytes);
  data->x = Numbers().many(shape.tokens * shape.columns);
  data->y.resize(static_cast<size_t>(shape.tokens * shape.rows));
  const double products =
      static_cast<double>(shape.rows) * static_cast<double>(shape.columns) * static_cast<double>(shape.tokens);
  return KernelCase{name_of(shape), static_cast<double>(weights.size()), 2.0 * products, [=] {
                      const PackedMatrix& w = data->copies[data->next++ % data->copies.size()];
                      data->activations.set(data->x.data(), shape.tokens, shape.columns, shape.columns);
                      linear(compute, shape.mode, w, data->activations, data->y.data(), shape.rows);
                    }};
}

Result<KernelCase> attention_case(const Compute& compute, KvType type, int64_t depth, int64_t tokens) {
  struct Data {
    Cache cache;
    std::vector<float> q, out;
  };
  auto data = std::make_shared<Data>();
  KL_TRY(data->cache, make_cache(type, depth + tokens));
  const KvLayout& layout = data->cache.layout;
  const AttentionParams params = {.heads = 8, .scale = 0.088f};
  const int64_t kv_row = layout.kv_heads * layout.head_dim, q_row = params.heads * layout.head_dim;
  Numbers numbers;
  const std::vector<float> kv = numbers.many((depth + tokens) * kv_row);
  const SequenceSlice all = {0, depth + tokens, 0, data->cache.pages.data()};
  kv_store(compute, layout, std::span(&all, 1), kv.data(), kv_row, kv.data(), kv_row);
  data->q = numbers.many(tokens * q_row);
  data->out.resize(data->q.size());
  const char* names[] = {"f32", "f16", "q8_0"};
  const double read = static_cast<double>(layout.page_bytes()) * static_cast<double>(depth + tokens) /
                      static_cast<double>(layout.page_positions);
  const double products = static_cast<double>(q_row) * static_cast<double>(tokens) *
                          (static_cast<double>(depth) + static_cast<double>(tokens + 1) / 2.0) * 2.0;
  return KernelCase{"attention/" + std::string(names[static_cast<int>(type)]) + "/depth:" + std::to_string(depth) +
                        "/tokens:" + std::to_string(tokens),
                    read, 2.0 * products, [=] {
                      const SequenceSlice slice = {0, tokens, depth, data->cache.pages.data()};
                      attention(compute, data->cache.layout, params, std::span(&slice, 1), data->q.data(), q_row,
                                data->out.data(), q_row);
                    }};
}

KernelCase quantise_case(const Compute& compute, int group, int64_t columns) {
  struct Data {
    std::vector<float> x;
    std::vector<Activations256> out256;
    std::vector<Activations32> out32;
  };
  auto data = std::make_shared<Data>();
  data->x = Numbers().many(columns);
  const int64_t groups = columns / 256;
  data->out256.resize(static_cast<size_t>(groups));
  data->out32.resize(static_cast<size_t>(groups));
  const LinearKernels& kernels = compute.kernels->linear;
  return KernelCase{"quantise/" + std::to_string(group), static_cast<double>(columns) * 4.0, 0.0, [=, &kernels] {
                      for (int64_t g = 0; g < groups; ++g) {
                        if (group == 256) {
                          kernels.quantise256(data->x.data() + g * 256, &data->out256[static_cast<size_t>(g)]);
                        } else {
                          kernels.quantise32(data->x.data() + g * 256, 256, group,
                                             &data->out32[static_cast<size_t>(g)]);
                        }
                      }
                    }};
}

KernelCase row_case(const Compute& compute, const std::string& name, int64_t rows) {
  struct Data {
    std::vector<float> x, y, weight;
    std::vector<int32_t> positions;
    RopeTable rope;
    volatile float result = 0.0f;
  };
  auto data = std::make_shared<Data>();
  Numbers numbers;
  data->x = numbers.many(rows * kRow);
  data->y = numbers.many(rows * kRow);
  data->weight = numbers.many(kRow);
  for (int64_t t = 0; t < rows; ++t) data->positions.push_back(static_cast<int32_t>(t));
  std::function<void()> run;
  float *x = data->x.data(), *y = data->y.data(), *weight = data->weight.data();
  if (name == "rms_norm") {
    run = [=] { rms_norm(compute, x, kRow, weight, 1e-6f, rows, kRow, y, kRow); };
  } else if (name == "layer_norm") {
    run = [=] { layer_norm(compute, x, kRow, weight, weight, 1e-6f, rows, kRow, y, kRow); };
  } else if (name == "add") {  // of zeros, so that runs don't grow x
    std::fill(data->y.begin(), data->y.end(), 0.0f);
    run = [=] { add(compute, x, kRow, y, kRow, rows, kRow); };
  } else if (name == "silu") {  // gates that it leaves as they are, so that runs don't end in denormals
    data->x = numbers.many(rows * kRow, 18.0f, 30.0f);
    x = data->x.data();
    std::fill(data->y.begin(), data->y.end(), 1.0f);
    run = [=] { gated_activation(compute, Activation::kSilu, x, kRow, y, kRow, rows, kRow); };
  } else if (name == "rope") {
    std::vector<double> frequencies(64);
    for (size_t p = 0; p < frequencies.size(); ++p) frequencies[p] = 1.0 / static_cast<double>(1 + p * p);
    auto table = make_rope_table(compute, frequencies, 1.0f, rows);
    KL_CHECK(table.ok(), "no memory for a small table");
    data->rope = std::move(table).value();
    run = [=] { rope_half_split(compute, data->rope, data->positions.data(), x, kRow, rows, kRow / 128, 128); };
  } else {
    KL_CHECK(name == "log_sum_exp", "a row kernel that has no case");
    run = [=] {
      for (int64_t t = 0; t < rows; ++t) data->result = log_sum_exp(compute, x + t * kRow, kRow);
    };
  }
  return KernelCase{"rows/" + name, static_cast<double>(rows * kRow) * 4.0, 0.0, [data, run] { run(); }};
}

}  // namespace kinglet::bench
