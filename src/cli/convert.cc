// kinglet convert FOLDER OUT
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/gguf_report.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "convert/hf_to_gguf.h"
#include "families/family.h"
#include "families/pooling.h"

namespace kinglet::cli {
namespace {

struct ConvertFlags {
  std::string folder, out, type, importance, name, pre;
  std::vector<std::string> tensors;
  int threads = 0;
  bool json = false;
};

// GGUF has no key for the longest text that an embedding model is used with.
Status note_text_limit(const Checkpoint& checkpoint) {
  KL_TRY(const int64_t limit, stated_text_limit(checkpoint));
  if (limit == 0) return {};
  KL_TRY(const BoundModel model, bind_model(checkpoint));
  if (limit < model.spec.context)
    note(fmt::format(
        "max_seq_length of {} is left out: with the file, texts may have the {} tokens of the model's context", limit,
        model.spec.context));
  return {};
}

Result<int> convert_model(const ConvertFlags& flags) {
  convert::ConvertOptions options;
  options.name = flags.name;
  options.pre_tokenizer = flags.pre;
  options.keep_types = flags.type.empty();
  if (options.keep_types && (!flags.tensors.empty() || !flags.importance.empty()))
    return Error{ErrorCode::kInvalid, "--tensor and --imatrix: expected a --type beside them"};
  if (!options.keep_types) {
    KL_TRY(options.quantise.mix, convert::find_mix(flags.type));
  }
  for (const std::string& text : flags.tensors) {
    KL_TRY(auto override, convert::parse_override(text));
    options.quantise.overrides.push_back(std::move(override));
  }
  KL_TRY(const auto checkpoint, open_model_for(flags.out, flags.folder, {flags.importance}));
  convert::Importance importance;
  if (!flags.importance.empty()) {
    KL_TRY(importance, convert::Importance::read(flags.importance));
    options.quantise.importance = &importance;
  }
  ThreadPool pool(flags.threads);
  ProgressBar bar("converting");
  options.quantise.progress = [&bar](double share) {
    bar.update(share);
    return !interrupted() && !terminated();
  };
  KL_TRY(const convert::StreamReport report, convert::convert_folder(*checkpoint, flags.out, options, pool));
  bar.clear();
  if (checkpoint->side_files.tokenizer_json.empty())
    note("the folder has no tokenizer.json: the file has no tokenizer");
  KL_RETURN_IF_ERROR(note_text_limit(*checkpoint));
  if (!report.left_out.empty())
    note(fmt::format("{} tensors of layers that predict further tokens are left out, {} the first",
                     report.left_out.size(), report.left_out.front()));
  const std::string_view type = options.keep_types ? "types as stored" : options.quantise.mix.name;
  return write_out(report_text(flags.out, type, report, flags.json)) ? kExitOk : kExitBrokenPipe;
}

}  // namespace

void add_convert(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("convert", "Write a Hugging Face folder as one GGUF file");
  auto flags = std::make_shared<ConvertFlags>();
  command->add_option("FOLDER", flags->folder, "Holds config.json, *.safetensors and tokenizer.json")->required();
  command->add_option("OUT", flags->out, "The GGUF file to write")->required();
  command->add_option("--type", flags->type, "What the matrices become (default: they stay as they are)");
  add_type_flags(*command, flags->tensors, flags->importance);
  command->add_option("--name", flags->name,
                      "The model's name in the file (default: the folder's); Qwen3-Reranker is known by it");
  command->add_option("--pre", flags->pre, "Name of the pre-tokenizer (default: found out)");
  command->add_option("-t,--threads", flags->threads, "Threads (0: one a core)")->check(CLI::Range(0, 1024));
  command->add_flag("--json", flags->json, "Print a JSON object: types, bytes and errors of all tensors");
  command->footer(type_help() + "\n" +
                  examples({"kinglet convert Qwen3-0.6B qwen3-bf16.gguf",
                            "kinglet convert SmolLM2-135M smollm2-q8.gguf --type Q8_0",
                            "kinglet convert hf:Qwen/Qwen3-0.6B qwen3.gguf --type Q4_K_M --tensor output=Q8_0"}));
  command->callback([&invocation, flags] { invocation.action = [flags] { return convert_model(*flags); }; });
}

}  // namespace kinglet::cli
