#include "engine/lookup_index.h"

#include <algorithm>

namespace kinglet {

namespace {

constexpr size_t kFirstBuckets = 256;
constexpr int64_t kVisitedFours = 32, kVisitedPairs = 8;  // links of a chain that a search follows

// Tokens that the texts before `a` and before `b` have in common at their ends.
int64_t common_end(std::span<const int32_t> text, int64_t a, int64_t b) {
  int64_t length = 0;
  while (length < LookupIndex::kLongest && length < std::min(a, b) &&
         text[static_cast<size_t>(a - length - 1)] == text[static_cast<size_t>(b - length - 1)]) {
    ++length;
  }
  return length;
}

}  // namespace

size_t LookupIndex::Runs::bucket(std::span<const int32_t> text, int64_t end) const {
  uint64_t hash = 0;
  for (int64_t i = end - length; i < end; ++i) {
    hash = (hash + static_cast<uint32_t>(text[static_cast<size_t>(i)]) + 1) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 29;
  }
  return static_cast<size_t>(hash) & (latest.size() - 1);  // a power of two
}

void LookupIndex::Runs::rebuild(std::span<const int32_t> text, int64_t end) {
  latest.assign(std::max(kFirstBuckets, latest.size() * 2), -1);
  previous.clear();
  for (int64_t at = 0; at <= end; ++at) add(text, at);
}

// The run that ends before position `end`, whose turn it is.
void LookupIndex::Runs::add(std::span<const int32_t> text, int64_t end) {
  if (static_cast<size_t>(end) >= latest.size()) return rebuild(text, end);
  previous.push_back(-1);
  if (end < length) return;
  int32_t& head = latest[bucket(text, end)];
  previous.back() = head;
  head = static_cast<int32_t>(end);
}

void LookupIndex::search(std::span<const int32_t> text, const Runs& runs, int64_t most_visited) {
  const auto end = static_cast<int64_t>(text.size());
  if (end < runs.length) return;
  int64_t at = runs.latest[runs.bucket(text, end)];
  for (int64_t visited = 0; at >= 0 && visited < most_visited; ++visited) {
    if (at < end) {
      const int64_t length = common_end(text, at, end);
      if (length > match_.length && length >= kShortest) match_ = {length, at};
      if (length == kLongest) return;
    }
    at = runs.previous[static_cast<size_t>(at)];
  }
}

void LookupIndex::extend(std::span<const int32_t> text) {
  const auto end = static_cast<int64_t>(text.size());
  if (end == size_) return;
  const bool one_more = end == size_ + 1;
  for (; size_ < end; ++size_) {
    if (size_ == 0) {
      pairs_.add(text, 0);
      fours_.add(text, 0);
    }
    pairs_.add(text, size_ + 1);
    fours_.add(text, size_ + 1);
  }
  // The same place goes on to hold: nothing is searched for while a long passage is repeated.
  if (one_more && match_.length >= 4 && text[static_cast<size_t>(match_.source)] == text.back()) {
    match_.length = std::min(match_.length + 1, kLongest);
    ++match_.source;
    return;
  }
  match_ = {};
  search(text, fours_, kVisitedFours);
  if (match_.length == 0) search(text, pairs_, kVisitedPairs);
}

std::vector<int32_t> LookupIndex::draft(std::span<const int32_t> text, int64_t count) const {
  std::vector<int32_t> draft;
  if (match_.length == 0) return draft;
  const auto end = static_cast<int64_t>(text.size());
  for (int64_t at = match_.source; static_cast<int64_t>(draft.size()) < count; ++at) {
    draft.push_back(at < end ? text[static_cast<size_t>(at)] : draft[static_cast<size_t>(at - end)]);
  }
  return draft;
}

}  // namespace kinglet
