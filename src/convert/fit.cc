#include "convert/fit.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/half.h"

namespace kinglet::convert {
namespace {

using F4 = float __attribute__((vector_size(16)));

F4 load(const float* at) {
  F4 v;
  std::memcpy(&v, at, sizeof v);
  return v;
}
F4 splat(float v) {
  return F4{v, v, v, v};
}
float sum(F4 v) {
  return (v[0] + v[2]) + (v[1] + v[3]);
}

// Nearest integer of a small number: adding 1.5 * 2^23 leaves no bits for a fraction.
constexpr float kRounder = 12582912.0f;

F4 nearest(const Grid& grid, F4 v) {
  if (grid.uniform) {
    const F4 first = splat(grid.first), last = splat(grid.last);
    v = v < first ? first : v;
    v = v > last ? last : v;
    return (v + splat(kRounder)) - splat(kRounder);
  }
  F4 level = splat(grid.levels[0]);
  for (size_t i = 1; i < static_cast<size_t>(grid.count); ++i) {
    const F4 step = splat(grid.levels[i] - grid.levels[i - 1]);  // of small integers: sums are exact
    level += v > splat(grid.borders[i - 1]) ? step : F4{};
  }
  return level;
}

// Values times it are compared with levels; 0 where the scale is too small to have one.
float inverse(float scale) {
  const float inverse = 1.0f / scale;
  return std::isfinite(inverse) ? inverse : 0.0f;
}

// Sums over samples and the levels that are nearest under some scale and minimum: what least squares needs.
struct Moments {
  float w = 0, wl = 0, wll = 0, wx = 0, wxl = 0;
};
Moments moments_of(const Samples& s, const Grid& grid, Affine a) {
  const F4 scale = splat(inverse(a.scale)), minimum = splat(a.minimum);
  F4 w_sum{}, wl{}, wll{}, wx{}, wxl{};
  for (int i = 0; i < s.count; i += 4) {
    const F4 x = load(s.x + i), w = load(s.w + i);
    const F4 level = nearest(grid, (x + minimum) * scale);
    const F4 weighted = w * level;
    w_sum += w;
    wl += weighted;
    wll += weighted * level;
    wx += w * x;
    wxl += weighted * x;
  }
  return {sum(w_sum), sum(wl), sum(wll), sum(wx), sum(wxl)};
}

// The best scale and minimum for those levels, and what they take away from sum w x^2.
struct Solution {
  Affine a;
  float gain = 0;
};
Solution solve_scale(const Moments& m) {
  if (!(m.wll > 0)) return {};
  const float scale = m.wxl / m.wll;
  return {{scale, 0}, scale * m.wxl};
}
// `signed_minimum`: may be negative. Scales are positive.
Solution solve_affine(const Moments& m, bool signed_minimum) {
  const double determinant = double{m.w} * m.wll - double{m.wl} * m.wl;
  if (determinant > 1e-6 * m.w * m.wll) {
    const auto scale = static_cast<float>((double{m.w} * m.wxl - double{m.wl} * m.wx) / determinant);
    const auto minimum = static_cast<float>((double{m.wl} * m.wxl - double{m.wll} * m.wx) / determinant);
    if (scale > 0 && (minimum >= 0 || signed_minimum)) return {{scale, minimum}, scale * m.wxl - minimum * m.wx};
  }
  Solution best = solve_scale(m);
  if (!(best.a.scale > 0)) best = {};
  // Values that are all alike need no levels.
  const float minimum = m.w > 0 ? -m.wx / m.w : 0.0f;
  if (m.wll == 0 && (minimum >= 0 || signed_minimum)) best = {{0, minimum}, -minimum * m.wx};
  return best;
}

float largest(const Samples& s) {
  float top = 0;
  for (int i = 0; i < s.count; ++i)
    if (std::fabs(s.x[i]) > std::fabs(top)) top = s.x[i];
  return top;
}

struct Fit {
  Affine a;
  float error = std::numeric_limits<float>::infinity();
  void offer(const Samples& s, const Grid& grid, Affine other) {
    const float e = error_of(s, grid, other);
    if (e < error) *this = {other, e};
  }
};

// Levels and scale, improved in turn until that helps no more.
template <class Solve>
Fit refine(const Samples& s, const Grid& grid, Affine start, const Solve& solve) {
  constexpr int kTurns = 4;
  Fit best;
  best.offer(s, grid, {});
  for (int turn = 0; turn < kTurns; ++turn) {
    const float before = best.error;
    best.offer(s, grid, start);
    if (!(best.error < before)) break;
    start = solve(moments_of(s, grid, start)).a;
  }
  return best;
}

// How far the starts of a search go past the ends of the grid, in steps between levels, and how many there are.
constexpr int kScaleStarts = 14;
constexpr float kFirstScaleStart = -0.9f, kScaleStartStep = 0.25f;

// The scale alone. A start brings the largest value to a place near either end of the grid.
Fit search_scale(const Samples& s, const Grid& grid) {
  const float top = largest(s), step = (grid.last - grid.first) / static_cast<float>(grid.count - 1);
  Solution best;
  for (const float end : {grid.first, grid.last}) {
    for (int k = 0; k < kScaleStarts; ++k) {
      const float past = step * (kFirstScaleStart + kScaleStartStep * static_cast<float>(k));
      const float place = end < 0 ? end - past : end + past;
      const Solution found = solve_scale(moments_of(s, grid, {top / place, 0}));
      if (found.gain > best.gain) best = found;
    }
  }
  return refine(s, grid, best.a, solve_scale);
}

// Scale and minimum. A start cuts some of the range off at both ends.
Fit search_affine(const Samples& s, const Grid& grid, bool signed_minimum) {
  float low = s.x[0], high = s.x[0];
  for (int i = 1; i < s.count; ++i) {
    low = std::min(low, s.x[i]);
    high = std::max(high, s.x[i]);
  }
  if (!signed_minimum) low = std::min(low, 0.0f);
  const float step = (high - low) / grid.last;
  const auto solve = [&](const Moments& m) { return solve_affine(m, signed_minimum); };
  Solution best;
  for (const float below : {-0.3f, 0.0f, 0.4f, 0.8f}) {
    for (const float above : {-0.3f, 0.0f, 0.4f, 0.8f}) {
      const float steps = std::max(grid.last - below - above, 1.0f);
      const float scale = (high - low) / (grid.last) * steps / grid.last;
      const Solution found = solve(moments_of(s, grid, {scale, -(low + below * step)}));
      if (found.gain > best.gain) best = found;
    }
  }
  return refine(s, grid, best.a, solve);
}

float as_half(float value) {
  return half_to_float(float_to_half(std::clamp(value, -65504.0f, 65504.0f)));
}

// A block of blocks while its parts are being decided.
struct Super {
  float scale = 0, minimum = 0;
  std::array<int, 16> scales{}, minimums{};
  float error = std::numeric_limits<float>::infinity();
  Affine part(int j) const {
    const auto at = static_cast<size_t>(j);
    return {scale * static_cast<float>(scales[at]), minimum * static_cast<float>(minimums[at])};
  }
};

struct SuperSearch {
  const Samples& samples;
  const Grid& grid;
  int subs, first, last;
  bool affine;
  std::array<Affine, 16> wanted{};

