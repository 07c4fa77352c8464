#include "kernels/ops_compress.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/kv_layout.h"
#include "kernels/math.h"
#include "kernels/table.h"

namespace kinglet {
namespace {

constexpr int64_t kGrainExponentials = 2048;  // worth waking another worker for
constexpr int64_t kStretch = 64;              // channels that a worker takes

// A running softmax over what it was shown, a channel each; empty where the sum is zero.
struct Mixture {
  float *most = nullptr, *sum = nullptr, *values = nullptr;
};

Mixture mixture_of(const PoolParams& p, float* state, int64_t which, int64_t channel) {
  float* at = state + which * 3 * p.dim + channel;
  return {at, at + p.dim, at + 2 * p.dim};
}

void add_token(const Mixture& m, const float* values, const float* gates, const float* bias, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float logit = gates[i] + bias[i];
    if (m.sum[i] == 0.0f) {
      m.most[i] = logit;
      m.sum[i] = 1.0f;
      m.values[i] = values[i];
    } else if (logit <= m.most[i]) {
      const float e = exp_f32(logit - m.most[i]);
      m.sum[i] = m.sum[i] + e;
      m.values[i] = m.values[i] + e * values[i];
    } else {
      const float e = exp_f32(m.most[i] - logit);
      m.most[i] = logit;
      m.sum[i] = m.sum[i] * e + 1.0f;
      m.values[i] = m.values[i] * e + values[i];
    }
  }
}

// Takes the entry out of a mixture; `next` takes its place, or nothing.
void finish_block(const Mixture& m, const Mixture* next, int64_t n, float* entry) {
  for (int64_t i = 0; i < n; ++i) entry[i] = m.values[i] / m.sum[i];
  for (float* const* plane : {&m.most, &m.sum, &m.values}) std::fill_n(*plane, n, 0.0f);
  if (next == nullptr) return;
  std::swap_ranges(m.most, m.most + n, next->most);
  std::swap_ranges(m.sum, m.sum + n, next->sum);
  std::swap_ranges(m.values, m.values + n, next->values);
}

// Channels [channel, channel + n) of one slice.
void pool_channels(const PoolParams& p, const CompressedSlice& slice, const float* values, const float* gates,
                   int64_t ld, const float* bias, int64_t channel, int64_t n, float* entries) {
  const Mixture now = mixture_of(p, slice.state, 0, channel);
  const Mixture later = p.overlaps ? mixture_of(p, slice.state, 1, channel) : Mixture{};
  const int64_t own = p.overlaps ? p.dim + channel : channel;
  for (int64_t t = 0; t < slice.tokens; ++t) {
    const int64_t place = (slice.first_position + t) % p.ratio;
    const float *v = values + (slice.first_token + t) * ld, *g = gates + (slice.first_token + t) * ld;
    const float* b = bias + place * p.columns();
    add_token(now, v + own, g + own, b + own, n);
    if (p.overlaps) add_token(later, v + channel, g + channel, b + channel, n);
    if (place + 1 < p.ratio) continue;
    finish_block(now, p.overlaps ? &later : nullptr, n, entries + channel);
    entries += p.dim;
  }
}

// Entries of blocks that end before a page.
int64_t entries_before(const EntryLayout& layout, int64_t page) {
  return page * layout.page_positions / layout.ratio;
}

// Where an entry lies: its page, and its place among the page's.
struct EntryPlace {
  int64_t page = 0, slot = 0;
};
EntryPlace place_of(const EntryLayout& layout, int64_t entry) {
  const int64_t page = ((entry + 1) * layout.ratio - 1) / layout.page_positions;
  return {page, entry - entries_before(layout, page)};
}

// One position of a K block to a lane of another.
void copy_lane(const KvLayout& keys, const std::byte* from, int64_t from_lane, std::byte* to, int64_t to_lane) {
  const bool q8 = keys.type == KvType::kQ8_0;
  const int64_t bytes = q8 ? 4 : kv_element_bytes(keys.type);  // q8_0 has four dimensions beside each other
  const int64_t rows = q8 ? query_stride(keys) / 4 : keys.head_dim;
  const auto copy = [&](int64_t offset, int64_t count, int64_t size) {
    for (int64_t r = 0; r < count; ++r)
      std::memcpy(to + offset + (r * kKvBlock + to_lane) * size, from + offset + (r * kKvBlock + from_lane) * size,
                  static_cast<size_t>(size));
  };
  copy(0, rows, bytes);
  if (q8) copy(query_stride(keys) * kKvBlock, query_stride(keys) / kKvGroup, 2);
}

}  // namespace

