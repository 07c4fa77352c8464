#include "sampling/filters.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace kinglet {

namespace {

// Above this many, selection by nth_element beats a heap.
constexpr int64_t kHeapLimit = 512;

// An integer that falls as the float rises; both zeros are one value.
uint32_t descending(float value) {
  const auto bits = std::bit_cast<uint32_t>(value + 0.0f);
  return (bits & 0x80000000u) != 0 ? bits : 0x7fffffffu - bits;
}

uint64_t descending_key(float value, size_t index) {
  return (uint64_t{descending(value)} << 32) | static_cast<uint32_t>(index);
}

// The `count` smallest keys, sorted, by a heap whose top is the worst key kept: one float comparison for most values.
void select_by_heap(std::span<const float> values, size_t count, std::vector<uint64_t>* keys) {
  keys->clear();
  size_t i = 0;
  for (; i < count; ++i) keys->push_back(descending_key(values[i], i));
  std::make_heap(keys->begin(), keys->end());
  float bar = values[static_cast<uint32_t>(keys->front())];
  for (; i < values.size(); ++i) {
    if (!(values[i] > bar)) continue;  // an equal one has a higher index than what is kept
    std::pop_heap(keys->begin(), keys->end());
    keys->back() = descending_key(values[i], i);
    std::push_heap(keys->begin(), keys->end());
    bar = values[static_cast<uint32_t>(keys->front())];
  }
  std::sort_heap(keys->begin(), keys->end());
}

void select_by_partition(std::span<const float> values, size_t count, std::vector<uint64_t>* keys) {
  keys->resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) (*keys)[i] = descending_key(values[i], i);
  if (count < keys->size()) {
    std::nth_element(keys->begin(), keys->begin() + static_cast<ptrdiff_t>(count), keys->end());
    keys->resize(count);
  }
  std::sort(keys->begin(), keys->end());
}

// Sums 8 interleaved streams, then the streams pairwise: one order for every compiler and machine.
double block_sum(std::span<const float> values) {
  std::array<double, 8> lanes{};
  const size_t whole = values.size() / 8 * 8;
  for (size_t i = 0; i < whole; i += 8) {
    for (size_t lane = 0; lane < 8; ++lane) lanes[lane] += static_cast<double>(values[i + lane]);
  }
  for (size_t i = whole; i < values.size(); ++i) lanes[i - whole] += static_cast<double>(values[i]);
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

constexpr size_t kBlock = 1024;

std::span<const float> block_at(std::span<const float> values, size_t begin) {
  return values.subspan(begin, std::min(kBlock, values.size() - begin));
}

}  // namespace

std::vector<int32_t> largest_indices(std::span<const float> values, int64_t count, std::vector<uint64_t>* keys) {
  count = std::min<int64_t>(count, static_cast<int64_t>(values.size()));
  if (count <= 0) return {};
  if (count <= kHeapLimit) {
    select_by_heap(values, static_cast<size_t>(count), keys);
  } else {
    select_by_partition(values, static_cast<size_t>(count), keys);
  }
  std::vector<int32_t> indices;
  indices.reserve(keys->size());
  for (uint64_t key : *keys) indices.push_back(static_cast<int32_t>(static_cast<uint32_t>(key)));
  return indices;
}

void Candidates::assign(const Compute& compute, std::span<const float> logits, float largest, float temperature,
                        int64_t top_k) {
  all_ = top_k <= 0 || top_k >= static_cast<int64_t>(logits.size());
  const auto scaled = [&](float logit) { return std::max((logit - largest) / temperature, kLowestZ); };
  if (all_) {
    z_.resize(logits.size());
    for (size_t i = 0; i < logits.size(); ++i) z_[i] = scaled(logits[i]);
  } else {
    ids_ = largest_indices(logits, top_k, &keys_);
    std::erase_if(ids_, [&](int32_t id) { return std::isinf(logits[static_cast<size_t>(id)]); });
    std::sort(ids_.begin(), ids_.end());
    z_.clear();
    for (int32_t id : ids_) z_.push_back(scaled(logits[static_cast<size_t>(id)]));
  }
  p_.resize(z_.size());
  exp_minus_max(compute, z_.data(), static_cast<int64_t>(z_.size()), p_.data());
}

