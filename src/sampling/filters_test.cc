#include "sampling/filters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <set>

namespace kinglet {
namespace {

Compute portable() {
  static ThreadPool pool(1);
  return {&kernel_table(IsaLevel::kPortable), &pool};
}

std::vector<float> random_logits(std::mt19937& random, size_t count, float spread, bool coarse) {
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = coarse ? std::round(normal(random)) : normal(random);
  return logits;
}

// The candidates as plain definition: id -> weight (not normalised), in doubles.
using Naive = std::map<int32_t, double>;

Naive naive_all(const std::vector<float>& logits, double temperature) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  Naive naive;
  for (size_t i = 0; i < logits.size(); ++i) {
    naive[static_cast<int32_t>(i)] = std::exp((logits[i] - largest) / temperature);
  }
  return naive;
}

double total(const Naive& naive) {
  double sum = 0.0;
  for (const auto& [id, weight] : naive) sum += weight;
  return sum;
}

// The ids of least cost, lower id first among equals, whose weights reach `share` of all.
std::set<int32_t> naive_cheapest(const Naive& naive, const std::map<int32_t, double>& cost, double share) {
  std::vector<int32_t> order;
  for (const auto& [id, weight] : naive) order.push_back(id);
  std::sort(order.begin(), order.end(),
            [&](int32_t a, int32_t b) { return std::pair(cost.at(a), a) < std::pair(cost.at(b), b); });
  std::set<int32_t> kept;
  double mass = 0.0;
  for (int32_t id : order) {
    kept.insert(id);
    mass += naive.at(id);
    if (mass >= share * total(naive)) break;
  }
  return kept;
}

std::set<int32_t> ids_of(const Candidates& candidates) {
  std::set<int32_t> ids;
  for (int64_t i = 0; i < candidates.size(); ++i) ids.insert(candidates.id(i));
  return ids;
}

// Between the naive answers for slightly less and slightly more: float and double may cut a hair's breadth apart.
void expect_between(const std::set<int32_t>& got, const std::set<int32_t>& least, const std::set<int32_t>& most) {
  EXPECT_TRUE(std::includes(got.begin(), got.end(), least.begin(), least.end()));
  EXPECT_TRUE(std::includes(most.begin(), most.end(), got.begin(), got.end()));
}

TEST(LargestIndices, EqualsAFullSort) {
  std::mt19937 random(1);
  std::vector<uint64_t> keys;
  for (int run = 0; run < 300; ++run) {
    const size_t size = 1 + random() % 3000;
    std::vector<float> values = random_logits(random, size, 3.0f, run % 2 == 0);
    if (run % 3 == 0) values[random() % size] = -std::numeric_limits<float>::infinity();
    if (run % 3 == 1) values[random() % size] = -0.0f;
    std::vector<int32_t> order(size);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return std::pair(-values[static_cast<size_t>(a)], a) < std::pair(-values[static_cast<size_t>(b)], b);
    });
    const auto count = static_cast<int64_t>(random() % (size + 2));
    order.resize(std::min(size, static_cast<size_t>(count)));
    EXPECT_EQ(largest_indices(values, count, &keys), order);
  }
}

TEST(Candidates, TopPEqualsThePlainDefinition) {
  std::mt19937 random(2);
  Candidates candidates;
  for (int run = 0; run < 200; ++run) {
    const auto logits = random_logits(random, 1 + random() % 2000, run % 2 == 0 ? 1.0f : 5.0f, run % 5 == 0);
    const double temperature = 0.2 + static_cast<double>(random() % 100) / 50.0;
    const double top_p = 0.01 + static_cast<double>(random() % 98) / 100.0;
    const Naive naive = naive_all(logits, static_cast<float>(temperature));
    std::map<int32_t, double> cost;
    for (size_t i = 0; i < logits.size(); ++i) cost[static_cast<int32_t>(i)] = -logits[i];
    candidates.assign(portable(), logits, *std::max_element(logits.begin(), logits.end()),
                      static_cast<float>(temperature), 0);
    candidates.keep_top_p(static_cast<float>(top_p));
    expect_between(ids_of(candidates), naive_cheapest(naive, cost, top_p - 1e-5),
                   naive_cheapest(naive, cost, top_p + 1e-5));
  }
}

