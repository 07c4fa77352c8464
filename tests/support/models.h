// Where tests find real models. Not for programs: those have the model store (src/hub).
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace kinglet::test {

// The path of NAME.gguf (smollm2, qwen2.5-coder-0.5b, gemma3-270m: scripts/fetch_models.py), empty when it isn't there.
// ./test fetches them into build/test-models; KINGLET_TEST_MODELS names another folder. The bigger models are left
// alone where KINGLET_TEST_LEVEL is "default", so that ./test takes the same time whatever was fetched before.
inline std::string find_model(const std::string& name) {
  const char* level = std::getenv("KINGLET_TEST_LEVEL");
  if (level != nullptr && std::string(level) == "default" && name != "smollm2") return "";
  const char* folder = std::getenv("KINGLET_TEST_MODELS");
  const std::string path =
      (folder != nullptr ? std::string(folder) : KINGLET_SOURCE_DIR "/build/test-models") + "/" + name + ".gguf";
  std::error_code ignored;
  return std::filesystem::exists(path, ignored) ? path : "";
}

}  // namespace kinglet::test

// In a test body: skips loudly unless the model is there. `path` is a std::string to declare.
#define KINGLET_TEST_MODEL(path, name)                                                                   \
  const std::string path = ::kinglet::test::find_model(name);                                            \
  if (path.empty()) {                                                                                    \
    GTEST_SKIP() << "the model " << (name) << " is not here; it comes with ./test models or ./test full" \
                 << " (or set KINGLET_TEST_MODELS)";                                                     \
  }
