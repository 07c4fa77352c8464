// kinglet bench MODEL | --limits
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/system.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/json_text.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "eval/speed.h"
#include "hub/short_names.h"
#include "kernels/limits.h"

namespace kinglet::cli {
namespace {

using nlohmann::ordered_json;

struct BenchFlags {
  ModelFlags model;
  std::vector<int64_t> prompts = {128, 512}, generations = {64}, depths = {0}, batches = {1};
  int repetitions = 5;
  std::string output = "table";
  bool limits = false;
};

std::vector<SpeedTest> plan_tests(const BenchFlags& flags) {
  std::vector<SpeedTest> tests;
  for (int64_t depth : flags.depths)
    for (int64_t batch : flags.batches) {
      for (int64_t p : flags.prompts)
        if (p > 0) tests.push_back({SpeedTest::Kind::kPrompt, p, depth, batch});
      for (int64_t n : flags.generations)
        if (n > 0) tests.push_back({SpeedTest::Kind::kGeneration, n, depth, batch});
    }
  return tests;
}

ordered_json result_json(const BenchFlags& flags, const Model& model, const SpeedResult& r) {
  const ResidentMemory held = resident_memory();
  return {{"model", flags.model.model},
          {"test", r.test.name()},
          {"depth", r.test.depth},
          {"batch", r.test.batch},
          {"threads", model.threads()},
          {"isa", isa_name(model.isa())},
          {"compute", flags.model.compute},
          {"kv", flags.model.kv},
          {"weight_bytes_per_token", model.weight_bytes_per_token()},
          {"tokens_per_second", {{"median", r.median}, {"min", r.min}, {"max", r.max}}},
          {"resident_bytes", {{"peak", held.peak}, {"anonymous", held.anonymous}, {"file", held.file}}}};
}

Result<int> bench_model(const BenchFlags& flags) {
  const std::vector<SpeedTest> tests = plan_tests(flags);
  if (tests.empty()) return Error{ErrorCode::kInvalid, "nothing to measure: give -p or -n a number above 0"};
  int64_t longest = 0;
  for (const SpeedTest& test : tests) longest = std::max(longest, test.depth + test.tokens);
  KL_TRY(const auto checkpoint, open_model(flags.model.model));
  KL_TRY(const auto model, start_step_model(checkpoint, flags.model, longest));
  const Model& facts = *model->model();
  const bool table = flags.output == "table";
  ordered_json all = ordered_json::array();
  if (table) {
    const std::string head = fmt::format(
        "{}\n{}, {} threads, compute {}, KV {}, {} of weights read a token\n{:>8} {:>7} {:>5} {:>10} {:>22}\n",
        flags.model.model, isa_name(facts.isa()), facts.threads(), flags.model.compute, flags.model.kv,
        human_bytes(facts.weight_bytes_per_token()), "test", "depth", "batch", "tokens/s", "min .. max");
    if (!write_out(head)) return kExitBrokenPipe;
  }
  ProgressBar bar("measuring");
  for (size_t i = 0; i < tests.size(); i++) {
    bar.update(static_cast<double>(i) / static_cast<double>(tests.size()), {tests[i].name()});
    KL_TRY(const SpeedResult r,
           measure_speed(*model, tests[i], flags.repetitions, [] { return !interrupted() && !terminated(); }));
    bar.clear();
    if (!table) {
      all.push_back(result_json(flags, facts, r));
    } else if (!write_out(fmt::format("{:>8} {:>7} {:>5} {:>10.2f} {:>22}\n", r.test.name(), r.test.depth, r.test.batch,
                                      r.median, fmt::format("{:.2f} .. {:.2f}", r.min, r.max)))) {
      return kExitBrokenPipe;
    }
  }
  if (table && !write_out(fmt::format("{:>8} {}\n", "memory", human_bytes(resident_memory().peak) + " at most")))
    return kExitBrokenPipe;
  if (!table && !write_out(json_text(all, 2))) return kExitBrokenPipe;
  return kExitOk;
}

Result<int> bench_limits(const BenchFlags& flags) {
  KL_TRY(const IsaLevel level, choose_isa_level(flags.model.isa));
  ordered_json all = ordered_json::array();
  if (flags.output == "table" && !write_out(fmt::format("{:>8} {:>16} {:>14} {:>16}   instruction set {}\n", "threads",
                                                        "read GB/s", "int8 GOP/s", "float GFLOP/s", isa_name(level))))
    return kExitBrokenPipe;
  for (int threads : limit_thread_counts(flags.model.threads)) {
    if (interrupted() || terminated()) return Error{ErrorCode::kCancelled, "interrupted"};
    KL_TRY(const MachineLimits m, measure_limits(level, threads));
    all.push_back({{"threads", threads},
                   {"isa", isa_name(level)},
                   {"read_gb_per_second", m.read_gb_per_second},
                   {"int8_gop_per_second", m.int8_gop_per_second},
                   {"float_gflop_per_second", m.float_gflop_per_second}});
    if (flags.output == "table" &&
        !write_out(fmt::format("{:>8} {:>16.1f} {:>14.0f} {:>16.0f}\n", threads, m.read_gb_per_second,
                               m.int8_gop_per_second, m.float_gflop_per_second)))
      return kExitBrokenPipe;
  }
  if (flags.output == "json" && !write_out(json_text(all, 2))) return kExitBrokenPipe;
  return kExitOk;
}

}  // namespace

void add_bench(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("bench", "Measure a model's speed, or the machine's limits");
  auto flags = std::make_shared<BenchFlags>();
  auto* model = command->add_option("MODEL", flags->model.model, "The model");
  command->add_flag("--limits", flags->limits, "Measure the machine: read bandwidth, int8 and float peak")
      ->excludes(model);
  const auto list = [&](const char* names, std::vector<int64_t>& to, const char* help) {
    command->add_option(names, to, help)
        ->delimiter(',')
        ->allow_extra_args(false)
        ->check(CLI::Range(int64_t{0}, int64_t{1} << 24))
        ->capture_default_str();
  };
  list("-p,--prompt", flags->prompts, "Prompt lengths");
  list("-n,--generate", flags->generations, "Tokens to generate");
  list("-d,--depth", flags->depths, "Tokens in the cache before");
  list("-b,--batch", flags->batches, "Sequences at once");
  command->add_option("-r,--repetitions", flags->repetitions, "Repetitions; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("-o,--output", flags->output, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  add_compute_flags(*command, flags->model);
  command->footer(
      examples({"kinglet bench smollm2", "kinglet bench model.gguf -p 128,512 -n 64 -d 0,4096 -b 1,4,16 -r 5 -o json",
                "kinglet bench --limits"}));
  command->callback([&invocation, flags, model] {
    if (model->count() == 0) flags->model.model = kDefaultModel;
    invocation.action = [flags] { return flags->limits ? bench_limits(*flags) : bench_model(*flags); };
  });
}

}  // namespace kinglet::cli
