// A committed table of hashes, a row a model and a column a mode: compared with, or written anew where
// KINGLET_WRITE_HASHES is set.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "nn/model.h"

namespace kinglet::test {

struct Mode {
  const char* name;
  ComputeMode compute;
  KvType kv;
};
inline constexpr Mode kModes[] = {{"int8/f16", ComputeMode::kInt8, KvType::kF16},
                                  {"int8/q8_0", ComputeMode::kInt8, KvType::kQ8_0},
                                  {"f32/f32", ComputeMode::kF32, KvType::kF32}};

// `values_of(mode)`: what the model computes in that mode.
void check_hashes(const char* table_path, const std::string& model,
                  const std::function<std::vector<float>(const Mode&)>& values_of);

}  // namespace kinglet::test
