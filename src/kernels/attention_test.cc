#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include "base/half.h"
#include "kernels/kv_layout.h"
#include "kernels/rows_test_support.h"

namespace kinglet {
namespace {

using testing::first_difference;
using testing::Random;
using testing::ref_table;

// Rows of bits: nothing, everything, single positions, or runs as long as a block of block-sparse attention.
void add_random_selection(Random& random, std::vector<uint64_t>& bits, int64_t words) {
  const int64_t kind = random.below(5);
  for (int64_t i = 0; i < words; ++i) {
    const uint64_t word = random.engine();
    const uint64_t sparse = word & random.engine() & random.engine() & random.engine();
    const uint64_t kinds[] = {0, ~uint64_t{0}, word, sparse, word % 3 == 0 ? ~uint64_t{0} : word % 3 == 1 ? 0 : sparse};
    bits.push_back(kinds[kind]);
  }
}

// A cache of pages for some sequences, filled by kv_store.
class Cache {
 public:
  Cache(const KvLayout& layout, int64_t sequences, int64_t positions) : layout_(layout) {
    pages_per_sequence_ = (positions + layout.page_positions - 1) / layout.page_positions;
    const size_t count = static_cast<size_t>(sequences * pages_per_sequence_);
    memory_.assign(count, std::vector<std::byte>(layout.page_bytes() + 64, std::byte{0}));
    for (auto& page : memory_) {
      void* p = page.data();
      size_t space = page.size();
      pages_.push_back(static_cast<std::byte*>(std::align(64, layout.page_bytes(), p, space)));
    }
  }
  std::byte* const* pages(int64_t sequence) const { return pages_.data() + sequence * pages_per_sequence_; }
  const KvLayout& layout() const { return layout_; }
  bool same_pages(const Cache& other) const {
    for (size_t i = 0; i < pages_.size(); ++i) {
      if (std::memcmp(pages_[i], other.pages_[i], layout_.page_bytes()) != 0) return false;
    }
    return true;
  }

 private:
  KvLayout layout_;
  int64_t pages_per_sequence_ = 0;
  std::vector<std::vector<std::byte>> memory_;
  std::vector<std::byte*> pages_;
};

// What values_in_keys reads from the keys: the first value_dim dimensions of each head.
std::vector<float> values_of_keys(const KvLayout& layout, const std::vector<float>& k) {
  std::vector<float> v;
  for (size_t i = 0; i < k.size(); i += static_cast<size_t>(layout.head_dim)) {
    v.insert(v.end(), k.begin() + static_cast<int64_t>(i), k.begin() + static_cast<int64_t>(i) + layout.value_dim);
  }
  return v;
}

// Whole sequences: keys, values and queries of every position.
struct Sequences {
  KvLayout layout;
  AttentionParams params;
  std::vector<int64_t> lengths;
  std::vector<std::vector<float>> k, v, q;  // by sequence, [position][heads * dim]
  std::vector<float> sinks;                 // by head, or none
  // What is selected, or none: by sequence, [position][kv head or all][position / 64].
  std::vector<std::vector<uint64_t>> selected;
  bool selected_by_head = false;

