// What every ModelSpec must satisfy before anything is computed or allocated from it: a file may claim whatever it
// likes.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "families/model_spec.h"

namespace kinglet {

inline constexpr int64_t kMostResidualStreams = 16;           // of hyper-connections
inline constexpr int64_t kMaxCompression = int64_t{1} << 16;  // positions of an entry

// Far above every published model, far below overflow: rows that the heads of a layer have together, floats that a
// token makes in one step, values of one slot's weights, rows and values of the whole model.
inline constexpr int64_t kMaxRows = int64_t{1} << 20;
inline constexpr int64_t kMaxFloats = int64_t{1} << 28;
inline constexpr int64_t kMaxSlotValues = int64_t{1} << 42;
inline constexpr int64_t kMaxModelRows = int64_t{1} << 28;
inline constexpr int64_t kMaxModelValues = int64_t{1} << 48;

// kInvalid names `source`, the layer, what was found and what was expected.
Status check_spec(const ModelSpec& spec, const std::string& source);

}  // namespace kinglet
