#include "tests/bits/hash_table.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>

#include "base/hash.h"

namespace kinglet::test {

void check_hashes(const char* table_path, const std::string& model,
                  const std::function<std::vector<float>(const Mode&)>& values_of) {
  std::ifstream file(table_path);
  auto table = file ? nlohmann::ordered_json::parse(file) : nlohmann::ordered_json::object();
  const bool writing = std::getenv("KINGLET_WRITE_HASHES") != nullptr;
  for (const Mode& mode : kModes) {
    const std::vector<float> values = values_of(mode);
    ASSERT_FALSE(values.empty()) << model << " " << mode.name;
    const std::string hash = xxh3_128(std::as_bytes(std::span(values))).hex();
    if (writing)
      table[model][mode.name] = hash;
    else
      EXPECT_EQ(hash, table.value(model, nlohmann::ordered_json::object()).value(mode.name, "no such row"))
          << model << " " << mode.name;
  }
  if (writing) std::ofstream(table_path) << table.dump(1) << "\n";
}

}  // namespace kinglet::test
