// kinglet quantize IN OUT TYPE
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/gguf_report.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "convert/quantise_model.h"

namespace kinglet::cli {
namespace {

struct QuantizeFlags {
  std::string in, out, type, importance;
  std::vector<std::string> tensors;
  int threads = 0;
  bool json = false;
};

Result<convert::QuantiseOptions> options_of(const QuantizeFlags& flags) {
  convert::QuantiseOptions options;
  KL_TRY(options.mix, convert::find_mix(flags.type));
  for (const std::string& text : flags.tensors) {
    KL_TRY(auto override, convert::parse_override(text));
    options.overrides.push_back(std::move(override));
  }
  return options;
}

// Most matrices of a file that has been quantised to few bits before.
bool is_coarse(const Checkpoint& checkpoint) {
  uint64_t coarse = 0;
  for (const TensorView& tensor : checkpoint.tensors) {
    const DTypeInfo& info = dtype_info(tensor.dtype);
    if (info.block_values > 1 && info.block_bytes < info.block_values) coarse += tensor.data.size();
  }
  return coarse > checkpoint.total_bytes / 2;
}

Result<int> quantize(const QuantizeFlags& flags) {
  KL_TRY(convert::QuantiseOptions options, options_of(flags));
  KL_TRY(const auto checkpoint, open_model_for(flags.out, flags.in, {flags.importance}));
  if (checkpoint->format != CheckpointFormat::kGguf)
    return Error{ErrorCode::kUnsupported,
                 flags.in + ": found a Hugging Face folder, expected a GGUF file; kinglet convert --type " +
                     flags.type + " makes one of it"};
  convert::Importance importance;
  if (!flags.importance.empty()) {
    KL_TRY(importance, convert::Importance::read(flags.importance));
    options.importance = &importance;
  }
  if (is_coarse(*checkpoint) && dtype_info(options.mix.base).block_values > 1)
    note("IN is quantised already; quantising again loses more than doing it once from its original");
  ThreadPool pool(flags.threads);
  ProgressBar bar("quantizing");
  options.progress = [&bar](double share) {
    bar.update(share);
    return !interrupted() && !terminated();
  };
  KL_TRY(const convert::StreamReport report, convert::quantise_model(*checkpoint, flags.out, options, pool));
  bar.clear();
  return write_out(report_text(flags.out, options.mix.name, report, flags.json)) ? kExitOk : kExitBrokenPipe;
}

}  // namespace

void add_quantize(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("quantize", "Write a GGUF file with other tensor types");
  auto flags = std::make_shared<QuantizeFlags>();
  command->add_option("IN", flags->in, "The model: best one of F32, BF16, F16 or Q8_0")->required();
  command->add_option("OUT", flags->out, "The GGUF file to write")->required();
  command->add_option("TYPE", flags->type, "Q4_K_M, Q5_K_M, Q6_K, Q8_0, IQ4_XS, …")->required();
  add_type_flags(*command, flags->tensors, flags->importance);
  command->add_option("-t,--threads", flags->threads, "Threads (0: one a core)")->check(CLI::Range(0, 1024));
  command->add_flag("--json", flags->json, "Print a JSON object: types, bytes and errors of all tensors");
  command->footer(
      type_help() + "\n" +
      examples({"kinglet quantize model-f16.gguf model-q4.gguf Q4_K_M",
                "kinglet quantize model.gguf small.gguf IQ4_XS --imatrix model.imatrix",
                "kinglet quantize model.gguf out.gguf Q4_K_M --tensor attn_v=Q8_0 --tensor 'blk.0.*=Q6_K'"}));
  command->callback([&invocation, flags] { invocation.action = [flags] { return quantize(*flags); }; });
}

}  // namespace kinglet::cli
