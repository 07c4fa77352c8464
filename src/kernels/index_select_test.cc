#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "kernels/kv_layout.h"
#include "kernels/rows_test_support.h"

namespace kinglet {
namespace {

using testing::Random;
using testing::ref_table;

// One sequence's keys, queries and weights, and the pages of its keys.
struct IndexCase {
  KvLayout layout;
  IndexParams params;
  int64_t length = 0;
  std::vector<float> k, q, w;
  std::vector<std::byte> memory;
  std::vector<std::byte*> pages;

  int64_t words() const { return (length + 63) / 64; }
  SequenceSlice slice(int64_t first, int64_t tokens) const { return {0, tokens, first, pages.data()}; }
};

IndexCase random_case(Random& random, KvType type, int64_t length) {
  IndexCase c;
  c.layout = {type, 1, random.between(5, 140), 0, 16 * random.between(1, 9)};
  c.params = {random.between(1, 70), random.between(1, 60)};
  c.length = length;
  c.k = random.normals(length * c.layout.head_dim);
  c.q = random.normals(length * c.params.heads * c.layout.head_dim);
  c.w = random.normals(length * c.params.heads);
  return c;
}

void store_keys(const Compute& compute, IndexCase& c) {
  const int64_t count = (c.length + c.layout.page_positions - 1) / c.layout.page_positions;
  const size_t bytes = static_cast<size_t>(round_up(static_cast<int64_t>(c.layout.page_bytes()), 64));
  c.memory.assign(static_cast<size_t>(count) * bytes + 64, std::byte{0});
  void* start = c.memory.data();
  size_t space = c.memory.size();
  std::align(64, static_cast<size_t>(count) * bytes, start, space);
  c.pages.clear();
  for (int64_t i = 0; i < count; ++i)
    c.pages.push_back(static_cast<std::byte*>(start) + static_cast<size_t>(i) * bytes);
  const SequenceSlice all = c.slice(0, c.length);
  kv_store(compute, c.layout, {&all, 1}, c.k.data(), c.layout.head_dim, nullptr, 0);
}

// The rows of bits of all tokens, `step` tokens a call.
std::vector<uint64_t> select(const Compute& compute, const IndexCase& c, int64_t step) {
  const int64_t q_row = c.params.heads * c.layout.head_dim;
  std::vector<uint64_t> rows(static_cast<size_t>(c.length * c.words()), ~uint64_t{0});
  for (int64_t t = 0; t < c.length; t += step) {
    const SequenceSlice slice = c.slice(t, std::min(step, c.length - t));
    index_select(compute, c.layout, c.params, {&slice, 1}, c.q.data() + t * q_row, q_row,
                 c.w.data() + t * c.params.heads, c.params.heads, rows.data() + t * c.words(), c.words());
  }
  return rows;
}

bool has(const IndexCase& c, const std::vector<uint64_t>& rows, int64_t token, int64_t position) {
  return (rows[static_cast<size_t>(token * c.words() + position / 64)] >> (position % 64) & 1) != 0;
}

TEST(IndexSelect, EveryLevelAndChunkingChoosesWhatTheDefinitionChooses) {
  Random random(21);
  for (int round = 0; round < 6; ++round) {
    IndexCase c = random_case(random, static_cast<KvType>(round % 3), round < 3 ? 300 : 70);
    ThreadPool one(1), three(3);
    const Compute reference{&ref_table(), &one};
    store_keys(reference, c);
    const std::vector<uint64_t> expected = select(reference, c, c.length);
    for (IsaLevel level : available_isa_levels()) {
      const Compute compute{&kernel_table(level), &three};
      store_keys(compute, c);
      EXPECT_EQ(select(compute, c, c.length), expected) << isa_name(level) << " round " << round;
      EXPECT_EQ(select(compute, c, 7), expected) << isa_name(level) << " round " << round;
    }
  }
}

double naive_score(const IndexCase& c, int64_t token, int64_t position) {
  double score = 0.0;
  for (int64_t h = 0; h < c.params.heads; ++h) {
    double dot = 0.0;
    for (int64_t d = 0; d < c.layout.head_dim; ++d) {
      dot += static_cast<double>(c.q[static_cast<size_t>((token * c.params.heads + h) * c.layout.head_dim + d)]) *
             static_cast<double>(c.k[static_cast<size_t>(position * c.layout.head_dim + d)]);
    }
    score += static_cast<double>(c.w[static_cast<size_t>(token * c.params.heads + h)]) * std::max(dot, 0.0);
  }
  return score;
}

TEST(IndexSelect, ChoosesTheHighestScores) {
  Random random(22);
  ThreadPool pool(2);
  const Compute compute{&kernel_table(available_isa_levels().back()), &pool};
  IndexCase c = random_case(random, KvType::kF32, 280);
  store_keys(compute, c);
  const std::vector<uint64_t> rows = select(compute, c, c.length);
  for (int64_t token = 0; token < c.length; token += 9) {
    double least_chosen = 1e30, most_left = -1e30;
    int64_t chosen = 0;
    for (int64_t i = 0; i < c.words() * 64; ++i) {
      if (i > token) {
        ASSERT_FALSE(has(c, rows, token, i)) << token << " sees " << i;
        continue;
      }
      const double score = naive_score(c, token, i);
      if (has(c, rows, token, i)) {
        ++chosen;
        least_chosen = std::min(least_chosen, score);
      } else {
        most_left = std::max(most_left, score);
      }
    }
    EXPECT_EQ(chosen, std::min(token + 1, c.params.top_k));
    EXPECT_GE(least_chosen, most_left - 1e-2) << token;
  }
}

TEST(IndexSelect, EqualScoresGoToTheLowerPosition) {
  Random random(23);
  ThreadPool pool(1);
  const Compute compute{&kernel_table(available_isa_levels().back()), &pool};
  IndexCase c = random_case(random, KvType::kF16, 100);
  c.params.top_k = 10;
  std::fill(c.k.begin(), c.k.end(), 0.0f);
  // One key that all queries like stands out; all other scores are zeros.
  std::fill_n(c.k.begin() + 50 * c.layout.head_dim, c.layout.head_dim, 1.0f);
  std::fill(c.q.begin(), c.q.end(), 1.0f);
  std::fill(c.w.begin(), c.w.end(), 0.5f);
  store_keys(compute, c);
  const std::vector<uint64_t> rows = select(compute, c, c.length);
  for (int64_t i = 0; i < 100; ++i) EXPECT_EQ(has(c, rows, 99, i), i < 9 || i == 50) << i;
  for (int64_t i = 0; i < 100; ++i) EXPECT_EQ(has(c, rows, 40, i), i < 10) << i;
}

// ---- blocks

// Keys of few values, so that scores are exact in every order of summing, often equal, and known in double.
IndexCase block_case(Random& random, KvType type, int64_t block) {
  IndexCase c = random_case(random, type, 300);
  c.params = {random.between(1, 4), random.between(2, 5), block, random.between(0, 2)};
  c.q = random.normals(c.length * c.params.heads * c.layout.head_dim);
  for (float& x : c.k) x = x > 0.0f ? 1.0f : -1.0f;
  for (float& x : c.q) x = x > 0.0f ? 0.5f : -0.5f;
  return c;
}

std::vector<uint64_t> select_blocks(const Compute& compute, const IndexCase& c, int64_t step) {
  const int64_t q_row = c.params.heads * c.layout.head_dim, row = c.params.heads * c.words();
  std::vector<uint64_t> rows(static_cast<size_t>(c.length * row), ~uint64_t{0});
  for (int64_t t = 0; t < c.length; t += step) {
    const SequenceSlice slice = c.slice(t, std::min(step, c.length - t));
    index_select_blocks(compute, c.layout, c.params, {&slice, 1}, c.q.data() + t * q_row, q_row, rows.data() + t * row,
                        c.words());
  }
  return rows;
}

double naive_score(const IndexCase& c, int64_t token, int64_t head, int64_t position) {
  double dot = 0.0;
  for (int64_t d = 0; d < c.layout.head_dim; ++d)
    dot += static_cast<double>(c.q[static_cast<size_t>((token * c.params.heads + head) * c.layout.head_dim + d)]) *
           static_cast<double>(c.k[static_cast<size_t>(position * c.layout.head_dim + d)]);
  return dot;
}

// Which positions a head of a token reads, by sorting its blocks.
std::vector<bool> naive_choice(const IndexCase& c, int64_t token, int64_t head) {
  const int64_t blocks = token / c.params.block + 1;
  std::vector<std::pair<double, int64_t>> best;
  for (int64_t b = 0; b < blocks; ++b) {
    double score = b + c.params.local_blocks >= blocks ? 1e30 : -1e30;
    for (int64_t i = b * c.params.block; i <= std::min(token, (b + 1) * c.params.block - 1); ++i)
      score = std::max(score, naive_score(c, token, head, i));
    best.emplace_back(-score, b);
  }
  std::sort(best.begin(), best.end());
  std::vector<bool> chosen(static_cast<size_t>(c.words() * 64));
  for (int64_t n = 0; n < std::min(c.params.top_k, blocks); ++n) {
    const int64_t b = best[static_cast<size_t>(n)].second;
    for (int64_t i = b * c.params.block; i <= std::min(token, (b + 1) * c.params.block - 1); ++i)
      chosen[static_cast<size_t>(i)] = true;
  }
  return chosen;
}

TEST(IndexSelectBlocks, EveryLevelAndChunkingChoosesTheBestBlocks) {
  Random random(24);
  for (const int64_t block : {1, 5, 16, 100, 290}) {
    IndexCase c = block_case(random, block % 2 == 0 ? KvType::kF16 : KvType::kF32, block);
    ThreadPool one(1), three(3);
    const Compute reference{&ref_table(), &one};
    store_keys(reference, c);
    const std::vector<uint64_t> expected = select_blocks(reference, c, c.length);
    for (IsaLevel level : available_isa_levels()) {
      const Compute compute{&kernel_table(level), &three};
      EXPECT_EQ(select_blocks(compute, c, c.length), expected) << isa_name(level) << " block " << block;
      EXPECT_EQ(select_blocks(compute, c, 7), expected) << isa_name(level) << " block " << block;
    }
    for (int64_t row = 0; row < c.length * c.params.heads; row += 7) {
      const std::vector<bool> chosen = naive_choice(c, row / c.params.heads, row % c.params.heads);
      for (int64_t i = 0; i < c.words() * 64; ++i)
        ASSERT_EQ(has(c, expected, row, i), chosen[static_cast<size_t>(i)]) << "row " << row << " position " << i;
    }
  }
}

}  // namespace
}  // namespace kinglet
