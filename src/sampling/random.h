// Counter-based random numbers: a pure function of seed, position and purpose, so that a text depends on its own seed
// alone and never on what runs beside it, in which order, or on which machine. No state, no cryptography.
#pragma once

#include <array>
#include <cstdint>

namespace kinglet {

// Philox4x32 with 10 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// What a number is drawn for; numbers of different purposes are independent.
enum class RandomPurpose : uint32_t { kToken = 0 };

// Uniform in [0, 1), a multiple of 2^-53.
double uniform_at(uint64_t seed, uint64_t position, RandomPurpose purpose = RandomPurpose::kToken);

}  // namespace kinglet
