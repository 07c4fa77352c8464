// Mixes: which type each tensor of a file gets when the whole is called "Q4_K_M". The choices are llama.cpp's, so that
// files of one name are of one size and kind wherever they were made. It looks at names and shapes, never at values.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"

namespace kinglet::convert {

struct Mix {
  std::string_view name;  // "Q4_K_M"
  DType base;             // of most matrices
  uint32_t file_type;     // general.file_type
};
std::span<const Mix> all_mixes();
// By name, upper or lower case. kInvalid names the nearest.
Result<Mix> find_mix(std::string_view name);

// What a mix depends on beside the tensors.
struct MixFacts {
  std::string architecture;
  int64_t layers = 0, experts = 0;
  int64_t heads_per_kv_head = 1;
  bool has_importance = false;
};

struct MixTensor {
  std::string name;
  std::vector<int64_t> shape;  // outermost first
  DType type = DType::kF32;    // as it is now
};

// "PATTERN=TYPE": the tensors whose name holds PATTERN ("*" stands for anything) get TYPE.
struct TypeOverride {
  std::string pattern;
  DType type = DType::kF32;
};
Result<TypeOverride> parse_override(const std::string& text);

// A type for every tensor, in their order. What must not be quantised (vectors, norms, routers) keeps its own; rows
// that don't fit a type's block get the type that stands in for it. kInvalid where an override fits no tensor.
Result<std::vector<DType>> choose_types(const Mix& mix, const MixFacts& facts, std::span<const MixTensor> tensors,
                                        std::span<const TypeOverride> overrides);

}  // namespace kinglet::convert
