#include "kernels/ops_compress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/kv_layout.h"
#include "kernels/rows_test_support.h"

namespace kinglet {
namespace {

using testing::first_difference;
using testing::Random;
using testing::ref_table;

// Pages of one sequence, zeroed and aligned.
class Pages {
 public:
  Pages(uint64_t bytes, int64_t count) {
    const uint64_t stride = (bytes + 63) / 64 * 64;
    memory_.assign(static_cast<size_t>(count) * stride / 64 + 2, Line{});
    auto* first = reinterpret_cast<std::byte*>(memory_.data());
    for (int64_t i = 0; i < count; ++i) pages_.push_back(first + static_cast<uint64_t>(i) * stride);
  }
  std::byte* const* data() const { return pages_.data(); }

 private:
  struct alignas(64) Line {
    std::byte bytes[64]{};
  };
  std::vector<Line> memory_;
  std::vector<std::byte*> pages_;
};

// ---- pooling

// Entries of a text of `tokens` tokens, `step` at a time.
std::vector<float> pool(const Compute& compute, const PoolParams& p, int64_t tokens, int64_t step,
                        const std::vector<float>& values, const std::vector<float>& gates,
                        const std::vector<float>& bias) {
  std::vector<float> state(static_cast<size_t>(pool_state_floats(p)), 0.0f), entries;
  for (int64_t t = 0; t < tokens; t += step) {
    const int64_t n = std::min(step, tokens - t), count = entries_between(p.ratio, t, n);
    std::vector<float> some(static_cast<size_t>(count * p.dim) + 1);
    const CompressedSlice slice{0, n, t, state.data(), nullptr};
    EXPECT_EQ(pool_tokens(compute, p, {&slice, 1}, values.data() + t * p.columns(), gates.data() + t * p.columns(),
                          p.columns(), bias.data(), some.data()),
              count);
    entries.insert(entries.end(), some.begin(), some.end() - 1);
  }
  return entries;
}

TEST(PoolTokens, IsASoftmaxOverBlocksWhateverTheCut) {
  Random random(51);
  ThreadPool one(1), three(3);
  for (int round = 0; round < 8; ++round) {
    const PoolParams p{random.between(1, 150), random.between(1, 9), round % 2 == 1};
    const int64_t tokens = 61;
    const std::vector<float> values = random.normals(tokens * p.columns()),
                             gates = random.normals(tokens * p.columns(), 3.0f),
                             bias = random.normals(p.ratio * p.columns());
    const std::vector<float> whole = pool({&ref_table(), &one}, p, tokens, tokens, values, gates, bias);
    for (const int64_t step : {1, 2, 7, 20})
      EXPECT_EQ(first_difference(pool({&ref_table(), &three}, p, tokens, step, values, gates, bias), whole), -1)
          << step << " tokens at a time";
    ASSERT_EQ(static_cast<int64_t>(whole.size()), tokens / p.ratio * p.dim);
    for (int64_t e = 0; e < tokens / p.ratio; ++e)
      for (int64_t c = 0; c < p.dim; ++c) {
        double sum = 0.0, mixed = 0.0;
        for (int64_t t = std::max<int64_t>(0, (e - (p.overlaps ? 1 : 0)) * p.ratio); t < (e + 1) * p.ratio; ++t) {
          const int64_t column = p.overlaps && t >= e * p.ratio ? p.dim + c : c;
          const auto at = static_cast<size_t>(t * p.columns() + column);
          const double logit =
              double{gates[at]} + double{bias[static_cast<size_t>(t % p.ratio * p.columns() + column)]};
          sum += std::exp(logit);
          mixed += std::exp(logit) * double{values[at]};
        }
        EXPECT_NEAR(whole[static_cast<size_t>(e * p.dim + c)], mixed / sum, 2e-5) << e << " " << c;
      }
  }
}

// ---- entries in pages

struct Layouts {
  KvLayout text;
  EntryLayout entries;
  uint64_t page_bytes() const { return text.page_bytes() + entries.keys.page_bytes(); }
};

Layouts layouts_of(KvType type, int64_t dim, int64_t page_positions, int64_t ratio) {
  Layouts l;
  l.text = {type, 1, dim, dim, page_positions, true};
  l.entries = entry_layout(l.text, ratio);
  return l;
}

std::vector<std::byte*> behind(const Layouts& l, const Pages& pages, int64_t count) {
  std::vector<std::byte*> at;
  for (int64_t i = 0; i < count; ++i) at.push_back(pages.data()[i] + l.text.page_bytes());
  return at;
}

TEST(EntriesInPages, AreGatheredInOrder) {
  Random random(52);
  ThreadPool pool(2);
  const Compute compute{&ref_table(), &pool};
  for (int round = 0; round < 30; ++round) {
    const int64_t page = 16 * random.between(1, 9), ratio = round % 3 == 0 ? random.between(1, 200) : 1 << round % 8;
    const int64_t positions = random.between(1, 3000), count = positions / ratio, dim = random.between(1, 70);
    const Layouts l = layouts_of(static_cast<KvType>(round % 3), dim, page, ratio);
    const int64_t pages = (positions + page - 1) / page;
    const Pages memory(l.page_bytes(), pages);
    const std::vector<std::byte*> at = behind(l, memory, pages);
    const std::vector<float> entries = random.normals(count * dim + 1);
    for (int64_t done = 0, n = 0; done < positions; done += n) {
      n = std::min(random.between(1, 500), positions - done);
      const CompressedSlice slice{0, n, done, nullptr, at.data()};
      store_entries(compute, l.entries, {&slice, 1}, entries.data() + done / ratio * dim);
    }
    const uint64_t bytes = gathered_bytes(l.entries, count);
    const Pages gathered(bytes, 1), expected(bytes, 1);
    gather_entries(compute, l.entries, at.data(), count, gathered.data()[0]);
    for (int64_t e = 0; e < count; ++e)
      ref_table().rows.store_k(gathered_layout(l.entries), entries.data() + e * dim, expected.data()[0], e);
    EXPECT_EQ(std::memcmp(gathered.data()[0], expected.data()[0], bytes), 0)
        << "pages of " << page << ", blocks of " << ratio;
    // Where attention may read the pages themselves, they hold the same, page by page.
    if (!l.entries.in_order()) continue;
    for (int64_t e = 0; e < count; e += kKvBlock) {
      const int64_t block = k_block_bytes(l.entries.keys), in_page = l.entries.keys.page_positions;
      EXPECT_EQ(std::memcmp(at[static_cast<size_t>(e / in_page)] + e % in_page / kKvBlock * block,
                            expected.data()[0] + e / kKvBlock * block, static_cast<size_t>(block)),
                0);
    }
  }
}

// ---- attention over a window and blocks

struct BlockCase {
  int64_t heads = 3, dim = 20, window = 24, ratio = 4, length = 0;
  KvType type = KvType::kF32;
  std::vector<float> k, entries, q, sinks;
  std::vector<uint64_t> selected;  // [token][words], or none
  int64_t words() const { return (length / ratio + 63) / 64 + 1; }
};

BlockCase random_case(Random& random, KvType type, bool selects, int64_t ratio) {
  BlockCase c;
  c.type = type;
  c.ratio = ratio;
  c.length = random.between(300, 1300);
  c.k = random.normals(c.length * c.dim);
  c.entries = random.normals(c.length / c.ratio * c.dim + 1);
  c.q = random.normals(c.length * c.heads * c.dim);
  c.sinks = random.normals(c.heads);
  for (int64_t i = 0; selects && i < c.length * c.words(); ++i) c.selected.push_back(random.engine() & random.engine());
  return c;
}

// Results of all tokens, `step` a call, with pages of `page` positions.
std::vector<float> attend(const Compute& compute, const BlockCase& c, int64_t page, int64_t step) {
  const Layouts l = layouts_of(c.type, c.dim, page, c.ratio);
  const int64_t pages = (c.length + page - 1) / page, width = c.heads * c.dim;
  const Pages memory(l.page_bytes(), pages);
  const std::vector<std::byte*> at = behind(l, memory, pages);
  std::vector<float> out(c.q.size());
  for (int64_t t = 0; t < c.length; t += step) {
    const int64_t n = std::min(step, c.length - t), count = (t + n) / c.ratio;
    const SequenceSlice slice{0, n, t, memory.data()};
    const CompressedSlice entry_slice{0, n, t, nullptr, at.data()};
    kv_store(compute, l.text, {&slice, 1}, c.k.data() + t * c.dim, c.dim, nullptr, 0);
    store_entries(compute, l.entries, {&entry_slice, 1}, c.entries.data() + t / c.ratio * c.dim);
    const Pages copy(gathered_bytes(l.entries, count), 1);
    std::vector<std::byte*> lists = at;
    BlockKeys blocks;
    blocks.layout = l.entries.keys;
    if (!l.entries.in_order()) {
      gather_entries(compute, l.entries, at.data(), count, copy.data()[0]);
      blocks.layout = gathered_layout(l.entries);
      lists.clear();
      for (uint64_t b = 0; b < gathered_bytes(l.entries, count); b += gathered_bytes(l.entries, 1))
        lists.push_back(copy.data()[0] + b);
    }
    std::byte* const* list = lists.data();
    blocks.ratio = c.ratio;
    blocks.pages = {&list, 1};
    AttentionParams params;
    params.heads = c.heads;
    params.scale = 0.3f;
    params.window = c.window;
    params.sinks = c.sinks.data();
    if (!c.selected.empty()) {
      params.selected = c.selected.data() + t * c.words();
      params.selected_stride = c.words();
    }
    attention_with_blocks(compute, l.text, params, blocks, {&slice, 1}, c.q.data() + t * width, width,
                          out.data() + t * width, width);
  }
  return out;
}

// The same in double, from the values before they were stored.
std::vector<double> expected_of(const BlockCase& c, int64_t token, int64_t head) {
  std::vector<const float*> keys;
  for (int64_t p = std::max<int64_t>(0, token - c.window + 1); p <= token; ++p) keys.push_back(c.k.data() + p * c.dim);
  for (int64_t e = 0; e < (token + 1) / c.ratio; ++e) {
    const bool seen =
        c.selected.empty() || (c.selected[static_cast<size_t>(token * c.words() + e / 64)] >> (e % 64) & 1) != 0;
    if (seen) keys.push_back(c.entries.data() + e * c.dim);
  }
  double sum = std::exp(double{c.sinks[static_cast<size_t>(head)]});
  std::vector<double> out(static_cast<size_t>(c.dim), 0.0);
  for (const float* key : keys) {
    double score = 0.0;
    for (int64_t d = 0; d < c.dim; ++d)
      score += double{c.q[static_cast<size_t>((token * c.heads + head) * c.dim + d)]} * double{key[d]};
    const double weight = std::exp(0.3 * score);
    sum += weight;
    for (int64_t d = 0; d < c.dim; ++d) out[static_cast<size_t>(d)] += weight * double{key[d]};
  }
  for (double& x : out) x /= sum;
  return out;
}

TEST(AttentionWithBlocks, IsOneSoftmaxOverTheWindowAndTheBlocks) {
  Random random(53);
  ThreadPool pool(2);
  for (int round = 0; round < 6; ++round) {
    const BlockCase c = random_case(random, KvType::kF32, round % 2 == 1, round < 2 ? 4 : random.between(1, 40));
    const std::vector<float> found = attend({&ref_table(), &pool}, c, 64, 512);
    for (int64_t token = 0; token < c.length; token += 13)
      for (int64_t head = 0; head < c.heads; ++head) {
        const std::vector<double> expected = expected_of(c, token, head);
        for (int64_t d = 0; d < c.dim; ++d)
          ASSERT_NEAR(found[static_cast<size_t>((token * c.heads + head) * c.dim + d)],
                      expected[static_cast<size_t>(d)], 2e-5)
              << "token " << token << " of " << c.length << ", blocks of " << c.ratio;
      }
  }
}

TEST(AttentionWithBlocks, LevelsPagesCutsAndThreadsDontShow) {
  Random random(54);
  ThreadPool one(1), three(3);
  for (int round = 0; round < 6; ++round) {
    const BlockCase c = random_case(random, static_cast<KvType>(round % 3), round >= 3, round % 2 == 0 ? 4 : 37);
    const std::vector<float> expected = attend({&ref_table(), &one}, c, 64, 512);
    for (IsaLevel level : available_isa_levels())
      EXPECT_EQ(first_difference(attend({&kernel_table(level), &three}, c, 64, 512), expected), -1)
          << isa_name(level) << " round " << round;
    const Compute compute{&kernel_table(available_isa_levels().front()), &three};
    EXPECT_EQ(first_difference(attend(compute, c, 16, 512), expected), -1) << "pages of 16";
    EXPECT_EQ(first_difference(attend(compute, c, 160, 100), expected), -1) << "pages of 160, chunks of 100";
    EXPECT_EQ(first_difference(attend(compute, c, 64, 3), expected), -1) << "chunks of 3";
  }
}

// Among entries a token chooses as one whose text ends with the last of its entries.
TEST(IndexSelectEntries, ChoosesAmongTheBlocksThatHaveEnded) {
  Random random(55);
  ThreadPool pool(2);
  const Compute compute{&ref_table(), &pool};
  const int64_t ratio = 4, length = 900, entries = length / ratio, dim = 24, heads = 5, words = (entries + 63) / 64;
  const KvLayout layout{KvType::kF16, 1, dim, 0, 64};
  const Pages memory(layout.page_bytes(), (entries + 63) / 64);
  const std::vector<float> k = random.normals(entries * dim), q = random.normals(length * heads * dim),
                           w = random.normals(length * heads);
  const SequenceSlice all{0, entries, 0, memory.data()}, text{0, length, 0, memory.data()};
  kv_store(compute, layout, {&all, 1}, k.data(), dim, nullptr, 0);
  const IndexParams params{heads, 17};
  std::vector<uint64_t> found(static_cast<size_t>(length * words), ~uint64_t{0}), expected(static_cast<size_t>(words));
  index_select_entries(compute, layout, params, ratio, {&text, 1}, q.data(), heads * dim, w.data(), heads, found.data(),
                       words);
  for (int64_t t = 0; t < length; ++t) {
    const int64_t visible = (t + 1) / ratio;
    std::fill(expected.begin(), expected.end(), uint64_t{0});
    const SequenceSlice alone{0, 1, visible - 1, memory.data()};
    if (visible > 0)
      index_select(compute, layout, params, {&alone, 1}, q.data() + t * heads * dim, heads * dim, w.data() + t * heads,
                   heads, expected.data(), words);
    EXPECT_EQ(std::memcmp(found.data() + t * words, expected.data(), static_cast<size_t>(words) * 8), 0) << t;
  }
}

}  // namespace
}  // namespace kinglet