int64_t pool_state_floats(const PoolParams& params) {
  return 3 * params.columns();
}

int64_t entries_between(int64_t ratio, int64_t first_position, int64_t tokens) {
  return (first_position + tokens) / ratio - first_position / ratio;
}

int64_t pool_tokens(const Compute& compute, const PoolParams& params, std::span<const CompressedSlice> slices,
                    const float* values, const float* gates, int64_t ld, const float* bias, float* entries) {
  KL_CHECK(params.dim > 0 && params.ratio > 0, "a malformed compressor");
  const int64_t stretches = (params.dim + kStretch - 1) / kStretch;
  int64_t count = 0;
  for (const CompressedSlice& slice : slices) {
    KL_CHECK(slice.state != nullptr, "a compressor needs the sequence's state");
    float* to = entries + count * params.dim;
    const int64_t grain = std::max<int64_t>(1, kGrainExponentials / (kStretch * std::max<int64_t>(1, slice.tokens)));
    compute.pool->parallel_for(stretches, grain, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t channel = i * kStretch, n = std::min(kStretch, params.dim - channel);
        pool_channels(params, slice, values, gates, ld, bias, channel, n, to);
      }
    });
    count += entries_between(params.ratio, slice.first_position, slice.tokens);
  }
  return count;
}

EntryLayout entry_layout(const KvLayout& keys, int64_t ratio) {
  EntryLayout layout;
  layout.keys = keys;
  layout.ratio = ratio;
  layout.page_positions = keys.page_positions;
  layout.keys.page_positions = round_up((keys.page_positions + ratio - 1) / ratio, kKvBlock);
  return layout;
}

void store_entries(const Compute& compute, const EntryLayout& layout, std::span<const CompressedSlice> slices,
                   const float* entries) {
  const RowKernels& kernels = compute.kernels->rows;
  for (const CompressedSlice& slice : slices) {
    const int64_t first = slice.first_position / layout.ratio;
    const int64_t count = entries_between(layout.ratio, slice.first_position, slice.tokens);
    for (int64_t i = 0; i < count; ++i, entries += layout.keys.head_dim) {
      const EntryPlace place = place_of(layout, first + i);
      kernels.store_k(layout.keys, entries, slice.pages[place.page] + k_area_offset(layout.keys, 0), place.slot);
    }
  }
}

KvLayout gathered_layout(const EntryLayout& layout) {
  KvLayout keys = layout.keys;
  keys.page_positions = kAttentionTile;
  return keys;
}

uint64_t gathered_bytes(const EntryLayout& layout, int64_t count) {
  return static_cast<uint64_t>(round_up(count, kAttentionTile) / kKvBlock * k_block_bytes(layout.keys));
}

void gather_entries(const Compute& compute, const EntryLayout& layout, const std::byte* const* pages, int64_t count,
                    std::byte* to) {
  const int64_t block_bytes = k_block_bytes(layout.keys), blocks = (count + kKvBlock - 1) / kKvBlock;
  compute.pool->parallel_for(blocks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      std::byte* block = to + b * block_bytes;
      if ((b + 1) * kKvBlock > count) std::fill_n(block, block_bytes, std::byte{0});
      for (int64_t e = b * kKvBlock; e < std::min(count, (b + 1) * kKvBlock); ++e) {
        const EntryPlace place = place_of(layout, e);
        const std::byte* from = pages[place.page] + place.slot / kKvBlock * block_bytes;
        copy_lane(layout.keys, from, place.slot % kKvBlock, block, e % kKvBlock);
      }
    }
  });
}

}  // namespace kinglet
