#include "cache/prefix_tree.h"

#include <algorithm>

#include "base/check.h"

namespace kinglet {

namespace {
struct Before {
  using is_transparent = void;
  bool operator()(std::span<const int32_t> a, std::span<const int32_t> b) const {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
  }
};

int64_t common(std::span<const int32_t> a, std::span<const int32_t> b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

bool begins_with(std::span<const int32_t> text, std::span<const int32_t> beginning) {
  return common(beginning, text) == std::ssize(beginning);
}
}  // namespace

// A root has no page. A node with fewer tokens than a page has positions is a leaf.
struct PrefixTree::Node {
  Node* parent = nullptr;
  std::span<const int32_t> tokens;     // the key under which the parent has it
  const std::string* scope = nullptr;  // of a root
  PageId page = kNoPage;
  StateId state = kNoState;
  uint64_t used = 0, state_used = 0;
  std::map<std::vector<int32_t>, std::unique_ptr<Node>, Before> children;
  int64_t ends = 0;  // children with fewer tokens than a page has positions

  Node* child(std::span<const int32_t> key) const {
    const auto found = children.find(key);
    return found == children.end() ? nullptr : found->second.get();
  }
};

PrefixTree::PrefixTree(BlockPool& pages, StatePool& states, int64_t page_positions, int64_t most_states)
    : pool_(pages),
      states_(states),
      page_positions_(page_positions),
      most_states_(most_states),
      recurrent_(states.state_bytes() > 0) {
  KL_CHECK(page_positions > 0 && most_states >= 0, "pages have positions");
}

PrefixTree::~PrefixTree() {
  clear();
}

// Leaf by leaf: a tree of long texts is deeper than a stack.
void PrefixTree::clear() {
  while (!leaves_.empty()) remove(leaves_.begin()->second);
}

PrefixTree::Node* PrefixTree::root_of(const std::string& scope) {
  const auto [entry, added] = scopes_.try_emplace(scope);
  if (added) {
    entry->second = std::make_unique<Node>();
    entry->second->scope = &entry->first;
  }
  return entry->second.get();
}

PrefixTree::Node* PrefixTree::add(Node* parent, std::span<const int32_t> tokens, PageId page) {
  if (parent->parent != nullptr && parent->children.empty()) leaves_.erase({parent->used, parent});
  const auto entry =
      parent->children.emplace(std::vector<int32_t>(tokens.begin(), tokens.end()), std::make_unique<Node>()).first;
  Node* node = entry->second.get();
  node->parent = parent;
  node->tokens = entry->first;
  node->page = page;
  node->used = ++clock_;
  leaves_.insert({node->used, node});
  if (std::ssize(tokens) < page_positions_) ++parent->ends;
  pool_.keep(page);
  ++page_count_;
  return node;
}

void PrefixTree::remove(Node* node) {
  KL_CHECK(node->children.empty(), "only leaves leave");
  drop_state(node);
  leaves_.erase({node->used, node});
  pool_.drop(node->page);
  --page_count_;
  Node* parent = node->parent;
  if (std::ssize(node->tokens) < page_positions_) --parent->ends;
  parent->children.erase(parent->children.find(node->tokens));
  if (!parent->children.empty()) return;
  if (parent->scope != nullptr) {
    scopes_.erase(scopes_.find(*parent->scope));
  } else {
    leaves_.insert({parent->used, parent});
  }
}

void PrefixTree::touch_node(Node* node) {
  const bool leaf = node->children.empty();
  if (leaf) leaves_.erase({node->used, node});
  node->used = ++clock_;
  if (leaf) leaves_.insert({node->used, node});
}

// What stands higher counts as used later, so that it leaves later.
void PrefixTree::touch_up(Node* node) {
  for (; node != nullptr && node->parent != nullptr; node = node->parent) touch_node(node);
}

void PrefixTree::touch(const Place& place) {
  touch_up(place.node);
}

void PrefixTree::touch_state(Node* node) {
  by_state_age_.erase({node->state_used, node});
  node->state_used = ++clock_;
  by_state_age_.insert({node->state_used, node});
}

void PrefixTree::drop_state(Node* node) {
  if (node->state == kNoState) return;
  by_state_age_.erase({node->state_used, node});
  states_.release(node->state);
  node->state = kNoState;
}

// Room for one more snapshot, at the expense of the one that was unused for longest where it must be.
void PrefixTree::make_state_room() {
  if (states() < most_states_) return;
  Node* oldest = by_state_age_.begin()->second;
  drop_state(oldest);
  // A page that is not full is worth nothing without its state.
  if (std::ssize(oldest->tokens) < page_positions_) remove(oldest);
}

void PrefixTree::set_state(Node* node, StateId state) {
  node->state = state;
  node->state_used = ++clock_;
  by_state_age_.insert({node->state_used, node});
}

PageId PrefixTree::insert(const std::string& scope, Place* place, std::span<const int32_t> tokens, PageId page) {
  KL_CHECK(std::ssize(tokens) == page_positions_, "a page that is shared is full");
  Node* parent = place->node == nullptr ? root_of(scope) : place->node;
  ++place->pages;
  place->node = parent->child(tokens);
  if (place->node == nullptr) {
    place->node = add(parent, tokens, page);
    if (!recurrent_) drop_beginning(parent, tokens);
    return page;
  }
  const PageId known = place->node->page;
  if (known == page) return page;
  pool_.retain(known);
  pool_.release(page);
  return known;
}

// Removes the child that is a shorter beginning of `tokens`. There are no two: each stands in for those before it.
void PrefixTree::drop_beginning(Node* parent, std::span<const int32_t> tokens) {
  if (parent->ends == 0) return;
  for (auto length = tokens.size() - 1; length > 0; --length) {
    Node* shorter = parent->child(tokens.first(length));
    if (shorter != nullptr) return remove(shorter);
  }
}

void PrefixTree::insert_end(const std::string& scope, const Place& place, std::span<const int32_t> tokens, PageId page,
                            StateId state) {
  KL_CHECK(!tokens.empty() && std::ssize(tokens) < page_positions_, "the last page has tokens, and room for more");
  if (recurrent_ && (state == kNoState || most_states_ == 0)) return;
  Node* parent = place.node == nullptr ? root_of(scope) : place.node;
  Node* node = parent->child(tokens);
  if (node == nullptr && !recurrent_) {
    const auto after = parent->children.lower_bound(tokens);
    if (after != parent->children.end() && begins_with(after->first, tokens)) node = after->second.get();
  }
  if (node != nullptr) {
    touch_node(node);
    if (recurrent_) touch_state(node);
    return;
  }
  if (recurrent_) make_state_room();
  // Making room may have removed the scope's last page, and the scope.
  parent = place.node == nullptr ? root_of(scope) : place.node;
  node = add(parent, tokens, page);
  if (!recurrent_) return drop_beginning(parent, tokens);
  states_.retain(state);
  set_state(node, state);
}

void PrefixTree::put_state(const Place& place, StateId state, bool spare) {
  KL_CHECK(place.node != nullptr, "a snapshot stands behind a page");
  if (place.node->state != kNoState) return touch_state(place.node);
  if (most_states_ == 0 || (spare && 2 * states() >= most_states_)) return;
  make_state_room();
  const auto copy = states_.clone(state);
  if (copy.ok()) set_state(place.node, *copy);
}

// The page whose tokens agree with the rest of the text for longest: it stands right before or after it.
void PrefixTree::find_part(Node* parent, std::span<const int32_t> rest, Match* match) {
  Node* best = nullptr;
  int64_t most = 0;
  const auto consider = [&](const auto& entry) {
    const int64_t same = common(entry->first, rest);
    if (same <= most) return;
    most = same;
    best = entry->second.get();
  };
  const auto after = parent->children.lower_bound(rest);
  if (after != parent->children.end()) consider(after);
  if (after != parent->children.begin()) consider(std::prev(after));
  if (best == nullptr) return;
  pool_.retain(best->page);
  match->copied = best->page;
  match->tokens += most;
  touch_node(best);
}

// The longest beginning of the rest that a page which is not full ends with, together with its state.
PrefixTree::Node* PrefixTree::state_within(Node* parent, std::span<const int32_t> rest) const {
  if (parent->ends == 0) return nullptr;
  for (int64_t length = std::min(std::ssize(rest), page_positions_ - 1); length > 0; --length) {
    Node* node = parent->child(rest.first(static_cast<size_t>(length)));
    if (node != nullptr && node->state != kNoState) return node;
  }
  return nullptr;
}

// Goes back from the end of the path to the newest snapshot.
void PrefixTree::find_state(const std::vector<Node*>& path, std::span<const int32_t> tokens, Match* match) {
  for (size_t pages = path.size(); pages-- > 0;) {
    const size_t from = pages * static_cast<size_t>(page_positions_);
    Node* node = state_within(path[pages], tokens.subspan(from));
    const bool part = node != nullptr;
    if (!part && path[pages]->state != kNoState) node = path[pages];
    if (node == nullptr) continue;
    match->tokens = static_cast<int64_t>(from);
    if (part) {
      match->tokens += std::ssize(node->tokens);
      match->copied = node->page;
      pool_.retain(node->page);
      touch_node(node);
    }
    match->state = node->state;
    states_.retain(node->state);
    touch_state(node);
    return;
  }
  match->tokens = 0;
}

PrefixTree::Match PrefixTree::match(const std::string& scope, std::span<const int32_t> tokens) {
  Match match;
  const auto root = scopes_.find(scope);
  if (root == scopes_.end()) return match;
  const auto size = static_cast<size_t>(page_positions_);
  std::vector<Node*> path = {root->second.get()};
  for (size_t from = 0; tokens.size() - from >= size; from += size) {
    Node* next = path.back()->child(tokens.subspan(from, size));
    if (next == nullptr) break;
    path.push_back(next);
  }
  match.tokens = match.known = (std::ssize(path) - 1) * page_positions_;
  if (recurrent_) {
    find_state(path, tokens, &match);
  } else {
    find_part(path.back(), tokens.subspan(static_cast<size_t>(match.tokens)), &match);
  }
  const auto full = static_cast<size_t>(match.tokens / page_positions_);
  const bool copies_whole = match.copied != kNoPage && match.tokens % page_positions_ == 0;
  KL_CHECK(!copies_whole, "a page that agrees in all its tokens is shared");
  for (size_t i = 1; i <= full; ++i) {
    pool_.retain(path[i]->page);
    match.pages.push_back(path[i]->page);
  }
  if (full > 0) match.place = {path[full], static_cast<int64_t>(full)};
  touch(match.place);
  return match;
}

// Leaves in use are few, one for each text at most, so that looking from the oldest on each time is cheap; a page that
// became a leaf may be older than the one that left.
int64_t PrefixTree::evict(int64_t count) {
  int64_t freed = 0;
  for (; freed < count; ++freed) {
    const auto oldest = std::find_if(leaves_.begin(), leaves_.end(),
                                     [&](const Age& leaf) { return pool_.references(leaf.second->page) == 1; });
    if (oldest == leaves_.end()) break;
    remove(oldest->second);
  }
  evictions_ += freed;
  return freed;
}

}  // namespace kinglet
