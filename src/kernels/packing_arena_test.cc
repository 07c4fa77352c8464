#include "kernels/packing_arena.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <vector>

namespace kinglet {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

TEST(PackingArena, SmallPartsShareAnAllocationAndNeverOverlap) {
  std::vector<PackingArena::Part> parts;
  std::vector<uint64_t> sizes;
  {
    PackingArena arena(100 * 70000);
    for (uint64_t i = 0; i < 100; i++) {
      sizes.push_back(40000 + i * 600);
      auto part = arena.take(sizes.back());
      ASSERT_TRUE(part.ok()) << part.error().message;
      std::memset(part->data, static_cast<int>(i), sizes.back());
      parts.push_back(*std::move(part));
    }
  }
  // The arena is gone; every part still holds what was written to it.
  std::set<const AlignedBuffer*> storages;
  for (size_t i = 0; i < parts.size(); i++) {
    storages.insert(parts[i].storage.get());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(parts[i].data) % 4096, 0u);
    EXPECT_EQ(parts[i].storage->data() + parts[i].offset, parts[i].data);
    EXPECT_LE(parts[i].offset + sizes[i], parts[i].storage->size());
    EXPECT_EQ(parts[i].data[0], static_cast<std::byte>(i));
    EXPECT_EQ(parts[i].data[sizes[i] - 1], static_cast<std::byte>(i));
  }
  EXPECT_LE(storages.size(), 2u);  // of 100; one where the sizes are what was expected
}

TEST(PackingArena, MoreThanWasExpectedIsThereAllTheSame) {
  PackingArena arena(0);
  std::set<const AlignedBuffer*> storages;
  for (int i = 0; i < 3; i++) {
    const auto part = arena.take(5 * kMiB);
    ASSERT_TRUE(part.ok());
    part->data[5 * kMiB - 1] = std::byte{1};
    storages.insert(part->storage.get());
  }
  EXPECT_EQ(storages.size(), 3u);
}

TEST(PackingArena, LargePartsStandAlone) {
  PackingArena arena(PackingArena::kLargeBytes + 2 * kMiB);
  const auto before = arena.take(kMiB), large = arena.take(PackingArena::kLargeBytes), after = arena.take(kMiB);
  ASSERT_TRUE(before.ok() && large.ok() && after.ok());
  EXPECT_EQ(before->storage, after->storage);
  EXPECT_NE(large->storage, after->storage);
  EXPECT_EQ(large->offset, 0u);
  EXPECT_EQ(large->storage->size(), PackingArena::kLargeBytes);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(large->data) % (2 * kMiB), 0u);  // huge pages from its first byte on
}

TEST(PackingArena, ARefusalLeavesTheArenaAsItWas) {
  PackingArena arena(uint64_t{1} << 62);
  const auto first = arena.take(kMiB);
  const auto refused = arena.take(uint64_t{1} << 62);
  const auto second = arena.take(kMiB);
  ASSERT_TRUE(first.ok() && second.ok());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kResource);
  EXPECT_EQ(first->storage, second->storage);
  EXPECT_EQ(first->data + kMiB, second->data);
}

}  // namespace
}  // namespace kinglet
