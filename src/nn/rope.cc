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
  const double last = static_cast<double>(rope.rotated / 2 - 1);
  const double low = std::max(std::floor(yarn_pair(rope, rope.beta_fast)), 0.0);
  double high = std::min(std::ceil(yarn_pair(rope, rope.beta_slow)), last);
  if (high == low) high += 0.001;
  const double ramp = std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
  return frequency / rope.factor * ramp + frequency * (1.0 - ramp);
}

}  // namespace

std::vector<double> rope_inverse_frequencies(const RopeSpec& rope) {
  std::vector<double> frequencies(static_cast<size_t>(rope.rotated / 2));
  for (size_t p = 0; p < frequencies.size(); p++) {
    double frequency = 1.0 / pow_f64(rope.theta, 2.0 * static_cast<double>(p) / static_cast<double>(rope.rotated));
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
        frequency /= rope.factors[p];
        break;
    }
    frequencies[p] = static_cast<double>(static_cast<float>(frequency));
  }
  return frequencies;
}

float rope_magnitude(const RopeSpec& rope) {
  if (rope.magnitude != 0.0) return static_cast<float>(rope.magnitude);
  return rope.scaling == RopeSpec::Scaling::kYarn ? static_cast<float>(0.1 * log_f64(rope.factor) + 1.0) : 1.0f;
}

}  // namespace kinglet
