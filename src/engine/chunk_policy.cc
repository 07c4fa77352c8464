#include "engine/chunk_policy.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace kinglet {

void ChunkPolicy::Mean::add(double sample) {
  value = known ? value + (sample - value) / 8.0 : sample;
  known = true;
}

// Of the nearest number that was measured, the lower ones first: their steps are the shorter ones.
const ChunkPolicy::Mean* ChunkPolicy::plain(int64_t decodes) const {
  const int64_t wanted = std::min(decodes, kMostDecodes);
  for (int64_t n = wanted; n > 0; --n) {
    if (plain_[static_cast<size_t>(n)].known) return &plain_[static_cast<size_t>(n)];
  }
  for (int64_t n = wanted + 1; n <= kMostDecodes; ++n) {
    if (plain_[static_cast<size_t>(n)].known) return &plain_[static_cast<size_t>(n)];
  }
  return nullptr;
}

void ChunkPolicy::record(int64_t decodes, int64_t prompt_tokens, double seconds) {
  if (decodes <= 0 || seconds <= 0.0) return;
  if (prompt_tokens == 0) return plain_[static_cast<size_t>(std::min(decodes, kMostDecodes))].add(seconds);
  const Mean* base = plain(decodes);
  if (base == nullptr) return;
  const int width = std::min(static_cast<int>(std::bit_width(static_cast<uint64_t>(prompt_tokens))) - 1, kWidths - 1);
  cost_[static_cast<size_t>(width)].add(std::max(0.0, seconds - base->value) / static_cast<double>(prompt_tokens));
}

int64_t ChunkPolicy::most(int64_t decodes) const {
  if (decodes <= 0) return std::numeric_limits<int64_t>::max();
  const Mean* base = plain(decodes);
  if (base == nullptr) return kFirst;
  const double allowed = (kMostGap - 1.0) * base->value;
  int64_t most = 0;
  bool measured = false;
  for (int w = 0; w < kWidths; ++w) {
    const Mean& cost = cost_[static_cast<size_t>(w)];
    if (!cost.known) continue;
    measured = true;
    const double fits = allowed / std::max(cost.value, 1e-12);
    // Wider steps cost less a token than this one's, if anything: twice its width is worth a try.
    const int64_t widest = int64_t{4} << w;
    if (fits >= static_cast<double>(int64_t{1} << w) || w == 0 || most == 0) {
      most = std::max(most, fits >= static_cast<double>(widest) ? widest : static_cast<int64_t>(fits));
    }
  }
  return measured ? std::max<int64_t>(1, most) : kFirst;
}

}  // namespace kinglet
