#include "cache/state_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

namespace kinglet {
namespace {

StatePool make_pool(uint64_t bytes, int64_t states) {
  auto pool = StatePool::create(bytes, states);
  EXPECT_TRUE(pool.ok());
  return std::move(pool).value();
}

bool is_full_of(const StatePool& pool, StateId id, int value) {
  const std::byte* data = pool.data(id);
  return std::all_of(data, data + pool.state_bytes(), [&](std::byte b) { return b == static_cast<std::byte>(value); });
}

void fill(const StatePool& pool, StateId id, int value) {
  std::memset(pool.data(id), value, pool.state_bytes());
}

TEST(StatePool, RefusesImpossibleSizes) {
  EXPECT_EQ(StatePool::create(64, 0).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(StatePool::create(std::numeric_limits<uint64_t>::max(), 1).error().code, ErrorCode::kInvalid);
  EXPECT_NE(StatePool::create(uint64_t{1} << 62, 7).error().message.find("7 recurrent states"), std::string::npos);
}

TEST(StatePool, AModelWithoutRecurrentLayersHasEmptyStates) {
  const StatePool pool = make_pool(0, 0);
  EXPECT_EQ(pool.state_bytes(), 0u);
  EXPECT_EQ(pool.used(), 0);
  EXPECT_EQ(pool.references(0), 0);
}

TEST(StatePool, StatesAreZeroAlignedAndFreshAgainWhenReused) {
  StatePool pool = make_pool(1000, 3);
  for (int round = 0; round < 3; ++round) {
    std::vector<StateId> ids;
    for (int i = 0; i < 3; ++i) {
      const StateId id = *pool.allocate();
      EXPECT_EQ(reinterpret_cast<uintptr_t>(pool.data(id)) % 64, 0u);
      EXPECT_TRUE(is_full_of(pool, id, 0));
      fill(pool, id, 0x10 + i);
      ids.push_back(id);
    }
    const auto refused = pool.allocate();
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::kResource);
    EXPECT_NE(refused.error().message.find("3 recurrent states"), std::string::npos);
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(is_full_of(pool, ids[static_cast<size_t>(i)], 0x10 + i)) << "states overlap";
      pool.release(ids[static_cast<size_t>(i)]);
    }
    EXPECT_EQ(pool.used(), 0);
  }
}

TEST(StatePool, ASnapshotKeepsWhatItSawAndGivesItBack) {
  StatePool pool = make_pool(200, 3);
  const StateId running = *pool.allocate();
  fill(pool, running, 1);
  const StateId snapshot = *pool.clone(running);
  EXPECT_NE(snapshot, running);
  fill(pool, running, 2);
  EXPECT_TRUE(is_full_of(pool, snapshot, 1));
  pool.restore(running, snapshot);
  EXPECT_TRUE(is_full_of(pool, running, 1));
  fill(pool, running, 3);
  EXPECT_TRUE(is_full_of(pool, snapshot, 1));
  ASSERT_TRUE(pool.clone(snapshot).ok());
  EXPECT_EQ(pool.clone(snapshot).error().code, ErrorCode::kResource);
  EXPECT_EQ(pool.used(), 3);
}

TEST(StatePool, CountsReferences) {
  StatePool pool = make_pool(64, 1);
  const StateId id = *pool.allocate();
  pool.retain(id);
  EXPECT_EQ(pool.references(id), 2);
  pool.release(id);
  EXPECT_FALSE(pool.allocate().ok());
  pool.release(id);
  EXPECT_EQ(pool.references(id), 0);
  EXPECT_TRUE(pool.allocate().ok());
}

}  // namespace
}  // namespace kinglet
