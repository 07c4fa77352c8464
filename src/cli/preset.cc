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
#include "cli/json_text.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"

namespace kinglet::cli {
namespace {

using nlohmann::json;

std::string preset_folder() {
  const std::string folder = config_folder();
  return folder.empty() ? "" : folder + "/presets";
}

Status check_name(const std::string& name) {
  const bool fine =
      !name.empty() && name.size() <= 64 && name.front() != '.' &&
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == std::string::npos;
  if (fine) return {};
  return Error{ErrorCode::kInvalid, "preset name \"" + name + "\": expected 1 to 64 letters, digits, '.', '_' and '-'"};
}

template <class T>
void put(json& object, const char* key, const std::optional<T>& value) {
  if (value) object[key] = *value;
}
template <class T>
bool get(const json& object, const char* key, std::optional<T>& value) {
  const auto at = object.find(key);
  if (at == object.end()) return true;
  if (std::is_integral_v<T> && !std::is_same_v<T, bool> && !at->is_number_integer()) return false;
  try {
    value = at->get<T>();
    return true;
  } catch (const json::exception&) {
    return false;
  }
}

// One list of fields for both directions; `f` is put or get.
template <class Object, class PresetType, class F>
bool each_field(Object& object, PresetType& p, F f) {
  auto& s = p.sampling;
  bool fine = true;
  auto field = [&](const char* key, auto& value) { fine = f(object, key, value) && fine; };
  field("system", p.system);
  field("context", p.context);
  field("max_tokens", p.max_tokens);
  field("think", p.think);
  field("temperature", s.temperature);
  field("top_k", s.top_k);
  field("top_p", s.top_p);
  field("min_p", s.min_p);
  field("typical_p", s.typical_p);
  field("repetition_penalty", s.repetition_penalty);
  field("penalty_last_n", s.penalty_last_n);
  field("presence_penalty", s.presence_penalty);
  field("frequency_penalty", s.frequency_penalty);
  field("seed", s.seed);
  return fine;
}

json to_json(const Preset& preset) {
  json object = {{"model", preset.model}};
  each_field(object, preset, [](json& o, const char* key, const auto& value) {
    put(o, key, value);
    return true;
  });
  return object;
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
  const std::string path = preset_folder() + "/" + name + ".json";
  KL_TRY(const std::string text, read_text_file(path));
  const json object = json::parse(text, nullptr, false);
  const Error bad{ErrorCode::kInvalid,
                  path + ": not a preset; remove it with `kinglet preset rm " + name + "` or save it anew"};
  if (!object.is_object() || !object.contains("model") || !object["model"].is_string()) return bad;
  Preset preset;
  preset.name = name;
  preset.model = object["model"];
  const bool fine =
      each_field(object, preset, [](const json& o, const char* key, auto& value) { return get(o, key, value); });
  if (!fine) return bad;
  return preset;
}

std::optional<Preset> find_preset(const std::string& name) {
  Result<Preset> preset = load_preset(name);
  if (!preset.ok()) return std::nullopt;
  return std::move(preset).value();
}

Status save_preset(const Preset& preset) {
  KL_RETURN_IF_ERROR(check_name(preset.name));
  const json object = to_json(preset);
  const std::string text = json_text(object, 2);
  if (json::parse(text) != object)
    return Error{ErrorCode::kInvalid, "preset " + preset.name + ": found bytes that are no text, expected UTF-8"};
  const std::string folder = preset_folder();
  if (folder.empty()) return Error{ErrorCode::kIo, "no home folder: set HOME or XDG_CONFIG_HOME"};
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  if (code) return Error{ErrorCode::kIo, folder + ": " + code.message()};
  return write_text_file(folder + "/" + preset.name + ".json", text);
}

Status remove_preset(const std::string& name) {
  KL_RETURN_IF_ERROR(check_name(name));
  std::error_code code;
  if (std::filesystem::remove(preset_folder() + "/" + name + ".json", code)) return {};
  if (code) return Error{ErrorCode::kIo, name + ": " + code.message()};
  return Error{ErrorCode::kNotFound, "no preset is called " + name};
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(preset_folder(), code))
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
  save->add_option("--system", preset->system, "The system prompt");
  save->add_option("-c,--ctx", preset->context, "Longest context in tokens")
      ->check(CLI::Range(int64_t{0}, kMostTokens));
  save->add_option("-n,--max-tokens", preset->max_tokens, "Tokens of an answer at most")
      ->check(CLI::Range(int64_t{1}, kMostTokens));
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
