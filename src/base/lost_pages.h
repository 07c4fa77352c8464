// Maps of files that other programs may shorten while we read. Touching a page that the file no longer has raises
// SIGBUS; for registered maps zeros take the place of what is gone, and the map is marked. Who read it must ask
// afterwards.
#pragma once

#include <cstddef>
#include <span>

namespace kinglet {

// Watches a map until forget_map(). Beyond some thousand maps at once further ones are not watched.
void watch_map(std::span<const std::byte> map);
void forget_map(std::span<const std::byte> map);
// Whether zeros stand for some of its pages. False for what is not watched.
bool pages_lost(std::span<const std::byte> map);

}  // namespace kinglet
