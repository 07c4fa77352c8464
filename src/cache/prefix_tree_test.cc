#include "cache/prefix_tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <list>
#include <map>
#include <optional>
#include <random>

namespace kinglet {
namespace {

using Tokens = std::vector<int32_t>;
using Seen = std::array<int64_t, 2>;

// Pools whose pages hold tokens, and states the number and the sum of them: what lies there can be checked.
class World {
 public:
  World(int64_t positions, bool recurrent, int64_t page_count = 4096, int64_t most_states = 64)
      : size(positions),
        pages(BlockPool::create(static_cast<uint64_t>(positions) * sizeof(int32_t), page_count).value()),
        states(StatePool::create(recurrent ? 2 * sizeof(int64_t) : 0, 4096).value()),
        tree(pages, states, positions, most_states) {}

  int32_t* at(PageId page) { return reinterpret_cast<int32_t*>(pages.page_data(page)); }
  Seen seen(StateId state) {
    Seen result;
    std::memcpy(&result, states.data(state), sizeof(result));
    return result;
  }
  StateId state_of(std::span<const int32_t> tokens) {
    const StateId state = states.allocate().value();
    Seen content = {0, 0};
    for (int32_t token : tokens) content = {content[0] + 1, content[1] * 31 % 1'000'000'007 + token};
    std::memcpy(states.data(state), &content, sizeof(content));
    return state;
  }

  int64_t size;
  BlockPool pages;
  StatePool states;
  PrefixTree tree;
};

// A text that uses the tree as a sequence does.
class Text {
 public:
  Text(World* world, std::string scope, Tokens tokens)
      : world_(*world), scope_(std::move(scope)), tokens_(std::move(tokens)) {}

  int64_t begin(std::span<const int32_t> known) {
    const PrefixTree::Match match = world_.tree.match(scope_, known);
    check(match, known);
    pages_ = match.pages;
    place_ = match.place;
    if (match.copied != kNoPage) {
      pages_.push_back(world_.pages.allocate().value());
      std::memcpy(world_.at(pages_.back()), world_.at(match.copied), world_.pages.page_bytes());
      world_.pages.release(match.copied);
    }
    if (match.state != kNoState) world_.states.release(match.state);
    computed_ = match.tokens;
    return match.tokens;
  }

  // `shares`: full pages enter at once.
  void compute(int64_t until, bool shares) {
    for (; computed_ < until; ++computed_) {
      const auto place = static_cast<size_t>(computed_ / world_.size);
      if (place == pages_.size()) pages_.push_back(world_.pages.allocate().value());
      world_.at(pages_[place])[computed_ % world_.size] = tokens_[static_cast<size_t>(computed_)];
    }
    if (shares) share();
  }

  void share() {
    while ((place_.pages + 1) * world_.size <= computed_) {
      const auto index = static_cast<size_t>(place_.pages), size = static_cast<size_t>(world_.size);
      pages_[index] =
          world_.tree.insert(scope_, &place_, std::span(tokens_).subspan(index * size, size), pages_[index]);
    }
  }

  void put_state(bool spare) {
    if (place_.pages == 0 || computed_ != place_.pages * world_.size) return;
    const StateId state = world_.state_of(std::span(tokens_).first(static_cast<size_t>(computed_)));
    world_.tree.put_state(place_, state, spare);
    world_.states.release(state);
  }

  void end() {
    share();
    const auto full = static_cast<size_t>(place_.pages * world_.size), computed = static_cast<size_t>(computed_);
    if (computed > full) {
      const bool recurrent = world_.states.state_bytes() > 0;
      const StateId state = recurrent ? world_.state_of(std::span(tokens_).first(computed)) : kNoState;
      world_.tree.insert_end(scope_, place_, std::span(tokens_).subspan(full, computed - full), pages_.back(), state);
      if (recurrent) world_.states.release(state);
    } else if (world_.states.state_bytes() > 0) {
      put_state(false);
    }
    world_.tree.touch(place_);
    for (PageId page : pages_) world_.pages.release(page);
    pages_.clear();
  }

  const Tokens& tokens() const { return tokens_; }
  const std::vector<PageId>& pages() const { return pages_; }
  const std::string& scope() const { return scope_; }
  int64_t computed() const { return computed_; }

