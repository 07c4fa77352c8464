// Metadata of any content as a family's: config.json, or with general.architecture the keys of a GGUF file, as JSON.
// It must give an error or a spec whose tensors can be laid out; binding them must end in an error too, since most are
// missing. "fuzz.tensors" names the few that are there.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "families/outline.h"
#include "formats/config_json.h"

namespace {

using namespace kinglet;

constexpr int64_t kSide = 64;  // of every tensor there is

void add_tensors(Checkpoint& checkpoint) {
  static const std::vector<std::byte> kZeros(kSide * kSide * sizeof(float));
  std::vector<std::string> names = {"token_embd.weight"};
  if (const auto listed = checkpoint.metadata.get_strings("fuzz.tensors"); listed.ok())
    names.insert(names.end(), listed->begin(), listed->end());
  for (const std::string& name : names) {
    TensorView view;
    view.name = name;
    view.shape = {kSide, kSide};
    view.data = kZeros;
    if (name.starts_with("rope_f")) {
      view.shape = {8};
      view.data = view.data.first(8 * sizeof(float));
    }
    checkpoint.tensors.push_back(view);
  }
  for (size_t i = 0; i < checkpoint.tensors.size(); i++) checkpoint.index.emplace(checkpoint.tensors[i].name, i);
}

// Some thousand layers are legal, take a while, and show nothing that some hundred don't.
bool slow(const Metadata& metadata) {
  constexpr int64_t kLayers = 128, kMostLayers = 4096;
  for (const auto& [key, value] : metadata.values()) {
    const bool counts_layers = key.ends_with("layers") || key.ends_with("block_count") || key.ends_with("n_layer");
    if (!counts_layers) continue;
    const auto count = metadata.get_int(key, 0, kMostLayers);
    if (count.ok() && *count > kLayers) return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto metadata = flatten_config(std::string_view(reinterpret_cast<const char*>(data), size), "config.json");
  if (!metadata.ok() || slow(*metadata)) return 0;
  Checkpoint checkpoint;
  checkpoint.path = "fuzz";
  const bool gguf = metadata->has("general.architecture");
  checkpoint.format = gguf ? CheckpointFormat::kGguf : CheckpointFormat::kHuggingFace;
  checkpoint.metadata = std::move(metadata).value();
  add_tensors(checkpoint);
  const auto bound = bind_model(checkpoint);
  KL_CHECK(bound.ok() || !bound.error().message.empty(), "an error without a message");
  if (gguf) return 0;
  const auto outline = outline_model(checkpoint);
  if (outline.ok()) KL_CHECK(count_parameters(outline->bound).parameters > 0, "a model without parameters");
  return 0;
}
