#include "nn/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/math.h"

namespace kinglet {
namespace {

// What a frequency is divided by under Llama 3.1's rule. Rounded to float, as GGUF files carry it (rope_freqs), so that
// a model has the same bits from a folder and from a file.
double llama3_divisor(const RopeSpec& rope, double frequency) {
  const double wavelength = 2.0 * std::numbers::pi / frequency;
  const double original = static_cast<double>(rope.original_context);
  if (wavelength < original / rope.high_freq_factor) return 1.0;
  if (wavelength > original / rope.low_freq_factor) return static_cast<double>(static_cast<float>(rope.factor));
  const double smooth = (original / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return static_cast<double>(static_cast<float>(1.0 / ((1.0 - smooth) / rope.factor + smooth)));
}

// The (fractional) pair whose wavelength makes `rotations` turns over the original context.
double yarn_pair(const RopeSpec& rope, double rotations) {
  const double original = static_cast<double>(rope.original_context);
  return static_cast<double>(rope.rotated) * log_f64(original / (rotations * 2.0 * std::numbers::pi)) /
         (2.0 * log_f64(rope.theta));
}

double yarn_frequency(const RopeSpec& rope, double frequency, int64_t pair) {
  const double last = static_cast<double>(rope.rotated - 1);  // as the reference has it: beyond the last pair
  double low = yarn_pair(rope, rope.beta_fast), high = yarn_pair(rope, rope.beta_slow);
  if (rope.whole_pairs) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, last);
  if (high == low) high += 0.001;
  const double ramp = std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
  return frequency / rope.factor * ramp + frequency * (1.0 - ramp);
}

// The base, rounded to float as GGUF files carry it where it is stretched.
double stretched_theta(const RopeSpec& rope) {
  if (rope.base_factor == 0.0 || rope.rotated <= 2) return rope.theta;
  const double n = static_cast<double>(rope.rotated);
  return static_cast<double>(static_cast<float>(rope.theta * pow_f64(rope.base_factor, n / (n - 2.0))));
}

}  // namespace

std::vector<double> rope_inverse_frequencies(const RopeSpec& rope, int64_t context) {
  std::vector<double> frequencies(static_cast<size_t>(rope.rotated / 2));
  const double theta = stretched_theta(rope);
  const bool far = !rope.long_factors.empty() && context > rope.original_context;
  for (size_t p = 0; p < frequencies.size(); p++) {
    double frequency = 1.0 / pow_f64(theta, 2.0 * static_cast<double>(p) / static_cast<double>(rope.rotated));
    switch (rope.scaling) {
      case RopeSpec::Scaling::kNone:
        break;
      case RopeSpec::Scaling::kLinear:
        frequency /= rope.factor;
        break;
      case RopeSpec::Scaling::kLlama3:
        frequency /= llama3_divisor(rope, frequency);
        break;
      case RopeSpec::Scaling::kYarn:
        frequency = yarn_frequency(rope, frequency, static_cast<int64_t>(p));
        break;
      case RopeSpec::Scaling::kFactors:
        frequency /= far ? rope.long_factors[p] : rope.factors[p];
        break;
    }
    frequencies[p] = static_cast<double>(static_cast<float>(frequency));
  }
  return frequencies;
}

float rope_magnitude(const RopeSpec& rope) {
  if (rope.magnitude != 0.0) return static_cast<float>(rope.magnitude);
  if (rope.factor <= 1.0) return 1.0f;
  if (rope.scaling == RopeSpec::Scaling::kYarn) {
    const auto by = [&](double m) { return 0.1 * m * log_f64(rope.factor) + 1.0; };
    if (rope.magnitude_scale != 0.0 && rope.magnitude_scale_all != 0.0)
      return static_cast<float>(by(rope.magnitude_scale) / by(rope.magnitude_scale_all));
    return static_cast<float>(by(1.0));
  }
  if (!rope.long_factors.empty())
    return static_cast<float>(
        std::sqrt(1.0 + log_f64(rope.factor) / log_f64(static_cast<double>(rope.original_context))));
  return 1.0f;
}

float attention_scale(const AttentionSpec& attention) {
  const double m = 1.0 + attention.yarn_log_multiplier * log_f64(attention.rope.factor);
  return static_cast<float>(attention.yarn_log_multiplier == 0.0 ? attention.scale : attention.scale * m * m);
}

float query_factor(const AttentionSpec& attention, int64_t position) {
  if (attention.query_growth == 0.0) return 1.0f;
  // Rounded to float as GGUF files carry it, so that both roads have the same bits.
  const auto growth = static_cast<double>(static_cast<float>(attention.query_growth));
  return static_cast<float>(1.0 + growth * log_f64(static_cast<double>(1 + position / attention.growth_span)));
}

}  // namespace kinglet