 private:
  // What the tree hands out is what it is asked for.
  void check(const PrefixTree::Match& match, std::span<const int32_t> known) {
    ASSERT_LE(match.tokens, std::ssize(known));
    ASSERT_LE(match.known, std::ssize(known));
    ASSERT_EQ(std::ssize(match.pages), match.tokens / world_.size);
    ASSERT_EQ(match.copied != kNoPage, match.tokens % world_.size != 0);
    ASSERT_EQ(match.place.pages, std::ssize(match.pages));
    for (int64_t i = 0; i < match.tokens; ++i) {
      const auto page = static_cast<size_t>(i / world_.size);
      const PageId id = page < match.pages.size() ? match.pages[page] : match.copied;
      ASSERT_EQ(world_.at(id)[i % world_.size], known[static_cast<size_t>(i)]) << i;
    }
    ASSERT_EQ(match.state != kNoState, match.tokens > 0 && world_.states.state_bytes() > 0);
    if (match.state == kNoState) return;
    const StateId expected = world_.state_of(known.first(static_cast<size_t>(match.tokens)));
    ASSERT_EQ(world_.seen(match.state), world_.seen(expected));
    world_.states.release(expected);
  }

  World& world_;
  std::string scope_;
  Tokens tokens_;
  std::vector<PageId> pages_;
  PrefixTree::Place place_;
  int64_t computed_ = 0;
};

int64_t run(World* world, const std::string& scope, const Tokens& tokens) {
  Text text(world, scope, tokens);
  const int64_t found = text.begin(tokens);
  text.compute(std::ssize(tokens), true);
  text.end();
  return found;
}

Tokens numbers(int32_t first, int32_t count) {
  Tokens tokens;
  for (int32_t i = 0; i < count; ++i) tokens.push_back(first + i);
  return tokens;
}

TEST(PrefixTree, FullPagesAreSharedAndTheRestIsCopied) {
  World world(4, false);
  EXPECT_EQ(run(&world, "", numbers(0, 10)), 0);
  EXPECT_EQ(world.tree.pages(), 3);
  Text text(&world, "", numbers(0, 12));
  EXPECT_EQ(text.begin(text.tokens()), 10);
  EXPECT_EQ(world.pages.references(text.pages()[1]), 2);
  EXPECT_EQ(world.pages.references(text.pages()[2]), 1) << "its own copy";
  text.compute(12, true);
  EXPECT_EQ(world.tree.pages(), 3) << "the page that was not full gave way to the full one";
  text.end();
  EXPECT_EQ(world.pages.used(), 3);
  EXPECT_EQ(world.pages.only_kept(), 3);
  EXPECT_EQ(run(&world, "", {0, 1, 2, 9}), 3) << "a full page that differs inside";
}

TEST(PrefixTree, ScopesSeeNothingOfEachOther) {
  World world(4, false);
  run(&world, "a", numbers(0, 9));
  EXPECT_EQ(run(&world, "b", numbers(0, 9)), 0);
  EXPECT_EQ(run(&world, "", numbers(0, 9)), 0);
  EXPECT_EQ(run(&world, "b", numbers(0, 9)), 9);
  EXPECT_EQ(world.tree.pages(), 9);
}

TEST(PrefixTree, APageComputedTwiceIsKeptOnce) {
  World world(4, false);
  Text first(&world, "", numbers(0, 8)), second(&world, "", numbers(0, 8));
  first.begin(first.tokens());
  second.begin(second.tokens());
  first.compute(8, true);
  second.compute(8, true);
  EXPECT_EQ(first.pages(), second.pages());
  EXPECT_EQ(world.pages.used(), 2);
  EXPECT_EQ(world.tree.evict(9), 0) << "both are in use";
  first.end();
  EXPECT_EQ(world.tree.evict(9), 0);
  second.end();
  EXPECT_EQ(world.tree.evict(9), 2);
  EXPECT_EQ(world.pages.used(), 0);
}

TEST(PrefixTree, WhatIsUnusedForLongestLeavesFirst) {
  World world(2, false);
  run(&world, "", {1, 1, 2, 2});
  run(&world, "", {1, 1, 3, 3});
  run(&world, "x", {5, 5});
  EXPECT_EQ(run(&world, "", {1, 1, 2, 2}), 4);  // used again
  EXPECT_EQ(world.tree.evict(1), 1);
  EXPECT_EQ(world.tree.match("", Tokens{1, 1, 3, 3}).known, 2);
  world.pages.release(0);  // the reference of the match
  EXPECT_EQ(world.tree.evict(1), 1);
  EXPECT_EQ(world.tree.match("x", Tokens{5, 5}).tokens, 0);
  EXPECT_EQ(world.tree.pages(), 2);
  EXPECT_EQ(world.tree.evictions(), 2);
}

TEST(PrefixTree, ATextGoesOnOnlyFromAState) {
  World world(4, true);
  Text text(&world, "", numbers(0, 11));
  text.begin(text.tokens());
  text.compute(8, true);
  text.put_state(false);
  text.compute(11, true);
  EXPECT_EQ(run(&world, "", numbers(0, 8)), 8);
  text.end();
  EXPECT_EQ(run(&world, "", numbers(0, 11)), 11);
  EXPECT_EQ(run(&world, "", numbers(0, 10)), 8) << "a state can't go back to before the eleventh token";
  EXPECT_EQ(run(&world, "", numbers(0, 20)), 11);
  EXPECT_EQ(run(&world, "", {0, 1, 2, 3, 4, 5, 9, 9, 9}), 0);
  const auto match = world.tree.match("", Tokens{0, 1, 2, 3, 4, 5, 8, 8, 8});
  EXPECT_EQ(match.tokens, 0);
  EXPECT_EQ(match.known, 4) << "where a state would have paid";
}

TEST(PrefixTree, StatesStayWithinTheirNumber) {
  World world(4, true, 100, 2);
  Text text(&world, "", numbers(0, 16));
  text.begin(text.tokens());
  text.compute(4, true);
  text.put_state(true);
  EXPECT_EQ(world.tree.states(), 1);
  text.compute(8, true);
  text.put_state(true);
  EXPECT_EQ(world.tree.states(), 1) << "half of the room is for those that are wanted";
  text.put_state(false);
  text.compute(12, true);
  text.put_state(false);
  EXPECT_EQ(world.tree.states(), 2);
  EXPECT_EQ(world.states.used(), 2);
  EXPECT_EQ(run(&world, "", numbers(0, 5)), 0) << "the oldest has left";
  text.end();
  EXPECT_EQ(world.tree.states(), 2);
  EXPECT_EQ(world.states.used(), 2);
}

// Deeper than any stack.
TEST(PrefixTree, ALongTextGoesAwayAgain) {
  World world(1, false, 200000);
  const Tokens tokens(150000, 7);
  EXPECT_EQ(run(&world, "", tokens), 0);
  EXPECT_EQ(run(&world, "", tokens), 150000);
  EXPECT_EQ(world.tree.evict(100), 100);
  world.tree.clear();
  EXPECT_EQ(world.pages.used(), 0);
}

// The tree by its plain definition: pages by all the tokens up to their end, with the time of their last use.
class Naive {
 public:
  struct Page {
    PageId id = kNoPage;
    uint64_t used = 0;
  };
  explicit Naive(int64_t size) : size_(static_cast<size_t>(size)) {}