double Candidates::total() const {
  double sum = 0.0;
  for (size_t begin = 0; begin < p_.size(); begin += kBlock) sum += block_sum(block_at(p_, begin));
  return sum;
}

void Candidates::keep(std::span<const uint64_t> keys) {
  std::vector<uint32_t> indices;
  indices.reserve(keys.size());
  for (uint64_t key : keys) indices.push_back(static_cast<uint32_t>(key));
  std::sort(indices.begin(), indices.end());
  if (all_) ids_.resize(indices.size());
  for (size_t i = 0; i < indices.size(); ++i) {  // to the front, in place: indices[i] >= i
    ids_[i] = all_ ? static_cast<int32_t>(indices[i]) : ids_[indices[i]];
    z_[i] = z_[indices[i]];
    p_[i] = p_[indices[i]];
  }
  ids_.resize(indices.size());
  z_.resize(indices.size());
  p_.resize(indices.size());
  all_ = false;
}

void Candidates::keep_cheapest(std::span<const float> costs, float share) {
  // Most distributions give up their share within a few hundred candidates, so those of low cost are sorted first, and
  // more only where they don't suffice. The outcome does not depend on these bounds.
  constexpr std::array<float, 5> kBounds = {3.0f, 6.0f, 12.0f, 24.0f, std::numeric_limits<float>::infinity()};
  const double wanted = static_cast<double>(share) * total();
  for (float bound : kBounds) {
    keys_.clear();
    for (size_t i = 0; i < costs.size(); ++i) {
      if (costs[i] <= bound) keys_.push_back((uint64_t{std::bit_cast<uint32_t>(costs[i])} << 32) | i);
    }
    std::sort(keys_.begin(), keys_.end());
    double mass = 0.0;
    for (size_t i = 0; i < keys_.size(); ++i) {
      mass += static_cast<double>(p_[static_cast<uint32_t>(keys_[i])]);
      if (mass >= wanted) return keep(std::span(keys_).first(i + 1));
    }
  }
  // The share was not reached by a rounding of the sums: all stay.
}

void Candidates::keep_top_p(float top_p) {
  if (top_p >= 1.0f) return;
  costs_.resize(z_.size());
  for (size_t i = 0; i < z_.size(); ++i) costs_[i] = 0.0f - z_[i];
  keep_cheapest(costs_, top_p);
}

void Candidates::keep_min_p(float min_p) {
  if (min_p <= 0.0f) return;
  // The largest p is that of z = 0, which is exactly 1 and stays a candidate through every filter before this one.
  keys_.clear();
  for (size_t i = 0; i < p_.size(); ++i) {
    if (p_[i] >= min_p || z_[i] >= 0.0f) keys_.push_back(i);
  }
  keep(keys_);
}

void Candidates::keep_typical(float typical_p) {
  if (typical_p >= 1.0f) return;
  // -log(p / S) - H = E[z] - z where S is the sum of p and H the entropy: no logarithm is needed.
  double weighted = 0.0;
  for (size_t i = 0; i < p_.size(); ++i) weighted += static_cast<double>(p_[i]) * static_cast<double>(z_[i]);
  const auto mean = static_cast<float>(weighted / total());
  costs_.resize(z_.size());
  for (size_t i = 0; i < z_.size(); ++i) costs_[i] = std::fabs(z_[i] - mean);
  keep_cheapest(costs_, typical_p);
}

int32_t Candidates::draw(double uniform) const {
  const double target = uniform * total();
  // The block whose stretch holds the target; a rounding may leave the target past all, then the last that has a
  // chance.
  size_t block_begin = 0;
  double block_before = 0.0, before = 0.0;
  for (size_t begin = 0; begin < p_.size(); begin += kBlock) {
    const double sum = block_sum(block_at(p_, begin));
    if (sum > 0.0) {
      block_begin = begin;
      block_before = before;
    }
    before += sum;
    if (target < before) break;
  }
  int64_t drawn = -1;
  double sum = block_before;
  const auto block = block_at(p_, block_begin);
  for (size_t i = 0; i < block.size() && (drawn < 0 || target >= sum); ++i) {
    if (block[i] <= 0.0f) continue;
    drawn = static_cast<int64_t>(block_begin + i);
    sum += static_cast<double>(block[i]);
  }
  KL_CHECK(drawn >= 0, "no candidate has a probability above zero");
  return id(drawn);
}

}  // namespace kinglet
