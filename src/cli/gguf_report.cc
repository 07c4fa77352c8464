#include "cli/gguf_report.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <nlohmann/json.hpp>

#include "cli/json_text.h"
#include "cli/terminal.h"
#include "convert/mix.h"

namespace kinglet::cli {
namespace {

using nlohmann::ordered_json;

struct TypeSum {
  int tensors = 0;
  uint64_t bytes = 0;
};
std::map<std::string, TypeSum> by_type(const convert::StreamReport& report) {
  std::map<std::string, TypeSum> types;
  for (const auto& tensor : report.tensors) {
    TypeSum& sum = types[std::string(dtype_info(tensor.to).name)];
    sum.tensors++;
    sum.bytes += tensor.bytes;
  }
  return types;
}

std::string report_json(const std::string& path, std::string_view type, const convert::StreamReport& report) {
  ordered_json tensors = ordered_json::array(), types;
  for (const auto& t : report.tensors)
    tensors.push_back({{"name", t.name},
                       {"from", dtype_info(t.from).name},
                       {"to", dtype_info(t.to).name},
                       {"bytes", t.bytes},
                       {"rmse", t.rmse},
                       {"relative_rmse", t.relative_rmse}});
  for (const auto& [name, sum] : by_type(report)) types[name] = {{"tensors", sum.tensors}, {"bytes", sum.bytes}};
  const ordered_json all = {
      {"file", path},   {"type", type},       {"bytes", report.file_bytes}, {"source_bytes", report.source_bytes},
      {"types", types}, {"tensors", tensors}, {"left_out", report.left_out}};
  return json_text(all);
}

}  // namespace

void add_type_flags(CLI::App& command, std::vector<std::string>& tensors, std::string& importance) {
  command.add_option("--tensor", tensors, "PATTERN=TYPE: matrices whose name holds PATTERN get TYPE; repeatable")
      ->allow_extra_args(false);
  command.add_option("--imatrix", importance, "Importance of columns, as kinglet imatrix writes it");
}

std::string type_help() {
  std::string text =
      "PATTERN may hold *, which stands for anything; of several, the first fitting one counts.\n\nTypes:\n ";
  for (const convert::Mix& mix : convert::all_mixes()) text += fmt::format(" {}", mix.name);
  return text + "\n";
}

std::string report_text(const std::string& path, std::string_view type, const convert::StreamReport& report,
                        bool json) {
  if (json) return report_json(path, type, report);
  std::string text = fmt::format("{}: {}, {} (tensors before: {})\n", path, type, human_bytes(report.file_bytes),
                                 human_bytes(report.source_bytes));
  for (const auto& [name, sum] : by_type(report))
    text += fmt::format("  {:<8} {:>5} tensors  {:>10}\n", name, sum.tensors, human_bytes(sum.bytes));
  return text;
}

}  // namespace kinglet::cli
