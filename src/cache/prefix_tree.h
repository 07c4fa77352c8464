// PrefixTree: which tokens lie in which KV pages, so that a text that begins as another one did finds its beginning
// computed. A tree of pages: each node holds one page's tokens and stands below the page before it, the first ones
// below their scope. It knows tokens, page ids, states and scopes; not requests. Not thread-safe: the engine thread
// owns it.
//
// Pages are shared when they are full: nobody writes them again. A last page with room left belongs to the tree alone;
// who goes on from it copies it. In a model with recurrent layers the pages do not say all: a text goes on only from
// where a snapshot of the state lies too, at the end of a node's tokens.
//
// A node is what a disk would keep: a page, its tokens, its parent. Pages leave in the order of their last use, leaves
// first, and never while somebody else refers to them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cache/block_pool.h"
#include "cache/state_pool.h"

namespace kinglet {

class PrefixTree {
  struct Node;

 public:
  // `pages` and `states` outlive the tree. `most_states`: snapshots kept at once; they matter only where states have
  // bytes.
  PrefixTree(BlockPool& pages, StatePool& states, int64_t page_positions, int64_t most_states);
  ~PrefixTree();
  PrefixTree(const PrefixTree&) = delete;
  PrefixTree& operator=(const PrefixTree&) = delete;

  // The last node of a text that goes down the tree, page by page; at first before its first page. Valid as long as its
  // holder refers to the page there.
  struct Place {
    Node* node = nullptr;
    int64_t pages = 0;
  };

  // What the tree holds of a text's beginning. Pages and state come with a reference each, for the caller.
  struct Match {
    int64_t tokens = 0;         // that need not be computed
    std::vector<PageId> pages;  // full ones
    PageId copied = kNoPage;    // whose first positions are the tokens behind those pages: to be copied
    StateId state = kNoState;   // as it was behind these tokens: to be copied; none where states have no bytes
    Place place;                // of the full pages
    int64_t known = 0;          // tokens in full pages, whether or not there is a state to go on from
  };
  Match match(const std::string& scope, std::span<const int32_t> tokens);

  // A full page enters below `place`, which moves on to it. Where the tree has a page of these tokens, that one is
  // returned, with the reference for the caller that `page` had; else `page`.
  PageId insert(const std::string& scope, Place* place, std::span<const int32_t> tokens, PageId page);
  // A page that is not full, of a text that is given up, and the state behind it, which counts only where states have
  // bytes. The tree takes references of its own to what it keeps.
  void insert_end(const std::string& scope, const Place& place, std::span<const int32_t> tokens, PageId page,
                  StateId state);
  // A snapshot of the state behind `place`, which is behind a page. The tree takes over the caller's reference.
  // `spare`: only where half of the room for snapshots is left.
  void put_state(const Place& place, StateId state, bool spare);
  // The pages up to here were in use until now.
  void touch(const Place& place);

  // Gives up to `count` pages back to the pool: those that nobody refers to, the longest unused first. How many.
  int64_t evict(int64_t count);
  void clear();

  int64_t pages() const { return page_count_; }
  int64_t states() const { return static_cast<int64_t>(by_state_age_.size()); }
  int64_t evictions() const { return evictions_; }  // pages, so far

 private:
  using Age = std::pair<uint64_t, Node*>;
  Node* root_of(const std::string& scope);
  Node* add(Node* parent, std::span<const int32_t> tokens, PageId page);
  void remove(Node* node);
  void make_state_room();
  void set_state(Node* node, StateId state);
  void drop_state(Node* node);
  void touch_node(Node* node);
  void touch_state(Node* node);
  void touch_up(Node* node);
  void drop_beginning(Node* parent, std::span<const int32_t> tokens);
  void find_part(Node* parent, std::span<const int32_t> rest, Match* match);
  Node* state_within(Node* parent, std::span<const int32_t> rest) const;
  void find_state(const std::vector<Node*>& path, std::span<const int32_t> tokens, Match* match);

  BlockPool& pool_;
  StatePool& states_;
  int64_t page_positions_, most_states_;
  bool recurrent_;
  std::map<std::string, std::unique_ptr<Node>> scopes_;
  std::set<Age> leaves_, by_state_age_;  // by last use
  uint64_t clock_ = 0;
  int64_t page_count_ = 0, evictions_ = 0;
};

}  // namespace kinglet
