// PrefixCache: what the engine thread has to do with the prefix tree: where a sequence begins, which of its pages and
// states others may go on from, and room for pages. Without a tree (EngineOptions::prefix_cache) it hands out and takes
// back, and nothing else. Internal to this folder.
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "cache/prefix_tree.h"
#include "engine/engine.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"

namespace kinglet {

struct PrefixCacheLimits {
  bool on = true;
  int64_t page_positions = 64;
  int64_t most_states = 0;  // snapshots, of models with recurrent states
};

class PrefixCache {
 public:
  // Snapshots of a long prompt's state stand so far apart, while there is room for more.
  static constexpr int64_t kSnapshotTokens = 2048;

  // Both outlive it.
  PrefixCache(const PrefixCacheLimits& limits, BlockPool& pages, StatePool& states);

  // Whether the other one is about to compute a page that `sequence` begins with, too.
  bool worth_waiting(const Sequence& sequence, const Sequence& other) const;
  // Of a sequence that owns nothing: gives it what is known of its text's beginning, all but the last token at most.
  CachedStart begin(Sequence& sequence);
  // Brings the sequence's pages to `count`, at the expense of those that nobody uses. Errors as
  // Sequence::grow_pages().
  Status grow(Sequence& sequence, int64_t count);
  // What was computed since may be read by others.
  void share(Sequence& sequence);
  // The same, with the state as it is now, behind a page's last token.
  void share_state(Sequence& sequence);
  // The sequence gives up its memory; what was computed stays for others as long as there is room.
  void retire(Sequence& sequence);
  // The same, without leaving anything.
  void discard(Sequence& sequence) { sequence.release_memory(pages_, states_); }
  // Forgets everything. No sequence may own pages.
  void clear();

  void fill(EngineStats* stats) const;

 private:
  bool adopt(Sequence& sequence, const PrefixTree::Match& match);
  bool copy_last_page(Sequence& sequence, const PrefixTree::Match& match);
  void make_room(int64_t pages);
  std::vector<int64_t> cuts(const Sequence& sequence) const;

  PrefixCacheLimits limits_;
  BlockPool& pages_;
  StatePool& states_;
  std::optional<PrefixTree> tree_;
  int64_t queries_ = 0, queried_tokens_ = 0, hit_tokens_ = 0;
};

}  // namespace kinglet