  int64_t match(const Tokens& tokens) {
    Tokens path;
    while (tokens.size() - path.size() >= size_) {
      const Tokens next(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(path.size() + size_));
      if (!pages_.contains(next)) break;
      path = next;
    }
    size_t most = 0;
    const Tokens* best = nullptr;
    for (const auto& [key, page] : pages_) {
      if (key.size() <= path.size() || key.size() > path.size() + size_) continue;
      if (!std::equal(path.begin(), path.end(), key.begin())) continue;
      const auto end = std::mismatch(key.begin(), key.end(), tokens.begin(), tokens.end()).first;
      const auto same = static_cast<size_t>(end - key.begin()) - path.size();
      // Of two that agree as far, the tree looks at the later one first.
      if (same == 0 || same < most || (same == most && best != nullptr && Tokens(*best) > tokens)) continue;
      most = same;
      best = &key;
    }
    if (best != nullptr) pages_[*best].used = ++clock_;
    const size_t result = path.size() + most;
    touch(path);
    return static_cast<int64_t>(result);
  }
  void touch(Tokens path) {
    for (; !path.empty(); path.resize(path.size() - size_)) pages_[path].used = ++clock_;
  }
  // `page`: what the tree made of it.
  void insert(const Tokens& path, PageId page) {
    if (!pages_.contains(path)) pages_[path] = {page, ++clock_};
    for (size_t length = path.size() - 1; length % size_ != 0; --length) {
      pages_.erase(Tokens(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(length)));
    }
  }
  void insert_end(const Tokens& path, PageId page) {
    const size_t end = (path.size() / size_ + 1) * size_;
    for (auto entry = pages_.lower_bound(path); entry != pages_.end(); ++entry) {
      const Tokens& key = entry->first;
      if (key.size() < path.size() || !std::equal(path.begin(), path.end(), key.begin())) break;
      if (key.size() > end) continue;
      entry->second.used = ++clock_;
      return;
    }
    insert(path, page);
  }
  std::optional<PageId> evict(const BlockPool& pool) {
    auto oldest = pages_.end();
    for (auto entry = pages_.begin(); entry != pages_.end(); ++entry) {
      if (pool.references(entry->second.id) > 1 || has_children(entry->first)) continue;
      if (oldest == pages_.end() || entry->second.used < oldest->second.used) oldest = entry;
    }
    if (oldest == pages_.end()) return std::nullopt;
    const PageId id = oldest->second.id;
    pages_.erase(oldest);
    return id;
  }
  int64_t count() const { return std::ssize(pages_); }

