#include "cli/plan_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/files.h"
#include "cli/json_text.h"
#include "cli/layer_report.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "convert/mix.h"
#include "families/outline.h"
#include "formats/config_json.h"
#include "nn/plan.h"

namespace kinglet::cli {
namespace {

constexpr const char* kActiveMeans = "all but the experts that a token does not use; the embedding is in whole";

struct Plan {
  std::string path, type, kv;
  Outline outline;
  ParameterCount count;
  uint64_t file_bytes = 0;
  MemoryPlan memory;
  int64_t context = 0;

  uint64_t kv_bytes() const { return memory.kv_bytes_per_token * static_cast<uint64_t>(context); }
  uint64_t total() const {
    return memory.weight_bytes + kv_bytes() + memory.state_bytes + memory.rope_bytes + memory.working_bytes;
  }
  double bits() const {
    return 8.0 * static_cast<double>(file_bytes) / static_cast<double>(count.parameters + count.buffers);
  }
};

Result<Checkpoint> bare_configuration(const std::string& path) {
  const bool folder = std::filesystem::is_directory(path);
  Checkpoint checkpoint;
  checkpoint.format = CheckpointFormat::kHuggingFace;
  checkpoint.path = path;
  const std::string file = folder ? (std::filesystem::path(path) / "config.json").string() : path;
  KL_TRY(const std::string text, folder ? read_own_file(file) : read_text_file(file));
  KL_TRY(checkpoint.metadata, flatten_config(text, file));
  return checkpoint;
}

// Gives every tensor the type that a file called `type` would have it in.
Status choose_types(const std::string& type, Plan& plan) {
  KL_TRY(const convert::Mix mix, convert::find_mix(type));
  plan.type = mix.name;
  const BoundModel& bound = plan.outline.bound;
  convert::MixFacts facts;
  facts.architecture = bound.family->gguf_architectures.empty() ? "llama" : bound.family->gguf_architectures.front();
  facts.layers = std::ssize(bound.spec.layers);
  for (const LayerSpec& layer : bound.spec.layers) facts.experts = std::max(facts.experts, layer.ffn.moe.experts);
  const LayerSpec& first = bound.spec.layers.front();
  facts.heads_per_kv_head =
      first.mixer == Mixer::kLatentAttention ? first.attention.heads : first.attention.heads / first.attention.kv_heads;
  std::vector<convert::MixTensor> tensors;
  for (const TensorView& view : plan.outline.tensors) tensors.push_back({view.name, view.shape, view.dtype});
  KL_TRY(const std::vector<DType> types, convert::choose_types(mix, facts, tensors, {}));
  for (size_t i = 0; i < types.size(); i++) {
    TensorView& view = plan.outline.tensors[i];
    view.dtype = types[i];
    plan.file_bytes +=
        static_cast<uint64_t>(view.rows()) * row_bytes(view.dtype, static_cast<uint64_t>(view.columns()));
  }
  return {};
}

std::string billions(int64_t n) {
  return fmt::format("{:.2f} billion ({})", static_cast<double>(n) / 1e9, n);
}

std::string as_json(const Plan& p) {
  const ModelSpec& s = p.outline.bound.spec;
  nlohmann::ordered_json out = {{"path", p.path},
                                {"family", s.family},
                                {"layers", nlohmann::ordered_json::array()},
                                {"parameters", p.count.parameters},
                                {"active_parameters", p.count.active},
                                {"active_means", kActiveMeans},
                                {"buffers", p.count.buffers},
                                {"prediction_layers", s.prediction_layers},
                                {"prediction_parameters", p.count.prediction},
                                {"type", p.type},
                                {"file_bytes", p.file_bytes},
                                {"bits_per_weight", p.bits()},
                                {"kv", p.kv},
                                {"context", p.context},
                                {"weight_bytes", p.memory.weight_bytes},
                                {"kv_bytes_per_token", p.memory.kv_bytes_per_token},
                                {"kv_bytes", p.kv_bytes()},
                                {"state_bytes", p.memory.state_bytes},
                                {"rope_bytes", p.memory.rope_bytes},
                                {"working_bytes", p.memory.working_bytes},
                                {"total_bytes", p.total()}};
  for (const LayerGroup& group : layer_groups(s))
    out["layers"].push_back({{"layers", group.layers}, {"what", group.what}});
  return json_text(out, 2);
}

std::string as_text(const Plan& p) {
  const ModelSpec& s = p.outline.bound.spec;
  std::string out = fmt::format("{}\n", p.path);
  auto line = [&out](const std::string& name, const std::string& value) {
    out += fmt::format("  {:<16} {}\n", name, value);
  };
  line("family", s.family);
  line("shape", fmt::format("{} layers, width {}, vocabulary {}{}", s.layers.size(), s.width, s.vocabulary,
                            s.tied_embeddings ? ", tied embeddings" : ""));
  for (const LayerGroup& group : layer_groups(s)) line("layers " + group.layers, group.what);
  line("parameters", billions(p.count.parameters));
  line("active", fmt::format("{} a token: {}", billions(p.count.active), kActiveMeans));
  if (p.count.buffers > 0)
    line("buffers", fmt::format("{} (biases and tables for the selection of experts)", p.count.buffers));
  if (s.prediction_layers > 0)
    line("prediction", fmt::format("{} more in {} layers that predict further tokens", billions(p.count.prediction),
                                   s.prediction_layers));
  out += fmt::format("plan for {} and {} tokens\n", p.type, p.context);
  line("file", fmt::format("{}, {:.2f} bits a weight", human_bytes(p.file_bytes), p.bits()));
  line("weights", human_bytes(p.memory.weight_bytes) + " as packed in memory");
  line("KV cache", fmt::format("{} a token ({}), {} for the context", human_bytes(p.memory.kv_bytes_per_token), p.kv,
                               human_bytes(p.kv_bytes())));
  if (p.memory.state_bytes > 0)
    line("recurrent state", fmt::format("{} a sequence", human_bytes(p.memory.state_bytes)));
  line("rotary tables", human_bytes(p.memory.rope_bytes));
  line("working memory", human_bytes(p.memory.working_bytes));
  line("total", human_bytes(p.total()));
  return out;
}

}  // namespace

Result<std::string> plan_report(const std::string& path, const std::string& type, const std::string& kv,
                                const ModelOptions& options, bool json) {
  Plan plan;
  plan.path = path;
  plan.kv = kv;
  KL_TRY(const Checkpoint configuration, bare_configuration(path));
  KL_TRY(plan.outline, outline_model(configuration));
  plan.count = count_parameters(plan.outline.bound);
  KL_RETURN_IF_ERROR(choose_types(type, plan));
  KL_TRY(plan.memory, plan_memory(plan.outline.bound, options));
  plan.context = options.context > 0 ? options.context : plan.outline.bound.spec.context;
  return json ? as_json(plan) : as_text(plan);
}

}  // namespace kinglet::cli
