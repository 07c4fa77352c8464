#include "engine/prefix_cache.h"

#include <algorithm>
#include <cstring>

namespace kinglet {

PrefixCache::PrefixCache(const PrefixCacheLimits& limits, BlockPool& pages, StatePool& states)
    : limits_(limits), pages_(pages), states_(states) {
  if (limits.on) tree_.emplace(pages, states, limits.page_positions, limits.most_states);
}

void PrefixCache::make_room(int64_t pages) {
  if (tree_ && pages > pages_.available()) tree_->evict(pages - pages_.available());
}

Status PrefixCache::grow(Sequence& sequence, int64_t count) {
  make_room(count - sequence.pages().size());
  return sequence.grow_pages(pages_, count);
}

// Where a prompt's slices have to end, so that the state can be kept there: at the end of what another text shares with
// it and no state is known for, at the last page's end before the last token, and now and then between.
std::vector<int64_t> PrefixCache::cuts(const Sequence& sequence) const {
  std::vector<int64_t> cuts;
  if (states_.state_bytes() == 0 || limits_.most_states == 0) return cuts;
  const int64_t size = limits_.page_positions, last = (std::ssize(sequence.tokens()) - 1) / size * size;
  const int64_t apart = std::max<int64_t>(1, kSnapshotTokens / size) * size;
  for (int64_t at = apart; at < last; at += apart) cuts.push_back(at);
  cuts.push_back(sequence.cached().branch);
  cuts.push_back(last);
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  std::erase_if(cuts, [&](int64_t at) { return at <= sequence.cached().computed; });
  return cuts;
}

bool PrefixCache::copy_last_page(Sequence& sequence, const PrefixTree::Match& match) {
  make_room(1);
  const auto page = pages_.allocate();
  if (!page.ok()) return false;
  std::memcpy(pages_.page_data(*page), pages_.page_data(match.copied), pages_.page_bytes());
  sequence.pages().append(pages_, *page);
  return true;
}

// False when the system refuses memory.
bool PrefixCache::adopt(Sequence& sequence, const PrefixTree::Match& match) {
  for (PageId page : match.pages) sequence.pages().append(pages_, page);
  if (match.copied != kNoPage && !copy_last_page(sequence, match)) return false;
  if (match.state == kNoState) return true;
  if (!sequence.take_state(states_).ok()) return false;
  sequence.set_state(states_, match.state);
  return true;
}

bool PrefixCache::worth_waiting(const Sequence& sequence, const Sequence& other) const {
  if (!tree_ || (states_.state_bytes() > 0 && limits_.most_states == 0)) return false;
  if (sequence.request().cache_scope != other.request().cache_scope) return false;
  const auto mine = sequence.tokens(), theirs = other.tokens();
  const int64_t end = (other.cached().computed / limits_.page_positions + 1) * limits_.page_positions;
  if (end >= std::ssize(mine) || end > std::ssize(theirs)) return false;
  return std::equal(mine.begin(), mine.begin() + end, theirs.begin());
}

CachedStart PrefixCache::begin(Sequence& sequence) {
  CachedStart start;
  if (!tree_) return start;
  const auto tokens = sequence.tokens();
  ++queries_;
  queried_tokens_ += std::ssize(tokens);
  // The last token is computed in any case: its logits are wanted.
  const PrefixTree::Match match = tree_->match(sequence.request().cache_scope, tokens.first(tokens.size() - 1));
  if (adopt(sequence, match)) {
    sequence.cached() = {match.place, match.tokens, match.known};
    start.computed = match.tokens;
    hit_tokens_ += match.tokens;
  } else {
    discard(sequence);
  }
  if (match.copied != kNoPage) pages_.release(match.copied);
  if (match.state != kNoState) states_.release(match.state);
  sequence.mark_cached(start.computed);
  start.cuts = cuts(sequence);
  return start;
}

void PrefixCache::share(Sequence& sequence) {
  if (!tree_) return;
  CachedText& cached = sequence.cached();
  const int64_t size = limits_.page_positions;
  while ((cached.place.pages + 1) * size <= cached.computed) {
    const int64_t index = cached.place.pages;
    const auto tokens = sequence.tokens().subspan(static_cast<size_t>(index * size), static_cast<size_t>(size));
    const PageId page = sequence.pages().id(index);
    const PageId shared = tree_->insert(sequence.request().cache_scope, &cached.place, tokens, page);
    if (shared != page) sequence.pages().replace(pages_, index, shared);
  }
}

void PrefixCache::share_state(Sequence& sequence) {
  if (!tree_) return;
  share(sequence);
  const CachedText& cached = sequence.cached();
  const int64_t size = limits_.page_positions, last = (std::ssize(sequence.tokens()) - 1) / size * size;
  const bool between = cached.computed != cached.branch && cached.computed != last;
  tree_->put_state(cached.place, sequence.state(), between);
}

void PrefixCache::retire(Sequence& sequence) {
  if (tree_) {
    share(sequence);
    const CachedText& cached = sequence.cached();
    const int64_t full = cached.place.pages * limits_.page_positions;
    if (cached.computed > full) {
      const auto rest =
          sequence.tokens().subspan(static_cast<size_t>(full), static_cast<size_t>(cached.computed - full));
      tree_->insert_end(sequence.request().cache_scope, cached.place, rest, sequence.pages().id(cached.place.pages),
                        sequence.state());
    } else if (full > 0 && sequence.state() != kNoState) {
      tree_->put_state(cached.place, sequence.state(), false);
    }
    tree_->touch(cached.place);
  }
  discard(sequence);
}

void PrefixCache::clear() {
  if (tree_) tree_->clear();
}

void PrefixCache::fill(EngineStats* stats) const {
  stats->pages_used = pages_.used() - pages_.only_kept();
  stats->cache_queries = queries_;
  stats->cache_queried_tokens = queried_tokens_;
  stats->cache_hit_tokens = hit_tokens_;
  if (!tree_) return;
  stats->cache_pages = tree_->pages();
  stats->cache_states = tree_->states();
  stats->cache_evictions = tree_->evictions();
}

}  // namespace kinglet
