// The flags and steps that commands on a model share: which model, how it computes, getting it, opening it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/loader.h"
#include "formats/checkpoint.h"
#include "text/tokenizer.h"

namespace CLI {
class App;
}

namespace kinglet::cli {

struct ModelFlags {
  std::string model;
  std::string compute = "int8";
  std::string kv = "f16";
  std::string isa;
  int64_t context = 0;       // 0: decided by the loader
  int threads = 0;           // 0: one a core
  std::string memory_limit;  // "8GB"; empty: what is there
  std::string speculate = "auto";
  std::string draft;  // the drafting model; empty: none
  int64_t draft_tokens = SpeculationOptions{}.max_tokens;
};

// --ctx, --threads, --compute, --kv, --isa, --memory. MODEL itself is each command's own positional.
void add_compute_flags(CLI::App& command, ModelFlags& flags);
// --speculate, --draft, --draft-tokens: for commands that write text.
void add_speculation_flags(CLI::App& command, ModelFlags& flags);
Result<ModelOptions> model_options(const ModelFlags& flags);

// "512MB", "8GiB", "1000000" -> bytes.
Result<uint64_t> parse_bytes(const std::string& text);

// MODEL (a preset's name too) to the path of something that formats/ opens; pulls it first where necessary, with a bar.
Result<std::string> locate_model(const std::string& model);
// The same, opened.
Result<std::shared_ptr<const Checkpoint>> open_model(const std::string& model, const OpenOptions& options = {});

// The same for a command that writes `output`, which must be none of the model's files and none of `inputs`, the other
// files that the command reads (base/output_file.h).
Result<std::shared_ptr<const Checkpoint>> open_model_for(const std::string& output, const std::string& model,
                                                         std::vector<std::string> inputs = {});

// Tokenizer::encode() for texts that may be long: signals end the process meanwhile.
Result<std::vector<int32_t>> encode_text(const Tokenizer& tokenizer, std::string_view text,
                                         const EncodeOptions& options = {});

using LoadProgress = std::function<void(const char* stage, double fraction)>;
// Loads a model into an engine, for one conversation or more, with a bar (and `progress`), and says on standard error
// what is noteworthy.
Result<std::unique_ptr<Engine>> start_engine(std::shared_ptr<const Checkpoint> checkpoint, const ModelFlags& flags,
                                             int64_t max_sequences = 1, const LoadProgress& progress = {});
// The same without an engine, for logits and evaluation.
Result<std::unique_ptr<StepModel>> start_step_model(std::shared_ptr<const Checkpoint> checkpoint,
                                                    const ModelFlags& flags, int64_t context_needed);

// The same for a model's states alone (engine/embed.h).
Result<std::unique_ptr<Model>> start_state_model(std::shared_ptr<const Checkpoint> checkpoint, const ModelFlags& flags,
                                                 int64_t context_needed);

}  // namespace kinglet::cli