  Samples sub(int j) const {
    const int size = samples.count / subs;
    return {samples.x + j * size, samples.w + j * size, size};
  }
  int factor(float wanted_value, float unit) const {
    const float ratio = wanted_value * inverse(unit);
    if (std::isnan(ratio)) return std::clamp(0, first, last);  // weights that are no numbers
    return static_cast<int>(std::floor(std::clamp(ratio, static_cast<float>(first), static_cast<float>(last)) + 0.5f));
  }

  // The integers of every part for given floats: near the wanted scale, with the minimum that suits each.
  void choose_factors(Super& super) const {
    super.error = 0;
    for (int j = 0; j < subs; ++j) {
      const Samples s = sub(j);
      const auto at = static_cast<size_t>(j);
      const int middle = factor(wanted[at].scale, super.scale);
      float least = std::numeric_limits<float>::infinity();
      const auto offer = [&](int scale, int minimum) {
        const float e =
            error_of(s, grid, {super.scale * static_cast<float>(scale), super.minimum * static_cast<float>(minimum)});
        if (!(e < least)) return;
        least = e;
        super.scales[at] = scale;
        super.minimums[at] = minimum;
      };
      for (int scale = std::max(first, middle - 1); scale <= std::min(last, middle + 1); ++scale) {
        int minimum = affine ? factor(wanted[at].minimum, super.minimum) : 0;
        offer(scale, minimum);
        if (!affine) continue;
        const Affine now{super.scale * static_cast<float>(scale), super.minimum * static_cast<float>(minimum)};
        const Moments m = moments_of(s, grid, now);
        const int better = factor((now.scale * m.wl - m.wx) / m.w, super.minimum);
        if (better != minimum) offer(scale, better);
      }
      super.error += least;
    }
  }