TEST(Candidates, TypicalEqualsThePlainDefinition) {
  std::mt19937 random(3);
  Candidates candidates;
  for (int run = 0; run < 200; ++run) {
    const auto logits = random_logits(random, 2 + random() % 500, 2.0f, false);
    const double typical_p = 0.05 + static_cast<double>(random() % 90) / 100.0;
    const Naive naive = naive_all(logits, 1.0);
    double entropy = 0.0;
    for (const auto& [id, weight] : naive) {
      const double p = weight / total(naive);
      if (p > 0.0) entropy -= p * std::log(p);
    }
    std::map<int32_t, double> cost;
    for (const auto& [id, weight] : naive) cost[id] = std::fabs(-std::log(weight / total(naive)) - entropy);
    candidates.assign(portable(), logits, *std::max_element(logits.begin(), logits.end()), 1.0f, 0);
    candidates.keep_typical(static_cast<float>(typical_p));
    const auto got = ids_of(candidates);
    // Two tokens on either side of the entropy may be equally typical but for the last bits: compare the mass instead.
    const auto least = naive_cheapest(naive, cost, typical_p - 1e-5),
               most = naive_cheapest(naive, cost, typical_p + 1e-5);
    EXPECT_GE(got.size() + 1, least.size());
    EXPECT_LE(got.size(), most.size() + 1);
    double mass = 0.0, worst = 0.0;
    for (int32_t id : got) {
      mass += naive.at(id);
      worst = std::max(worst, cost.at(id));
    }
    EXPECT_GE(mass, (typical_p - 1e-4) * total(naive));
    for (const auto& [id, weight] : naive) {
      EXPECT_TRUE(got.count(id) == 1 || cost.at(id) >= worst - 1e-4);
    }
  }
}

TEST(Candidates, MinPAndTopKEqualThePlainDefinition) {
  std::mt19937 random(4);
  Candidates candidates;
  for (int run = 0; run < 200; ++run) {
    const auto logits = random_logits(random, 1 + random() % 1500, 3.0f, run % 4 == 0);
    const auto top_k = static_cast<int64_t>(random() % 1200);
    const double min_p = static_cast<double>(random() % 100) / 100.0;
    Naive naive = naive_all(logits, 1.0);
    std::vector<int32_t> order(logits.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return std::pair(-logits[static_cast<size_t>(a)], a) < std::pair(-logits[static_cast<size_t>(b)], b);
    });
    if (top_k > 0 && top_k < static_cast<int64_t>(order.size())) order.resize(static_cast<size_t>(top_k));
    std::set<int32_t> least, most;
    for (int32_t id : order) {
      if (naive[id] >= min_p + 1e-5 || naive[id] == 1.0) least.insert(id);
      if (naive[id] >= min_p - 1e-5) most.insert(id);
    }
    candidates.assign(portable(), logits, *std::max_element(logits.begin(), logits.end()), 1.0f, top_k);
    candidates.keep_min_p(static_cast<float>(min_p));
    expect_between(ids_of(candidates), least, most);
    for (int64_t i = 0; i < candidates.size(); ++i) {
      EXPECT_NEAR(candidates.p(i), naive[candidates.id(i)], 1e-6);
      EXPECT_LT(i == 0 ? -1 : candidates.id(i - 1), candidates.id(i));
    }
  }
}

TEST(Candidates, ForbiddenTokensNeverStay) {
  std::vector<float> logits(100, -std::numeric_limits<float>::infinity());
  logits[17] = 1.0f;
  logits[40] = 0.5f;
  Candidates candidates;
  candidates.assign(portable(), logits, 1.0f, 1.0f, 10);
  EXPECT_EQ(ids_of(candidates), (std::set<int32_t>{17, 40}));
  for (double u : {0.0, 0.3, 0.9, 0.9999999999999999}) {
    candidates.assign(portable(), logits, 1.0f, 1.0f, 0);
    const int32_t drawn = candidates.draw(u);
    EXPECT_TRUE(drawn == 17 || drawn == 40);
  }
}

TEST(Candidates, DrawFollowsTheCumulatedProbabilities) {
  std::mt19937 random(5);
  Candidates candidates;
  for (int run = 0; run < 50; ++run) {
    const auto logits = random_logits(random, 1 + random() % 5000, 2.0f, false);
    const float largest = *std::max_element(logits.begin(), logits.end());
    candidates.assign(portable(), logits, largest, 1.0f, 0);
    std::vector<double> cumulated;
    double sum = 0.0;
    for (int64_t i = 0; i < candidates.size(); ++i) cumulated.push_back(sum += candidates.p(i));
    for (int draw = 0; draw < 50; ++draw) {
      const double u = std::uniform_real_distribution<double>(0.0, 1.0)(random);
      const auto drawn = static_cast<size_t>(candidates.draw(u));
      EXPECT_GE(cumulated[drawn], u * sum * (1.0 - 1e-12));
      EXPECT_LE(drawn == 0 ? 0.0 : cumulated[drawn - 1], u * sum * (1.0 + 1e-12));
    }
    EXPECT_EQ(candidates.draw(0.0),
              static_cast<int32_t>(std::find_if(cumulated.begin(), cumulated.end(), [](double c) { return c > 0.0; }) -
                                   cumulated.begin()));
  }
}

}  // namespace
}  // namespace kinglet
