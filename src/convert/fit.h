// Finding the scales of quantised blocks: the search behind quantise.h, and nothing about how blocks are stored. Every
// fit minimises sum w (x - decoded x)^2. Sums run in four fixed lanes and nothing but IEEE operations is used, so the
// same values give the same blocks on every machine. Internal to convert/.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace kinglet::convert {

inline constexpr int kMostValues = 256;

// Values and their importance; a multiple of four of each.
struct Samples {
  const float* x;
  const float* w;
  int count;
};

// The levels that a value may become. `uniform` ones are all integers from first to last; else `levels` holds them,
// ascending, with count - 1 borders between neighbours.
struct Grid {
  bool uniform = true;
  float first = 0, last = 0;
  int count = 0;
  std::array<float, 16> levels{}, borders{};
};
Grid integers(int first, int last);
template <class Levels>
Grid codebook(const Levels& ascending) {
  Grid grid{.uniform = false,
            .first = 0,
            .last = 0,
            .count = static_cast<int>(ascending.size()),
            .levels = {},
            .borders = {}};
  for (int i = 0; i < grid.count; ++i)
    grid.levels[static_cast<size_t>(i)] = static_cast<float>(ascending[static_cast<size_t>(i)]);
  for (size_t i = 0; i + 1 < ascending.size(); ++i) grid.borders[i] = 0.5f * (grid.levels[i] + grid.levels[i + 1]);
  grid.first = grid.levels[0];
  grid.last = grid.levels[ascending.size() - 1];
  return grid;
}

// Decoded value: scale * level - minimum.
struct Affine {
  float scale = 0, minimum = 0;
};

// sum w (x - (scale * level - minimum))^2 with the nearest levels.
float error_of(const Samples& samples, const Grid& grid, Affine a);
// Those levels.
void levels_of(const Samples& samples, const Grid& grid, Affine a, int8_t* levels);

// A block with a scale of its own, which is a 16-bit float; and one with a minimum as well, both 16-bit floats.
float fit_scale(const Samples& samples, const Grid& grid);
Affine fit_affine(const Samples& samples, const Grid& grid);

// Blocks of blocks: `subs` runs of samples / subs values, each with integer factors of the whole block's 16-bit floats:
// decoded = (scale * scales[j]) * level - (minimum * minimums[j]).
struct SuperBlock {
  uint16_t scale = 0, minimum = 0;
  std::array<int, 16> scales{}, minimums{};
  std::array<int8_t, kMostValues> levels{};
};
// Scales from `first` to `last`, no minimums.
SuperBlock fit_super_scales(const Samples& samples, const Grid& grid, int subs, int first, int last);
// Scales and minimums from 0 to `last`.
SuperBlock fit_super_affine(const Samples& samples, const Grid& grid, int subs, int last);

}  // namespace kinglet::convert
