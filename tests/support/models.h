// Where tests find real models. Not for programs: those have the model store (src/hub).
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace kinglet::test {

// The folder that ./test fetches into: build/test-models, or what KINGLET_TEST_MODELS names.
inline std::filesystem::path models_folder() {
  const char* folder = std::getenv("KINGLET_TEST_MODELS");
  return folder != nullptr ? folder : KINGLET_SOURCE_DIR "/build/test-models";
}

// The path of NAME.gguf (smollm2, qwen2.5-coder-0.5b, gemma3-270m: scripts/fetch_models.py) or of the folder NAME
// (minilm), empty when it isn't there.
// The bigger models are left alone where KINGLET_TEST_LEVEL is "default", so that ./test takes the same time whatever
// was fetched before.
inline std::string find_model(const std::string& name) {
  const char* level = std::getenv("KINGLET_TEST_LEVEL");
  if (level != nullptr && std::string(level) == "default" && name != "smollm2") return "";
  std::error_code ignored;
  for (const auto& path : {models_folder() / (name + ".gguf"), models_folder() / name})
    if (std::filesystem::exists(path, ignored)) return path.string();
  return "";
}

}  // namespace kinglet::test

// In a test body: skips loudly unless the model is there. `path` is a std::string to declare.
#define KINGLET_TEST_MODEL(path, name)                                                                   \
  const std::string path = ::kinglet::test::find_model(name);                                            \
  if (path.empty()) {                                                                                    \
    GTEST_SKIP() << "the model " << (name) << " is not here; it comes with ./test models or ./test full" \
                 << " (or set KINGLET_TEST_MODELS)";                                                     \
  }
