// kinglet preset save|show|list|rm, and the files behind them.
#include "cli/preset.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/files.h"
#include "cli/json_text.h"
#include "cli/model_flags.h"
#include "cli/suggest.h"
#include "cli/terminal.h"
#include "formats/json_bounded.h"

namespace kinglet::cli {
namespace {

using nlohmann::json;

// kNotFound where no home folder is known: without it a preset's path would begin at the root.
Result<std::string> preset_folder() {
  const std::string folder = config_folder();
  if (folder.empty())
    return Error{ErrorCode::kNotFound, "there is no folder for presets: neither HOME nor XDG_CONFIG_HOME is set"};
  return folder + "/presets";
}

Result<std::string> preset_path(const std::string& name) {
  KL_TRY(const std::string folder, preset_folder());
  return folder + "/" + name + ".json";
}

Status check_name(const std::string& name) {
  const bool fine =
      !name.empty() && name.size() <= 64 && name.front() != '.' &&
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == std::string::npos;
  if (fine) return {};
  return Error{ErrorCode::kInvalid, "preset name \"" + name + "\": expected 1 to 64 letters, digits, '.', '_' and '-'"};
}

// Each returns what was expected where the value is another one, or nothing.
std::string take(const json& value, std::string& to) {
  if (!value.is_string()) return "a text";
  to = value;
  return {};
}
std::string take(const json& value, bool& to) {
  if (!value.is_boolean()) return "true or false";
  to = value;
  return {};
}
std::string take(const json& value, uint64_t& to) {
  if (!value.is_number_unsigned()) return "a whole number from 0 to 18446744073709551615";
  to = value;
  return {};
}
std::string take(const json& value, std::vector<std::string>& to) {
  const bool texts =
      value.is_array() && std::all_of(value.begin(), value.end(), [](const json& item) { return item.is_string(); });
  if (!texts) return "a list of texts";
  to = value.get<std::vector<std::string>>();
  return {};
}
template <class T>
std::string take(const json& value, const ParameterRange& range, T& to) {
  const bool kind = range.whole ? value.is_number_integer() : value.is_number();
  if (!kind || !range.contains(value.get<double>())) return range.text();
  to = value.get<T>();
  return {};
}

// One list of fields for both directions: `f` is called with a key and a field, or with a key, its range and a field.
template <class PresetType, class F>
void each_field(PresetType& p, F f) {
  auto& s = p.sampling;
  const auto number = [&f](const char* name, auto& field) { f(name, field, sampling_range(name)); };
  f("draft", p.draft);
  f("system", p.system);
  f("context", p.context, kContextRange);
  f("max_tokens", p.max_tokens, kAnswerRange);
  f("think", p.think);
  number("temperature", s.temperature);
  number("top_k", s.top_k);
  number("top_p", s.top_p);
  number("min_p", s.min_p);
  number("typical_p", s.typical_p);
  number("repetition_penalty", s.repetition_penalty);
  number("penalty_last_n", s.penalty_last_n);
  number("presence_penalty", s.presence_penalty);
  number("frequency_penalty", s.frequency_penalty);
  f("seed", s.seed);
}

json to_json(const Preset& preset) {
  json object = {{"model", preset.model}};
  each_field(preset, [&object](const char* key, const auto& field, const auto&...) {
    if (field) object[key] = *field;
  });
  if (!preset.sampling.bias_flags.empty()) object["logit_bias"] = preset.sampling.bias_flags;
  return object;
}

// What is wrong with a preset's JSON, or nothing.
std::string from_json(const json& object, Preset& preset) {
  if (!object.is_object()) return std::string("found ") + object.type_name() + ", expected an object";
  std::string problem;
  std::vector<std::string> known;
  const auto field = [&](const char* key, auto& to, const auto&... range) {
    known.emplace_back(key);
    const auto at = object.find(key);
    if (at == object.end() || !problem.empty()) return;
    const std::string expected = take(*at, range..., to);
    if (expected.empty()) return;
    const std::string found = at->dump();
    problem = fmt::format("{}: found {}, expected {}", key, found.size() > 60 ? "something else" : found, expected);
  };
  field("model", preset.model);
  each_field(preset, [&](const char* key, auto& to, const auto&... range) {
    typename std::remove_reference_t<decltype(to)>::value_type value{};
    field(key, value, range...);
    if (object.contains(key)) to = std::move(value);
  });
  field("logit_bias", preset.sampling.bias_flags);
  if (!problem.empty()) return problem;
  if (preset.model.empty()) return "model: found none, expected a model's name";
  for (const auto& [key, value] : object.items())
    if (std::find(known.begin(), known.end(), key) == known.end()) return no_such("key of a preset", key, known);
  return {};
}

Result<int> show(const std::string& name) {
  KL_TRY(const Preset preset, load_preset(name));
  return write_out(json_text(to_json(preset), 2)) ? kExitOk : kExitBrokenPipe;
}

Result<int> list(bool as_json) {
  std::string text;
  json all = json::array();
  for (const std::string& name : preset_names()) {
    const Result<Preset> preset = load_preset(name);
    if (!preset.ok()) {
      note(preset.error().message);
      continue;
    }
    json object = to_json(*preset);
    object["name"] = name;
    all.push_back(object);
    text += fmt::format("{:<20} {}\n", name, preset->model);
  }
  if (as_json) text = json_text(all);
  return write_out(text) ? kExitOk : kExitBrokenPipe;
}

}  // namespace

std::string config_folder() {
  if (const char* xdg = std::getenv("XDG_CONFIG_HOME"); xdg && *xdg == '/') return std::string(xdg) + "/kinglet";
  if (const char* home = std::getenv("HOME"); home && *home) return std::string(home) + "/.config/kinglet";
  return "";
}

Result<Preset> load_preset(const std::string& name) {
  KL_RETURN_IF_ERROR(check_name(name));
  KL_TRY(const std::string path, preset_path(name));
  KL_TRY(const std::string text, read_own_file(path));
  const Result<json> object = parse_json(text, path);
  Preset preset;
  preset.name = name;
  std::string problem = object.ok() ? from_json(*object, preset) : object.error().message;
  if (problem.empty()) return preset;
  if (object.ok()) problem = path + ": " + problem;
  return Error{ErrorCode::kInvalid, problem + "; save the preset anew, or remove it: kinglet preset rm " + name};
}

Result<std::optional<Preset>> find_preset(const std::string& name) {
  if (!check_name(name).ok()) return std::optional<Preset>();
  Result<Preset> preset = load_preset(name);
  if (preset.ok()) return std::optional(std::move(preset).value());
  if (preset.error().code == ErrorCode::kNotFound) return std::optional<Preset>();
  return preset.error().with_context("preset " + name);
}

Status save_preset(const Preset& preset) {
  KL_RETURN_IF_ERROR(check_name(preset.name));
  KL_TRY([[maybe_unused]] const SamplingParams checked, sampling_params(preset.sampling));  // --logit-bias
  const json object = to_json(preset);
  const std::string text = json_text(object, 2);
  if (json::parse(text) != object)
    return Error{ErrorCode::kInvalid, "preset " + preset.name + ": found bytes that are no text, expected UTF-8"};
  KL_TRY(const std::string folder, preset_folder());
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  if (code) return Error{ErrorCode::kIo, folder + ": " + code.message()};
  return write_text_file(folder + "/" + preset.name + ".json", text);
}

Status remove_preset(const std::string& name) {
  KL_RETURN_IF_ERROR(check_name(name));
  KL_TRY(const std::string path, preset_path(name));
  std::error_code code;
  if (std::filesystem::remove(path, code)) return {};
  if (code) return Error{ErrorCode::kIo, name + ": " + code.message()};
  return Error{ErrorCode::kNotFound, "no preset is called " + name};
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  const Result<std::string> folder = preset_folder();
  if (!folder.ok()) return names;
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(*folder, code))
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

void add_preset(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("preset", "Save a model, a system prompt and parameters under a name");
  command->require_subcommand(1);
  command->footer(examples({"kinglet preset save pirate --model smollm2 --system \"You are a pirate.\" --temp 0.9",
                            "kinglet run pirate \"Where is the gold?\"", "kinglet preset list"}));
  auto preset = std::make_shared<Preset>();
  auto as_json = std::make_shared<bool>(false);

  CLI::App* save = command->add_subcommand("save", "Save a preset, replacing one of the same name");
  save->add_option("NAME", preset->name, "Its name")->required();
  save->add_option("-m,--model", preset->model, "The model")->required();
  save->add_option("--draft", preset->draft, "A smaller model with the same vocabulary that drafts tokens");
  save->add_option("--system", preset->system, "The system prompt");
  check_range(save->add_option("-c,--ctx", preset->context, "Longest context in tokens"), kContextRange);
  check_range(save->add_option("-n,--max-tokens", preset->max_tokens, "Tokens of an answer at most"), kAnswerRange);
  add_think_flags(*save, preset->think);
  add_sampling_flags(*save, preset->sampling);
  save->callback([&invocation, preset] {
    invocation.action = [preset]() -> Result<int> {
      KL_RETURN_IF_ERROR(save_preset(*preset));
      return kExitOk;
    };
  });
  CLI::App* show_command = command->add_subcommand("show", "Print a preset as JSON");
  show_command->add_option("NAME", preset->name, "Its name")->required();
  show_command->callback([&invocation, preset] { invocation.action = [preset] { return show(preset->name); }; });
  CLI::App* list_command = command->add_subcommand("list", "List the presets");
  list_command->add_flag("--json", *as_json, "Print a JSON array");
  list_command->callback([&invocation, as_json] { invocation.action = [as_json] { return list(*as_json); }; });
  CLI::App* remove = command->add_subcommand("rm", "Remove a preset");
  remove->add_option("NAME", preset->name, "Its name")->required();
  remove->callback([&invocation, preset] {
    invocation.action = [preset]() -> Result<int> {
      KL_RETURN_IF_ERROR(remove_preset(preset->name));
      return kExitOk;
    };
  });
}

}  // namespace kinglet::cli
