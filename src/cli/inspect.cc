// kinglet inspect MODEL
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/memory.h"
#include "base/threads.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/json_text.h"
#include "cli/layer_report.h"
#include "cli/model_flags.h"
#include "cli/plan_report.h"
#include "cli/terminal.h"
#include "families/family.h"
#include "families/pooling.h"
#include "nn/model.h"
#include "text/chat_template.h"

namespace kinglet::cli {
namespace {

using nlohmann::ordered_json;

struct InspectFlags {
  ModelFlags model;
  std::string plan_type = "Q4_K_M";  // --type, with --plan
  bool tensors = false, metadata = false, json = false, plan = false;
};

ordered_json value_to_json(const MetadataValue& value) {
  return std::visit([](const auto& v) { return ordered_json(v); }, value);
}

// One line of a metadata value: long arrays and texts are cut.
std::string brief(const MetadataValue& value) {
  const ordered_json json = value_to_json(value);
  std::string text = json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  if (json.is_array() && json.size() > 8) text = fmt::format("[{} entries] {}", json.size(), text);
  constexpr size_t kLongest = 100;
  if (text.size() > kLongest) {
    size_t cut = kLongest;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) cut--;
    text = text.substr(0, cut) + "…";
  }
  return text;
}

// Facts about a model, gathered once and shown in either form.
struct Facts {
  std::shared_ptr<const Checkpoint> checkpoint;
  std::optional<BoundModel> bound;  // absent for a vocabulary alone
  MemoryPlan plan;
  ModelOptions options;
  IsaLevel isa = IsaLevel::kPortable;
  std::map<std::string, std::pair<int, uint64_t>> types;  // type -> tensors, bytes
  int64_t parameters = 0;
  std::string tokenizer = "none";
  bool has_template = false;
  std::optional<Pooling> pooling;  // of states into embeddings
};

Result<Facts> gather(const InspectFlags& flags) {
  Facts f;
  KL_TRY(f.options, model_options(flags.model));
  KL_TRY(f.isa, choose_isa_level(flags.model.isa));
  KL_TRY(f.checkpoint, open_model(flags.model.model, {.vocabulary_only = true}));
  for (const TensorView& t : f.checkpoint->tensors) {
    auto& [count, bytes] = f.types[std::string(dtype_info(t.dtype).name)];
    count++;
    bytes += t.stored_bytes();
    f.parameters += t.elements();
  }
  if (!f.checkpoint->tensors.empty()) {
    KL_TRY(f.bound, bind_model(*f.checkpoint));
    KL_TRY(f.plan, plan_memory(*f.checkpoint, f.options));
    KL_TRY(f.pooling, stated_pooling(*f.checkpoint));
  }
  if (const auto tokenizer = Tokenizer::from_checkpoint(*f.checkpoint); tokenizer.ok()) {
    f.tokenizer = fmt::format("{}, {} tokens", (*tokenizer)->kind(), (*tokenizer)->vocab_size());
  } else if (tokenizer.error().code != ErrorCode::kNotFound) {
    f.tokenizer = "unusable: " + tokenizer.error().message;
  }
  f.has_template = ChatTemplate::from_checkpoint(*f.checkpoint).ok();
  return f;
}

int64_t planned_context(const Facts& f) {
  return f.options.context > 0 ? f.options.context : f.bound->spec.context;
}

size_t tensors_used(const Facts& f) {
  return f.checkpoint->tensors.size() - f.bound->kept.size() - f.bound->ignored.size();
}

ordered_json groups_json(const ModelSpec& spec) {
  ordered_json groups = ordered_json::array();
  for (const LayerGroup& group : layer_groups(spec)) groups.push_back({{"layers", group.layers}, {"what", group.what}});
  return groups;
}

ordered_json spec_json(const Facts& f) {
  const ModelSpec& s = f.bound->spec;
  const AttentionSpec& a = s.layers.front().attention;
  return {{"family", s.family},
          {"architecture", s.architecture},
          {"layers", s.layers.size()},
          {"width", s.width},
          {"vocabulary", s.vocabulary},
          {"context", s.context},
          {"heads", a.heads},
          {"kv_heads", a.kv_heads},
          {"head_dim", a.head_dim},
          {"ffn", s.layers.front().ffn.hidden},
          {"tied_embeddings", s.tied_embeddings},
          {"encoder", s.is_encoder()},
          {"labels", s.labels},
          {"pooling", f.pooling ? ordered_json(pooling_name(*f.pooling)) : ordered_json()},
          {"layer_groups", groups_json(s)},
          {"used_tensors", tensors_used(f)},
          {"kept_for_speculation", f.bound->kept},
          {"ignored_tensors", f.bound->ignored}};
}

ordered_json plan_json(const Facts& f) {
  return {{"weight_bytes", f.plan.weight_bytes},
          {"kv_bytes_per_token", f.plan.kv_bytes_per_token},
          {"page_bytes", f.plan.page_bytes},
          {"rope_bytes", f.plan.rope_bytes},
          {"state_bytes", f.plan.state_bytes},
          {"working_bytes", f.plan.working_bytes},
          {"available_bytes", available_memory_bytes()}};
}

std::string as_json(const Facts& f, const InspectFlags& flags) {
  ordered_json out = {{"path", f.checkpoint->path},
                      {"format", f.checkpoint->format == CheckpointFormat::kGguf ? "gguf" : "huggingface"},
                      {"parameters", f.parameters},
                      {"tensor_bytes", f.checkpoint->total_bytes},
                      {"tokenizer", f.tokenizer},
                      {"chat_template", f.has_template},
                      {"isa", isa_name(f.isa)},
                      {"compute", flags.model.compute},
                      {"kv", flags.model.kv}};
  for (const auto& [type, facts] : f.types) out["types"][type] = {{"tensors", facts.first}, {"bytes", facts.second}};
  if (!f.checkpoint->quantisation.empty()) out["quantisation"] = f.checkpoint->quantisation;
  if (f.bound) {
    out["spec"] = spec_json(f);
    out["memory"] = plan_json(f);
  }
  if (flags.metadata)
    for (const auto& [key, value] : f.checkpoint->metadata.values()) out["metadata"][key] = value_to_json(value);
  if (flags.tensors) {
    out["tensors"] = ordered_json::array();
    for (const TensorView& t : f.checkpoint->tensors)
      out["tensors"].push_back({{"name", t.name}, {"type", dtype_info(t.dtype).name}, {"shape", t.shape}});
  }
  return json_text(out, 2);
}

std::string as_text(const Facts& f, const InspectFlags& flags) {
  std::string out = fmt::format("{}\n", f.checkpoint->path);
  auto line = [&out](const char* name, const std::string& value) { out += fmt::format("  {:<16} {}\n", name, value); };
  line("format", f.checkpoint->format == CheckpointFormat::kGguf ? "GGUF" : "Hugging Face folder");
  std::string types;
  for (const auto& [type, facts] : f.types)
    types += fmt::format("{}{} × {} ({})", types.empty() ? "" : ", ", facts.first, type, human_bytes(facts.second));
  line("tensors", types.empty() ? "none (a vocabulary)" : types);
  if (!f.checkpoint->quantisation.empty()) line("quantisation", f.checkpoint->quantisation);
  line("parameters", fmt::format("{:.1f} million", static_cast<double>(f.parameters) / 1e6));
  line("tokenizer", f.tokenizer);
  line("chat template", f.has_template ? "yes" : "no");
  if (f.bound) {
    const ModelSpec& s = f.bound->spec;
    const AttentionSpec& a = s.layers.front().attention;
    line("family", fmt::format("{} (architecture {})", s.family, s.architecture));
    line("shape", fmt::format("{} layers, width {}, {} heads of {} sharing {} key/value heads, ffn {}, vocabulary {}{}",
                              s.layers.size(), s.width, a.heads, a.head_dim, a.kv_heads, s.layers.front().ffn.hidden,
                              s.vocabulary, s.tied_embeddings ? ", tied embeddings" : ""));
    line("context", fmt::format("{} tokens", s.context));
    if (s.is_encoder()) line("encoder", fmt::format("learned places, {} token types", s.encoder.token_types));
    if (f.pooling) line("pooling", std::string(pooling_name(*f.pooling)));
    if (s.labels > 0) line("labels", std::to_string(s.labels));
    for (const LayerGroup& group : layer_groups(s)) line(("layers " + group.layers).c_str(), group.what);
    line("used tensors", fmt::format("{}", tensors_used(f)));
    if (!f.bound->kept.empty()) line("for speculation", fmt::format("{}", fmt::join(f.bound->kept, ", ")));
    if (!f.bound->ignored.empty()) line("unused tensors", fmt::format("{}", fmt::join(f.bound->ignored, ", ")));
    out += "memory plan\n";
    line("weights", human_bytes(f.plan.weight_bytes));
    line("KV cache",
         fmt::format("{} a token ({}), {} for {} tokens", human_bytes(f.plan.kv_bytes_per_token), flags.model.kv,
                     human_bytes(f.plan.kv_bytes_per_token * static_cast<uint64_t>(planned_context(f))),
                     planned_context(f)));
    if (f.plan.state_bytes > 0) line("recurrent state", fmt::format("{} a sequence", human_bytes(f.plan.state_bytes)));
    line("rotary tables", human_bytes(f.plan.rope_bytes));
    line("working memory", human_bytes(f.plan.working_bytes));
    line("available", human_bytes(available_memory_bytes()));
  }
  out += "this machine\n";
  line("instruction set", std::string(isa_name(f.isa)));
  line("compute", flags.model.compute);
  line("threads", std::to_string(flags.model.threads ? flags.model.threads : default_thread_count()));
  if (flags.metadata) {
    out += "metadata\n";
    for (const auto& [key, value] : f.checkpoint->metadata.values())
      out += fmt::format("  {} = {}\n", key, brief(value));
  }
  if (flags.tensors) {
    out += "tensors\n";
    for (const TensorView& t : f.checkpoint->tensors)
      out += fmt::format("  {:<48} {:<8} [{}]\n", t.name, dtype_info(t.dtype).name, fmt::join(t.shape, ", "));
  }
  return out;
}

Result<int> inspect(const InspectFlags& flags) {
  if (flags.plan) {
    KL_TRY(const ModelOptions options, model_options(flags.model));
    KL_TRY(const std::string report,
           plan_report(flags.model.model, flags.plan_type, flags.model.kv, options, flags.json));
    return write_out(report) ? kExitOk : kExitBrokenPipe;
  }
  KL_TRY(const Facts facts, gather(flags));
  return write_out(flags.json ? as_json(facts, flags) : as_text(facts, flags)) ? kExitOk : kExitBrokenPipe;
}

}  // namespace

void add_inspect(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("inspect", "Show what a model is and what memory it needs");
  auto flags = std::make_shared<InspectFlags>();
  command->add_option("MODEL", flags->model.model, "The model")->required();
  CLI::Option* plan =
      command->add_flag("--plan", flags->plan, "MODEL is a config.json alone: what the model would need");
  command
      ->add_option("--type", flags->plan_type, "With --plan: the type of the weights, as kinglet quantize names them")
      ->needs(plan)
      ->capture_default_str();
  command->add_flag("--tensors", flags->tensors, "List every tensor");
  command->add_flag("--metadata", flags->metadata, "List all metadata");
  command->add_flag("--json", flags->json, "Print a JSON object");
  add_compute_flags(*command, flags->model);
  command->footer(examples({"kinglet inspect smollm2", "kinglet inspect model.gguf --tensors",
                            "kinglet inspect smollm2 --json --ctx 4096 --kv q8_0",
                            "kinglet inspect --plan config.json --type Q4_K_M --ctx 32768"}));
  command->callback([&invocation, flags] { invocation.action = [flags] { return inspect(*flags); }; });
}

}  // namespace kinglet::cli
