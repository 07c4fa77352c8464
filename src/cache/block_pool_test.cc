#include "cache/block_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <set>

namespace kinglet {
namespace {

BlockPool make_pool(uint64_t page_bytes, int64_t pages) {
  auto pool = BlockPool::create(page_bytes, pages);
  EXPECT_TRUE(pool.ok());
  return std::move(pool).value();
}

bool all_zero(const std::byte* data, uint64_t bytes) {
  for (uint64_t i = 0; i < bytes; ++i) {
    if (data[i] != std::byte{0}) return false;
  }
  return true;
}

TEST(BlockPool, RefusesImpossibleSizes) {
  EXPECT_EQ(BlockPool::create(0, 4).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(BlockPool::create(64, 0).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(BlockPool::create(64, -1).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(BlockPool::create(64, int64_t{1} << 31).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(BlockPool::create(uint64_t{1} << 62, 4).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(BlockPool::create(std::numeric_limits<uint64_t>::max(), 1).error().code, ErrorCode::kInvalid);
}

TEST(BlockPool, ReservesNothingBeforeUse) {
  BlockPool pool = make_pool(1 << 20, 1 << 20);  // 1 TiB in all
  EXPECT_EQ(pool.reserved_bytes(), 0u);
  ASSERT_TRUE(pool.allocate().ok());
  EXPECT_LE(pool.reserved_bytes(), uint64_t{64} << 20);
  EXPECT_GE(pool.reserved_bytes(), uint64_t{1} << 20);
}

TEST(BlockPool, HandsOutZeroedAlignedDistinctPages) {
  constexpr uint64_t kBytes = 1000;  // not a multiple of the alignment
  BlockPool pool = make_pool(kBytes, 5);
  std::set<std::byte*> seen;
  for (int round = 0; round < 3; ++round) {
    std::vector<PageId> ids;
    for (int i = 0; i < 5; ++i) {
      auto id = pool.allocate();
      ASSERT_TRUE(id.ok());
      std::byte* data = pool.page_data(*id);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0u);
      EXPECT_TRUE(all_zero(data, kBytes));
      std::memset(data, 0xff, kBytes);
      ids.push_back(*id);
      seen.insert(data);
    }
    auto refused = pool.allocate();
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::kResource);
    EXPECT_NE(refused.error().message.find('5'), std::string::npos);
    for (PageId id : ids) pool.release(id);
    EXPECT_EQ(pool.used(), 0);
  }
  EXPECT_EQ(seen.size(), 5u);  // the same five pages each round
}

TEST(BlockPool, SharedPagesLiveUntilTheLastRelease) {
  BlockPool pool = make_pool(64, 2);
  const PageId id = *pool.allocate();
  pool.retain(id);
  EXPECT_EQ(pool.references(id), 2);
  pool.page_data(id)[3] = std::byte{7};
  pool.release(id);
  EXPECT_EQ(pool.references(id), 1);
  EXPECT_EQ(pool.page_data(id)[3], std::byte{7});
  EXPECT_EQ(pool.available(), 1);
  pool.release(id);
  EXPECT_EQ(pool.references(id), 0);
  EXPECT_EQ(pool.available(), 2);
}

TEST(BlockPool, SurvivesMoves) {
  BlockPool first = make_pool(128, 3);
  const PageId id = *first.allocate();
  std::byte* data = first.page_data(id);
  data[0] = std::byte{9};
  BlockPool second = std::move(first);
  EXPECT_EQ(second.page_data(id), data);
  EXPECT_EQ(second.page_data(id)[0], std::byte{9});
}

TEST(BlockPoolDeathTest, MisuseIsOurBug) {
  BlockPool pool = make_pool(64, 2);
  const PageId id = *pool.allocate();
  pool.release(id);
  EXPECT_DEATH(pool.release(id), "free");
  EXPECT_DEATH(pool.retain(id), "free");
  EXPECT_DEATH(pool.page_data(1), "free");
  EXPECT_DEATH(pool.page_data(kNoPage), "free");
}

// Random histories against a plain map: counts agree, no page is handed out twice, contents stay with the page.
TEST(BlockPool, RandomHistoriesKeepTheInvariants) {
  constexpr uint64_t kBytes = 192;
  std::mt19937 random(7);
  for (int run = 0; run < 20; ++run) {
    const int64_t capacity = 1 + static_cast<int64_t>(random() % 40);
    BlockPool pool = make_pool(kBytes, capacity);
    std::map<PageId, std::pair<int64_t, uint8_t>> model;  // id -> references, fill
    for (int step = 0; step < 2000; ++step) {
      const auto pick = [&] { return std::next(model.begin(), static_cast<int64_t>(random() % model.size())); };
      const auto action = random() % 5;
      if (action < 2) {
        auto id = pool.allocate();
        ASSERT_EQ(id.ok(), static_cast<int64_t>(model.size()) < capacity);
        if (!id.ok()) continue;
        ASSERT_EQ(model.count(*id), 0u);
        ASSERT_TRUE(all_zero(pool.page_data(*id), kBytes));
        const auto fill = static_cast<uint8_t>(1 + random() % 255);
        std::memset(pool.page_data(*id), fill, kBytes);
        model[*id] = {1, fill};
      } else if (!model.empty() && action == 2) {
        auto it = pick();
        pool.retain(it->first);
        ++it->second.first;
      } else if (!model.empty()) {
        auto it = pick();
        pool.release(it->first);
        if (--it->second.first == 0) model.erase(it);
      }
      ASSERT_EQ(pool.used(), static_cast<int64_t>(model.size()));
      ASSERT_EQ(pool.available(), capacity - pool.used());
    }
    for (const auto& [id, page] : model) {
      EXPECT_EQ(pool.references(id), page.first);
      EXPECT_EQ(pool.page_data(id)[kBytes - 1], static_cast<std::byte>(page.second));
    }
  }
}

}  // namespace
}  // namespace kinglet
