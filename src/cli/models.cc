// kinglet pull, list, rm
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/json_text.h"
#include "cli/model_flags.h"
#include "cli/preset.h"
#include "cli/terminal.h"
#include "hub/short_names.h"
#include "hub/store.h"

namespace kinglet::cli {
namespace {

Result<int> pull_model(const std::string& model) {
  KL_TRY(const std::string path, locate_model(model));
  return write_out(path + "\n") ? kExitOk : kExitBrokenPipe;
}

nlohmann::json facts_of(const StoredModel& model) {
  nlohmann::json files = nlohmann::json::array();
  for (const StoredFile& file : model.files)
    files.push_back({{"name", file.name}, {"size", file.size}, {"sha256", file.sha256}});
  return {{"name", model.name},
          {"source", model.source},
          {"revision", model.revision},
          {"bytes", model.total_bytes()},
          {"created", model.created},
          {"path", model.path()},
          {"files", files}};
}

Result<int> list_models(bool as_json) {
  KL_TRY(const Store store, Store::open_default());
  KL_TRY(const StoreListing listing, store.list());
  for (const BrokenModel& broken : listing.broken) note(broken.message);
  std::string out;
  if (as_json) {
    nlohmann::json all = nlohmann::json::array();
    for (const StoredModel& model : listing.models) all.push_back(facts_of(model));
    out = json_text(all);
  } else if (listing.models.empty() && listing.broken.empty()) {
    note("the store " + store.root() + " holds no models; `kinglet pull smollm2` fetches a small one");
  } else if (!listing.models.empty()) {
    out = fmt::format("{:<36} {:>9}  {:<16} {}\n", "NAME", "SIZE", "PULLED", "SOURCE");
    for (const StoredModel& model : listing.models)
      out += fmt::format("{:<36} {:>9}  {:%Y-%m-%d %H:%M} {}\n", model.name, human_bytes(model.total_bytes()),
                         fmt::localtime(static_cast<time_t>(model.created)), model.source);
  }
  return write_out(out) ? kExitOk : kExitBrokenPipe;
}

Result<int> remove_models(const std::vector<std::string>& names) {
  KL_TRY(Store store, Store::open_default());
  for (const std::string& name : names) {
    KL_TRY(const uint64_t freed, store.remove(name));
    note(fmt::format("removed {}, {} freed", name, human_bytes(freed)));
  }
  return kExitOk;
}

Status verify_model(const Store& store, const std::string& name) {
  KL_TRY(const StoredModel model, store.find(name));
  ProgressBar bar("verifying " + name);
  const CancelOnInterrupt cancel;
  const auto progress = [&bar](uint64_t done, uint64_t total) {
    bar.update(static_cast<double>(done) / static_cast<double>(std::max<uint64_t>(total, 1)));
  };
  KL_RETURN_IF_ERROR(store.verify(model, progress, cancel.flag()));
  bar.clear();
  const bool told = write_out(fmt::format("{}: all {} files as pulled\n", name, model.files.size()));
  return told ? Status() : Status(Error{ErrorCode::kIo, "standard output: cannot be written"});
}

// All of them, also after one that is broken; an error tells of each.
Result<int> verify_models(std::vector<std::string> names) {
  KL_TRY(const Store store, Store::open_default());
  if (names.empty()) {
    KL_TRY(const StoreListing listing, store.list());
    for (const StoredModel& model : listing.models) names.push_back(model.name);
    for (const BrokenModel& model : listing.broken) names.push_back(model.name);
  }
  std::optional<Error> first;
  for (const std::string& name : names) {
    const Status status = verify_model(store, name);
    if (status.ok()) continue;
    if (status.error().code == ErrorCode::kCancelled || output_failure() != 0) return status.error();
    if (first) first->message += "\n" + status.error().message;
    if (!first) first = status.error();
  }
  if (first) return *first;
  return kExitOk;
}

}  // namespace

void add_models(CLI::App& app, Invocation& invocation) {
  auto model = std::make_shared<std::string>();
  CLI::App* pull_command = app.add_subcommand("pull", "Fetch a model into the store and print where it lies");
  auto* pulled = pull_command->add_option("MODEL", *model, "What to fetch (default: smollm2)");
  pull_command->footer(examples({"kinglet pull qwen3:0.6b", "kinglet pull hf:org/repo:Q4_K_M@main",
                                 "HF_TOKEN=... kinglet pull org/private-repo"}));
  pull_command->callback([&invocation, model, pulled] {
    if (pulled->count() == 0) *model = kDefaultModel;
    invocation.action = [model] { return pull_model(*model); };
  });

  auto as_json = std::make_shared<bool>(false);
  CLI::App* list_command = app.add_subcommand("list", "List the models in the store");
  list_command->alias("ls");
  list_command->add_flag("--json", *as_json, "Print a JSON array");
  list_command->footer(examples({"kinglet list", "kinglet list --json"}));
  list_command->callback([&invocation, as_json] { invocation.action = [as_json] { return list_models(*as_json); }; });

  auto names = std::make_shared<std::vector<std::string>>();
  CLI::App* remove = app.add_subcommand("rm", "Remove models from the store");
  remove->add_option("MODEL", *names, "Names as `kinglet list` shows them")->required();
  remove->footer(examples({"kinglet rm qwen3:0.6b"}));
  remove->callback([&invocation, names] { invocation.action = [names] { return remove_models(*names); }; });

  CLI::App* verify = app.add_subcommand("verify", "Read the store's models and compare their checksums");
  verify->add_option("MODEL", *names, "Names as `kinglet list` shows them (default: all)");
  verify->footer(examples({"kinglet verify", "kinglet verify smollm2"}));
  verify->callback([&invocation, names] { invocation.action = [names] { return verify_models(*names); }; });
}

}  // namespace kinglet::cli