  // The floats that suit the integers best, by least squares over the whole block.
  void solve_floats(Super& super) const {
    double uu = 0, uv = 0, vv = 0, xu = 0, xv = 0;
    for (int j = 0; j < subs; ++j) {
      const Moments m = moments_of(sub(j), grid, super.part(j));
      const double scale = super.scales[static_cast<size_t>(j)], minimum = super.minimums[static_cast<size_t>(j)];
      uu += scale * scale * m.wll;
      uv += scale * minimum * m.wl;
      vv += minimum * minimum * m.w;
      xu += scale * m.wxl;
      xv += minimum * m.wx;
    }
    const double determinant = uu * vv - uv * uv;
    if (affine && determinant > 1e-6 * uu * vv) {
      super.scale = as_half(static_cast<float>((vv * xu - uv * xv) / determinant));
      super.minimum = as_half(static_cast<float>((uv * xu - uu * xv) / determinant));
    } else if (uu > 0) {
      super.scale = as_half(static_cast<float>((xu + super.minimum * uv) / uu));
    }
  }

  Super run(float scale, float minimum) const {
    constexpr int kTurns = 3;
    Super now{as_half(scale), as_half(minimum), {}, {}, 0}, best;
    for (int turn = 0; turn < kTurns; ++turn) {
      choose_factors(now);
      if (!(now.error < best.error)) break;
      best = now;
      solve_floats(now);
    }
    return best;
  }

  SuperBlock finish(const Super& super) const {
    SuperBlock block;
    block.scale = float_to_half(super.scale);
    block.minimum = float_to_half(super.minimum);
    block.scales = super.scales;
    block.minimums = super.minimums;
    for (int j = 0; j < subs; ++j) levels_of(sub(j), grid, super.part(j), block.levels.data() + j * sub(j).count);
    return block;
  }
};

}  // namespace

Grid integers(int first, int last) {
  Grid grid;
  grid.first = static_cast<float>(first);
  grid.last = static_cast<float>(last);
  grid.count = last - first + 1;
  return grid;
}

float error_of(const Samples& s, const Grid& grid, Affine a) {
  const F4 scale = splat(a.scale), inverted = splat(inverse(a.scale)), minimum = splat(a.minimum);
  F4 total{};
  for (int i = 0; i < s.count; i += 4) {
    const F4 x = load(s.x + i);
    const F4 level = nearest(grid, (x + minimum) * inverted);
    const F4 missing = x - (scale * level - minimum);
    total += load(s.w + i) * missing * missing;
  }
  return sum(total);
}

void levels_of(const Samples& s, const Grid& grid, Affine a, int8_t* levels) {
  const F4 inverted = splat(inverse(a.scale)), minimum = splat(a.minimum);
  for (int i = 0; i < s.count; i += 4) {
    const F4 level = nearest(grid, (load(s.x + i) + minimum) * inverted);
    for (int lane = 0; lane < 4; ++lane) levels[i + lane] = static_cast<int8_t>(level[lane]);
  }
}

float fit_scale(const Samples& samples, const Grid& grid) {
  Fit best;
  const float found = search_scale(samples, grid).a.scale;
  best.offer(samples, grid, {as_half(found), 0});
  return best.a.scale;
}

Affine fit_affine(const Samples& samples, const Grid& grid) {
  const Affine found = search_affine(samples, grid, true).a;
  return {as_half(found.scale), as_half(found.minimum)};
}

SuperBlock fit_super_scales(const Samples& samples, const Grid& grid, int subs, int first, int last) {
  SuperSearch search{samples, grid, subs, first, last, false};
  float top = 0;
  for (int j = 0; j < subs; ++j) {
    const float scale = search_scale(search.sub(j), grid).a.scale;
    search.wanted[static_cast<size_t>(j)] = {scale, 0};
    if (std::fabs(scale) > std::fabs(top)) top = scale;
  }
  const Super down = search.run(top / static_cast<float>(first), 0), up = search.run(top / static_cast<float>(last), 0);
  return search.finish(down.error < up.error ? down : up);
}

SuperBlock fit_super_affine(const Samples& samples, const Grid& grid, int subs, int last) {
  SuperSearch search{samples, grid, subs, 0, last, true};
  float scale = 0, minimum = 0;
  for (int j = 0; j < subs; ++j) {
    const Affine a = search_affine(search.sub(j), grid, false).a;
    search.wanted[static_cast<size_t>(j)] = a;
    scale = std::max(scale, a.scale);
    minimum = std::max(minimum, a.minimum);
  }
  const auto steps = static_cast<float>(last);
  return search.finish(search.run(scale / steps, minimum / steps));
}

}  // namespace kinglet::convert
