// Writes the files that fuzzing of the readers starts from: make_seeds FOLDER (one folder a target is made in it).
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>

#include "base/dtype.h"
#include "formats/checkpoint.h"
#include "formats/test_files.h"
#include "text/tool_call_corpus.h"

namespace {

using namespace kinglet;
using namespace kinglet::testing_files;

void write(const std::filesystem::path& folder, const std::string& name, const std::string& contents) {
  std::filesystem::create_directories(folder);
  std::ofstream(folder / name, std::ios::binary) << contents;
}

void write_gguf(const std::filesystem::path& folder) {
  write(folder, "small", small_gguf().build());
  write(folder, "version2", small_gguf().version(2).build());
  write(folder, "split",
        GgufBuilder()
            .key<uint16_t>("split.no", GgufBuilder::kU16, 0)
            .key<uint16_t>("split.count", GgufBuilder::kU16, 2)
            .tensor("scalar", {}, 0, 0)
            .data("1234")
            .build());
  for (int64_t id = 0; id < 64; ++id) {  // a block of every type
    const auto type = dtype_from_ggml_id(id);
    if (!type) continue;
    const DTypeInfo& info = dtype_info(*type);
    write(folder, std::string(info.name),
          GgufBuilder()
              .key<uint32_t>("general.alignment", GgufBuilder::kU32, 8)
              .alignment(8)
              .tensor("t", {info.block_values}, static_cast<uint32_t>(id), 0)
              .data(std::string(info.block_bytes, '\x5a'))
              .build());
  }
}

std::string contents_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The golden folders of every scheme: config.json, a zero byte, the tensors.
void write_quantised(const std::filesystem::path& folder) {
  for (const auto& scheme : std::filesystem::directory_iterator(KINGLET_SOURCE_DIR "/tests/golden/formats/quantised")) {
    write(folder, scheme.path().filename().string(),
          contents_of(scheme.path() / "config.json") + '\0' + contents_of(scheme.path() / "model.safetensors"));
  }
}

// Configurations of the golden models and of the plans; and the keys of GGUF files, as JSON, without their
// vocabularies.
void write_specs(const std::filesystem::path& folder) {
  const std::filesystem::path golden = KINGLET_SOURCE_DIR "/tests/golden";
  for (const auto& model : std::filesystem::directory_iterator(golden / "models/hf"))
    write(folder, model.path().filename().string(), contents_of(model.path() / "config.json"));
  for (const auto& plan : std::filesystem::directory_iterator(golden / "plans/configs"))
    write(folder, plan.path().filename().string(), contents_of(plan.path()));
  for (const auto& model : std::filesystem::directory_iterator(golden / "models/gguf")) {
    const auto checkpoint = open_checkpoint(model.path().string());
    if (!checkpoint.ok()) continue;
    nlohmann::json keys;
    for (const auto& [key, value] : (*checkpoint)->metadata.values())
      if (!key.starts_with("tokenizer.")) std::visit([&, &name = key](const auto& v) { keys[name] = v; }, value);
    for (const TensorView& tensor : (*checkpoint)->tensors) keys["fuzz.tensors"].push_back(tensor.name);
    write(folder, model.path().filename().string(), keys.dump());
  }
}

// Answers of every format: the format's number, how to cut, the text.
void write_tool_calls(const std::filesystem::path& folder) {
  const auto& formats = tool_call_formats();
  int count = 0;
  for (const test::Example& example : test::examples()) {
    for (size_t i = 0; i < formats.size(); ++i) {
      if (formats[i].name != example.format) continue;
      std::string seed{static_cast<char>(i), '\x03'};
      write(folder, std::string(example.format) + std::to_string(count++), seed + std::string(example.text));
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  const std::filesystem::path root(argv[1]);
  write_gguf(root / "gguf_fuzz");
  write_quantised(root / "quantised_fuzz");
  write_specs(root / "spec_fuzz");
  write_tool_calls(root / "tool_calls_fuzz");
  write(root / "safetensors_fuzz", "small", small_safetensors());
  write(root / "safetensors_fuzz", "empty", safetensors("{}"));
  write(root / "config_json_fuzz", "config",
        R"({"a":1,"b":[1,2.5],"c":{"d":"x","e":[{"f":true},null]},"g":[],"h":-3,"i":1e-5,"j":18446744073709551615})");
  return 0;
}
