// Where the golden tests of this folder find their files, and how they compare. For tests only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/models.h"

namespace kinglet::golden {

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::filesystem::path folder() {
  return std::filesystem::path(KINGLET_SOURCE_DIR) / "tests" / "golden" / "text";
}

// The big models: never committed; fetched by ./test. Does not exist where the test level leaves the model out.
inline std::filesystem::path model(const std::string& name) {
  return test::find_model(name);
}

// Tokenizers out of Python packages: tests/golden/text/fetch_tokenizers.py.
inline std::filesystem::path tokenizer_folder(const std::string& name) {
  return test::models_folder() / "tokenizers" / name;
}

// Other people's chat templates: tests/golden/text/fetch_templates.py.
inline std::filesystem::path third_party_template(const std::string& name) {
  return test::models_folder() / "templates" / (name + ".jinja");
}

inline uint64_t fnv(std::span<const unsigned char> bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char byte : bytes) hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

inline std::string hex(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof(text), "%llx", static_cast<unsigned long long>(value));
  return text;
}

inline std::string hash_text(std::string_view text) {
  return hex(fnv({reinterpret_cast<const unsigned char*>(text.data()), text.size()}));
}

inline std::string hash_ids(std::span<const int32_t> ids) {
  return hex(fnv({reinterpret_cast<const unsigned char*>(ids.data()), ids.size_bytes()}));
}

inline std::vector<std::string> texts() {
  std::vector<std::string> texts;
  std::ifstream file(folder() / "texts.jsonl");
  for (std::string line; std::getline(file, line);) texts.push_back(nlohmann::json::parse(line).get<std::string>());
  return texts;
}

}  // namespace kinglet::golden