 private:
  bool has_children(const Tokens& path) const {
    const auto next = std::next(pages_.find(path));
    return path.size() % size_ == 0 && next != pages_.end() && next->first.size() > path.size() &&
           std::equal(path.begin(), path.end(), next->first.begin());
  }
  size_t size_;
  std::map<Tokens, Page> pages_;
  uint64_t clock_ = 0;
};

TEST(PrefixTree, AgreesWithItsPlainDefinition) {
  int64_t hits = 0, evicted = 0;
  for (uint32_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    World world(1 + static_cast<int64_t>(random() % 4), false);
    Naive naive(world.size);
    std::list<Text> running;
    const auto beginning = [](const Text& text, int64_t length) {
      return Tokens(text.tokens().begin(), text.tokens().begin() + static_cast<std::ptrdiff_t>(length));
    };
    const auto share = [&](Text& text) {
      text.share();
      for (int64_t end = world.size; end <= text.computed(); end += world.size) {
        naive.insert(beginning(text, end), text.pages()[static_cast<size_t>(end / world.size - 1)]);
      }
    };
    for (int step = 0; step < 400; ++step) {
      const uint64_t what = random() % 8;
      if (what < 3 || running.empty()) {
        Tokens tokens(random() % 14);
        for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 2);
        running.emplace_back(&world, "", tokens);
        const int64_t found = running.back().begin(tokens);
        ASSERT_EQ(found, naive.match(tokens));
        hits += found;
      } else if (what < 5) {
        Text& text = *std::next(running.begin(), static_cast<std::ptrdiff_t>(random() % running.size()));
        const int64_t left = std::ssize(text.tokens()) - text.computed();
        text.compute(text.computed() + static_cast<int64_t>(random() % static_cast<uint64_t>(left + 1)), false);
        share(text);
      } else if (what < 7) {
        const auto text = std::next(running.begin(), static_cast<std::ptrdiff_t>(random() % running.size()));
        share(*text);
        const int64_t computed = text->computed(), full = computed / world.size * world.size;
        if (computed > full) naive.insert_end(beginning(*text, computed), text->pages().back());
        naive.touch(beginning(*text, full));
        text->end();
        running.erase(text);
      } else {
        const auto expected = naive.evict(world.pages);
        ASSERT_EQ(world.tree.evict(1), expected ? 1 : 0);
        if (expected) {
          ASSERT_EQ(world.pages.references(*expected), 0);
        }
        evicted += expected ? 1 : 0;
      }
      ASSERT_EQ(world.tree.pages(), naive.count());
    }
    for (Text& text : running) text.end();
    EXPECT_EQ(world.pages.used(), world.tree.pages());
    EXPECT_EQ(world.pages.only_kept(), world.tree.pages());
    world.tree.clear();
    EXPECT_EQ(world.pages.used(), 0);
  }
  EXPECT_GT(hits, 5000);
  EXPECT_GT(evicted, 500);
}

// With states: what is found is right (Text checks it), never longer than what some text left, nothing leaks.
TEST(PrefixTree, StatesAreThoseOfTheirTokens) {
  int64_t hits = 0;
  for (uint32_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const int64_t most = static_cast<int64_t>(random() % 6);
    World world(1 + static_cast<int64_t>(random() % 4), true, 4096, most);
    std::list<Text> running;
    for (int step = 0; step < 400; ++step) {
      const uint64_t what = random() % 8;
      if (what < 3 || running.empty()) {
        Tokens tokens(random() % 14);
        for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 2);
        running.emplace_back(&world, random() % 2 == 0 ? "" : "x", tokens);
        hits += running.back().begin(tokens);
        ASSERT_FALSE(HasFatalFailure());
      } else if (what < 5) {
        Text& text = *std::next(running.begin(), static_cast<std::ptrdiff_t>(random() % running.size()));
        const int64_t left = std::ssize(text.tokens()) - text.computed();
        text.compute(text.computed() + static_cast<int64_t>(random() % static_cast<uint64_t>(left + 1)), true);
        text.put_state(random() % 2 == 0);
      } else if (what < 7) {
        const auto text = std::next(running.begin(), static_cast<std::ptrdiff_t>(random() % running.size()));
        text->end();
        running.erase(text);
      } else {
        world.tree.evict(static_cast<int64_t>(random() % 3));
      }
      ASSERT_LE(world.tree.states(), most);
      ASSERT_EQ(world.states.used(), world.tree.states());
    }
    for (Text& text : running) text.end();
    EXPECT_EQ(world.pages.used(), world.tree.pages());
    world.tree.clear();
    EXPECT_EQ(world.pages.used(), 0);
    EXPECT_EQ(world.states.used(), 0);
  }
  EXPECT_GT(hits, 1000);
}

}  // namespace
}  // namespace kinglet