  int64_t k_row() const { return layout.kv_heads * layout.head_dim; }
  int64_t v_row() const { return layout.kv_heads * layout.value_dim; }
  int64_t q_row() const { return params.heads * layout.head_dim; }
  int64_t out_row() const { return params.heads * layout.value_dim; }
  int64_t words(size_t sequence) const { return (lengths[sequence] + 63) / 64; }
  int64_t selected_rows() const { return selected_by_head ? layout.kv_heads : 1; }
  bool sees(size_t sequence, int64_t token, int64_t kv_head, int64_t position) const {
    if (selected.empty()) return true;
    const int64_t row = token * selected_rows() + (selected_by_head ? kv_head : 0);
    const size_t word = static_cast<size_t>(row * words(sequence) + position / 64);
    return (selected[sequence][word] >> (position % 64) & 1) != 0;
  }
  int64_t longest() const { return *std::max_element(lengths.begin(), lengths.end()); }
};

Sequences random_sequences(Random& random, const KvLayout& layout, const AttentionParams& params,
                           std::vector<int64_t> lengths) {
  Sequences s{layout, params, std::move(lengths), {}, {}, {}, {}, {}, false};
  for (int64_t n : s.lengths) {
    s.k.push_back(random.normals(n * s.k_row()));
    s.v.push_back(layout.values_in_keys ? values_of_keys(layout, s.k.back()) : random.normals(n * s.v_row()));
    s.q.push_back(random.normals(n * s.q_row(), 1.5f));
  }
  return s;
}

using Outputs = std::vector<std::vector<float>>;  // by sequence, [position][heads * value_dim]

// Runs all sequences through kv_store and attention, every step a batch of the next `step()` tokens of each.
template <class Step>
Outputs run(const Compute& compute, const Sequences& s, Cache& cache, const Step& step) {
  Outputs outputs;
  for (int64_t n : s.lengths) outputs.emplace_back(static_cast<size_t>(n * s.out_row()));
  std::vector<int64_t> done(s.lengths.size(), 0);
  for (;;) {
    std::vector<SequenceSlice> slices;
    std::vector<size_t> owners;
    std::vector<float> k, v, q;
    std::vector<uint64_t> selected;
    const int64_t widest = (s.longest() + 63) / 64;
    int64_t tokens = 0;
    for (size_t i = 0; i < s.lengths.size(); ++i) {
      const int64_t count = std::min<int64_t>(step(i), s.lengths[i] - done[i]);
      if (count <= 0) continue;
      const auto append = [&](std::vector<float>& to, const std::vector<float>& from, int64_t row) {
        to.insert(to.end(), from.begin() + done[i] * row, from.begin() + (done[i] + count) * row);
      };
      append(k, s.k[i], s.k_row());
      append(v, s.v[i], s.v_row());
      append(q, s.q[i], s.q_row());
      for (int64_t row = 0; !s.selected.empty() && row < count * s.selected_rows(); ++row) {
        const auto from = s.selected[i].begin() + (done[i] * s.selected_rows() + row) * s.words(i);
        selected.insert(selected.end(), from, from + s.words(i));
        selected.resize(selected.size() + static_cast<size_t>(widest - s.words(i)));
      }
      slices.push_back({tokens, count, done[i], cache.pages(static_cast<int64_t>(i))});
      owners.push_back(i);
      tokens += count;
    }
    if (slices.empty()) return outputs;
    kv_store(compute, s.layout, slices, k.data(), s.k_row(), s.layout.values_in_keys ? nullptr : v.data(), s.v_row());
    std::vector<float> out(static_cast<size_t>(tokens * s.out_row()));
    AttentionParams params = s.params;
    params.sinks = s.sinks.empty() ? nullptr : s.sinks.data();
    if (!s.selected.empty()) {
      params.selected = selected.data();
      params.selected_head_stride = s.selected_by_head ? widest : 0;
      params.selected_stride = widest * s.selected_rows();
    }
    attention(compute, s.layout, params, slices, q.data(), s.q_row(), out.data(), s.out_row());
    for (size_t j = 0; j < slices.size(); ++j) {
      std::copy_n(out.begin() + slices[j].first_token * s.out_row(), slices[j].tokens * s.out_row(),
                  outputs[owners[j]].begin() + slices[j].first_position * s.out_row());
      done[owners[j]] += slices[j].tokens;
    }
  }
}

void expect_same(const Outputs& got, const Outputs& expected, const std::string& what) {
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_EQ(first_difference(got[i], expected[i]), -1) << what << ", sequence " << i;
}

std::string describe(const Sequences& s) {
  return "type " + std::to_string(static_cast<int>(s.layout.type)) + " heads " + std::to_string(s.params.heads) + "/" +
         std::to_string(s.layout.kv_heads) + " dims " + std::to_string(s.layout.head_dim) + "/" +
         std::to_string(s.layout.value_dim) + " page " + std::to_string(s.layout.page_positions) + " window " +
         std::to_string(s.params.window) + " cap " + std::to_string(s.params.soft_cap) +
         (s.sinks.empty() ? "" : " sinks") + (s.layout.values_in_keys ? " latent" : "") +
         (s.selected.empty() ? "" : " selected");
}

void select_some(Random& random, Sequences& s) {
  s.selected_by_head = random.below(2) == 0;
  s.selected.resize(s.lengths.size());
  for (size_t i = 0; i < s.lengths.size(); ++i) {
    const int64_t rows = s.lengths[i] * s.selected_rows();
    for (int64_t row = 0; row < rows; ++row) add_random_selection(random, s.selected[i], s.words(i));
  }
}

Sequences random_case(Random& random, KvType type, int64_t longest) {
  KvLayout layout;
  layout.type = type;
  layout.kv_heads = random.between(1, 3);
  layout.head_dim = 8 * random.between(2, 12);
  layout.value_dim = random.below(3) == 0 ? 8 * random.between(2, 12) : layout.head_dim;
  if (random.below(3) == 0) {
    layout.values_in_keys = true;
    layout.head_dim = random.between(9, 100);
    layout.value_dim = random.between(1, layout.head_dim);
  }
  const int64_t page_sizes[] = {16, 32, 48, 64, 128, 256};
  layout.page_positions = page_sizes[random.below(6)];
  AttentionParams params;
  params.heads = layout.kv_heads * random.between(1, 7);
  params.scale = 1.0f / std::sqrt(static_cast<float>(layout.head_dim));
  params.window = random.below(2) == 0 ? 0 : random.between(1, longest + 20);
  params.soft_cap = random.below(3) == 0 ? 20.0f : 0.0f;
  std::vector<int64_t> lengths;
  for (int64_t i = random.between(1, 3); i > 0; --i) lengths.push_back(random.between(1, longest));
  Sequences s = random_sequences(random, layout, params, lengths);
  if (random.below(3) == 0) s.sinks = random.normals(params.heads, 4.0f);
  if (random.below(3) == 0) select_some(random, s);
  return s;
}

TEST(Attention, EveryLevelHasTheBitsOfTheDefinition) {
  Random random(8);
  for (int round = 0; round < 18; ++round) {
    const Sequences s = random_case(random, static_cast<KvType>(round % 3), round % 5 == 0 ? 420 : 90);
    ThreadPool one(1);
    Cache expected_cache(s.layout, static_cast<int64_t>(s.lengths.size()), s.longest());
    const int64_t chunk = random.between(1, 200);
    // The definition decides a row at a time, so its own chunking is tested by the levels' chunkings below.
    const Outputs expected = run({&ref_table(), &one}, s, expected_cache, [&](size_t) { return chunk; });
    for (IsaLevel level : available_isa_levels()) {
      ThreadPool pool(static_cast<int>(random.between(1, 3)));
      Cache cache(s.layout, static_cast<int64_t>(s.lengths.size()), s.longest());
      const int64_t most = random.below(2) == 0 ? 600 : 40;
      const Outputs got = run({&kernel_table(level), &pool}, s, cache, [&](size_t) { return random.between(1, most); });
      expect_same(got, expected, describe(s) + " " + std::string(isa_name(level)));
      ASSERT_TRUE(cache.same_pages(expected_cache)) << describe(s) << " " << isa_name(level);
    }
  }
}

// The same values as one token at a time, whole prompts, other neighbours, other pages, other numbers of threads.
TEST(Attention, BitsDoNotDependOnChunksBatchesPagesOrThreads) {
  Random random(9);
  const Compute fast{&kernel_table(available_isa_levels().back()), nullptr};
  for (int round = 0; round < 9; ++round) {
    Sequences s = random_case(random, static_cast<KvType>(round % 3), 700);
    s.lengths.resize(1);
    for (auto* values : {&s.k, &s.v, &s.q}) values->resize(1);
    if (!s.selected.empty()) s.selected.resize(1);
    ThreadPool one(1), three(3);
    Cache cache(s.layout, 1, s.longest());
    const Outputs expected = run({fast.kernels, &one}, s, cache, [](size_t) { return 100000; });
    const auto check = [&](Sequences other, ThreadPool& pool, int64_t most, const char* what) {
      Cache its(other.layout, static_cast<int64_t>(other.lengths.size()), other.longest());
      const Outputs got = run({fast.kernels, &pool}, other, its, [&](size_t i) { return i == 0 ? most : 7; });
      expect_same({got[0]}, expected, describe(s) + " " + what);
    };
    check(s, three, 100000, "three threads");
    check(s, three, 1, "token by token");
    check(s, one, 33, "chunks of 33");
    for (int64_t page : {16, 64, 112}) {
      Sequences other = s;
      other.layout.page_positions = page;
      check(other, one, 50, "another page size");
    }
    Sequences crowd = s;
    const Sequences more = random_sequences(random, s.layout, s.params, {5, 300});
    for (size_t i = 0; i < 2; ++i) {
      crowd.lengths.push_back(more.lengths[i]);
      crowd.k.push_back(more.k[i]);
      crowd.v.push_back(more.v[i]);
      crowd.q.push_back(more.q[i]);
    }
    if (!crowd.selected.empty()) {
      for (size_t i = 1; i < 3; ++i) {
        crowd.selected.emplace_back();
        for (int64_t row = 0; row < crowd.lengths[i] * crowd.selected_rows(); ++row)
          add_random_selection(random, crowd.selected[i], crowd.words(i));
      }
    }
    check(crowd, three, 64, "neighbours");
  }
}

// The same number from every compiler and processor: what the plain definitions gave when they were written.
TEST(Attention, BitsAreTheSameOnEveryMachine) {
  const uint64_t expected[] = {9173484687815423505u, 11811406362413014237u, 7131121815724339747u};
  ThreadPool pool(2);
  for (IsaLevel level : {IsaLevel::kPortable, available_isa_levels().back()}) {
    for (KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
      Random random(12);
      const auto uniform = [&random](int64_t n) {
        std::vector<float> values(static_cast<size_t>(n));
        for (float& v : values) v = random.uniform(-1.0f, 1.0f);
        return values;
      };
      const int64_t length = 290;
      Sequences s{{type, 2, 40, 40, 32}, {8, 0.7f, 15.0f, 280}, {length}, {}, {}, {}, {}, {}, false};
      s.k.push_back(uniform(length * s.k_row()));
      s.v.push_back(uniform(length * s.v_row()));
      s.q.push_back(uniform(length * s.q_row()));
      Cache cache(s.layout, 1, length);
      uint64_t hash = 14695981039346656037u;  // FNV-1a over words
      const Outputs outputs = run({&kernel_table(level), &pool}, s, cache, [](size_t) { return 100; });
      for (float x : outputs[0]) {
        hash = (hash ^ std::bit_cast<uint32_t>(x)) * 1099511628211u;
      }
      EXPECT_EQ(hash, expected[static_cast<size_t>(type)]) << isa_name(level) << " type " << static_cast<int>(type);
    }
  }
}

// What a finished or abandoned token left behind in a page must not show: NaN and infinities in masked positions.
TEST(Attention, MaskedPositionsNeverContribute) {
  Random random(10);
  ThreadPool pool(1);
  for (KvType type : {KvType::kF32, KvType::kF16}) {
    KvLayout layout{type, 2, 40, 40, 32};
    AttentionParams params;
    params.heads = 6;
    params.scale = 0.2f;
    const Sequences s = random_sequences(random, layout, params, {77});
    for (IsaLevel level : available_isa_levels()) {
      const Compute compute{&kernel_table(level), &pool};
      Cache clean(layout, 1, 96), dirty(layout, 1, 96);
      for (int page = 0; page < 3; ++page) std::memset(dirty.pages(0)[page], 0xff, layout.page_bytes());  // NaNs
      const Outputs expected = run(compute, s, clean, [](size_t) { return 13; });
      expect_same(run(compute, s, dirty, [](size_t) { return 13; }), expected, std::string(isa_name(level)));
    }
  }
}

TEST(Attention, ValuesInKeysEqualTheSameValuesStoredApart) {
  Random random(13);
  ThreadPool pool(2);
  for (KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
    KvLayout latent{type, 1, 96, type == KvType::kQ8_0 ? 64 : 75, 48};
    latent.values_in_keys = true;
    for (int64_t heads : {3, 20}) {
      AttentionParams params;
      params.heads = heads;
      params.scale = 0.1f;
      Sequences s = random_sequences(random, latent, params, {333});
      for (IsaLevel level : available_isa_levels()) {
        const Compute compute{&kernel_table(level), &pool};
        Cache keys(latent, 1, 333);
        const Outputs got = run(compute, s, keys, [](size_t) { return 40; });
        Sequences apart = s;
        apart.layout.values_in_keys = false;
        Cache both(apart.layout, 1, 333);
        expect_same(got, run(compute, apart, both, [](size_t) { return 40; }), describe(s));
      }
    }
  }
}

// Softmax in double over what the cache is expected to hold.
std::vector<double> naive(const Sequences& s, int64_t position, int64_t head) {
  const int64_t kv_head = head * s.layout.kv_heads / s.params.heads, dims = s.layout.head_dim;
  const int64_t first = s.params.window > 0 ? std::max<int64_t>(0, position - s.params.window + 1) : 0;
  const int64_t end = s.params.causal       ? position + 1
                      : s.params.window > 0 ? std::min(s.lengths[0], position + s.params.window)
                                            : s.lengths[0];
  const auto stored = [&](float x) {
    return static_cast<double>(s.layout.type == KvType::kF16 ? half_to_float(float_to_half(x)) : x);
  };
  std::vector<double> weights;
  constexpr double kUnseen = -std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity(), sum = 0.0;
  for (int64_t i = first; i < end; ++i) {
    double dot = 0.0;
    for (int64_t d = 0; d < dims; ++d) {
      dot += stored(s.k[0][static_cast<size_t>(i * s.k_row() + kv_head * dims + d)]) *
             static_cast<double>(s.q[0][static_cast<size_t>(position * s.q_row() + head * dims + d)]);
    }
    dot *= static_cast<double>(s.params.scale);
    const double cap = static_cast<double>(s.params.soft_cap);
    if (cap != 0.0) dot = cap * std::tanh(dot / cap);
    if (!s.sees(0, position, kv_head, i)) dot = kUnseen;
    weights.push_back(dot);
    max = std::max(max, dot);
  }
  if (!s.sinks.empty()) {
    const double sink = static_cast<double>(s.sinks[static_cast<size_t>(head)]);
    max = std::max(max, sink);
    sum = std::exp(sink - max);
  }
  for (double& w : weights) sum += w = w == kUnseen ? 0.0 : std::exp(w - max);
  if (sum == 0.0) sum = 1.0;
  std::vector<double> out(static_cast<size_t>(s.layout.value_dim), 0.0);
  for (int64_t i = first; i < end; ++i) {
    for (size_t d = 0; d < out.size(); ++d) {
      const double v = stored(s.v[0][static_cast<size_t>(i * s.v_row() + kv_head * s.layout.value_dim) + d]);
      out[d] += weights[static_cast<size_t>(i - first)] / sum * v;
    }
  }
  return out;
}

// An encoder's text: a word at the start sees the end, however wide the batch and the window.
TEST(Attention, EncodersSeeBothSides) {
  Random random(14);
  for (int round = 0; round < 9; ++round) {
    Sequences s = random_case(random, static_cast<KvType>(round % 3), round % 4 == 0 ? 300 : 70);
    s.params.causal = false;
    ThreadPool one(1), three(3);
    const int64_t count = static_cast<int64_t>(s.lengths.size());
    const auto whole = [](size_t) { return 100000; };
    Cache expected_cache(s.layout, count, s.longest());
    const Outputs expected = run({&ref_table(), &one}, s, expected_cache, whole);
    for (IsaLevel level : available_isa_levels()) {
      Cache cache(s.layout, count, s.longest());
      expect_same(run({&kernel_table(level), &three}, s, cache, whole), expected, describe(s));
    }
    if (s.layout.type == KvType::kQ8_0) continue;
    for (int64_t position : {int64_t{0}, s.lengths[0] / 2, s.lengths[0] - 1}) {
      const std::vector<double> exact = naive(s, position, 0);
      for (size_t d = 0; d < exact.size(); ++d) {
        const float got = expected[0][static_cast<size_t>(position * s.out_row()) + d];
        ASSERT_NEAR(static_cast<double>(got), exact[d], 2e-5) << describe(s) << " position " << position;
      }
    }
  }
}

TEST(Attention, IsTheSoftmaxOfTheScores) {
  Random random(11);
  ThreadPool pool(2);
  const Compute compute{&kernel_table(available_isa_levels().back()), &pool};
  for (int round = 0; round < 12; ++round) {
    Sequences s = random_case(random, static_cast<KvType>(round % 3), 600);
    s.lengths = {600};
    Sequences one = random_sequences(random, s.layout, s.params, s.lengths);
    if (round % 2 == 1) one.sinks = random.normals(s.params.heads, 4.0f);
    if (round % 3 == 1) select_some(random, one);
    Cache cache(one.layout, 1, 600);
    const Outputs got = run(compute, one, cache, [](size_t) { return 128; });
    const double tolerance = one.layout.type == KvType::kQ8_0 ? 0.05 : 2e-5;
    for (int64_t position : {0, 1, 16, 255, 256, 300, 599}) {
      const int64_t head = random.below(one.params.heads);
      const std::vector<double> expected = naive(one, position, head);
      for (size_t d = 0; d < expected.size(); ++d) {
        const size_t i = static_cast<size_t>(position * one.out_row() + head * one.layout.value_dim) + d;
        ASSERT_NEAR(static_cast<double>(got[0][i]), expected[d], tolerance)
            << describe(one) << " position " << position;
      }
    }
  }
}

TEST(KvStore, SaturatesAndQuantises) {
  ThreadPool pool(1);
  constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  for (KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
    const KvLayout layout{type, 1, 40, 40, 16};
    std::vector<float> k(40, 0.25f), v(40, -3.0f);
    k[0] = kInf;
    k[1] = -1e30f;
    k[2] = kNan;
    v[5] = 1.5f;
    Cache expected(layout, 1, 16);
    const SequenceSlice reference{0, 1, 3, expected.pages(0)};
    kv_store({&ref_table(), &pool}, layout, {&reference, 1}, k.data(), 40, v.data(), 40);
    for (IsaLevel level : available_isa_levels()) {
      Cache cache(layout, 1, 16);
      const SequenceSlice slice{0, 1, 3, cache.pages(0)};
      kv_store({&kernel_table(level), &pool}, layout, {&slice, 1}, k.data(), 40, v.data(), 40);
      EXPECT_TRUE(cache.same_pages(expected)) << isa_name(level) << " type " << static_cast<int>(type);
    }
    const std::byte* block = k_block(layout, expected.pages(0), 0, 3);
    const std::byte* values = v_area(layout, expected.pages(0), 0, 3);
    if (type == KvType::kF16) {
      uint16_t halves[2];
      std::memcpy(halves, block + 3 * 2, 2);
      std::memcpy(halves + 1, block + (16 + 3) * 2, 2);
      EXPECT_EQ(half_to_float(halves[0]), 65504.0f);
      EXPECT_EQ(half_to_float(halves[1]), -65504.0f);
    }
    if (type == KvType::kQ8_0) {
      uint16_t scale;
      std::memcpy(&scale, values + v_scales_offset(layout) + 3 * 2, 2);
      EXPECT_EQ(scale, float_to_half(3.0f / 127.0f));
      EXPECT_EQ(static_cast<int8_t>(values[3 * 64]), -127);
      EXPECT_EQ(static_cast<int8_t>(values[3 * 64 + 5]), static_cast<int8_t>(std::lrint(1.5f / half_to_float(scale))));
    }
  }
}

TEST(KvLayout, SizesAreThoseOfTheDocumentation) {
  const KvLayout f16{KvType::kF16, 2, 40, 40, 64};
  EXPECT_EQ(f16.k_bytes_per_head(), 64u * 40 * 2);
  EXPECT_EQ(f16.v_bytes_per_head(), 64u * 48 * 2);
  EXPECT_EQ(f16.page_bytes(), 2u * 64 * 88 * 2);
  KvLayout latent{KvType::kF16, 1, 576, 512, 64};
  latent.values_in_keys = true;
  EXPECT_EQ(latent.page_bytes(), 64u * 576 * 2);
  const KvLayout q8{KvType::kQ8_0, 1, 40, 40, 32};
  EXPECT_EQ(q8.k_bytes_per_head(), 32u * 64 + 32 * 2 * 2);
  EXPECT_EQ(q8.v_bytes_per_head(), 32u * 64 + 32 * 2 * 2);
}

}  // namespace
}  // namespace kinglet
