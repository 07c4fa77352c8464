// kinglet render (MODEL | --template FILE) messages.json
#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/files.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "text/chat_template.h"

namespace kinglet::cli {
namespace {

struct RenderFlags {
  std::string first, second;  // [MODEL] messages.json
  std::string template_file, tools_file;
  std::vector<std::string> arguments;  // NAME=JSON
  bool no_generation_prompt = false;
};

Result<std::string> read_json_source(const std::string& path) {
  return path == "-" ? read_standard_input() : read_text_file(path);
}

Result<std::string> arguments_object(const std::vector<std::string>& arguments) {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (const std::string& text : arguments) {
    const size_t equals = text.find('=');
    const auto value = equals == std::string::npos
                           ? nlohmann::ordered_json(nlohmann::ordered_json::value_t::discarded)
                           : nlohmann::ordered_json::parse(text.substr(equals + 1), nullptr, false);
    if (value.is_discarded())
      return Error{ErrorCode::kInvalid,
                   "--arg: found \"" + text + "\", expected NAME=JSON such as enable_thinking=false or name='\"Ada\"'"};
    object[text.substr(0, equals)] = value;
  }
  return object.dump();
}

Result<std::shared_ptr<const ChatTemplate>> find_template(const RenderFlags& flags) {
  if (!flags.template_file.empty()) {
    KL_TRY(const std::string source, read_text_file(flags.template_file));
    return ChatTemplate::from_source(source);
  }
  KL_TRY(const auto checkpoint, open_model(flags.first, {.vocabulary_only = true}));
  return ChatTemplate::from_checkpoint(*checkpoint);
}

Result<int> render(const RenderFlags& flags) {
  KL_TRY(const auto chat_template, find_template(flags));
  RenderRequest request;
  request.add_generation_prompt = !flags.no_generation_prompt;
  KL_TRY(request.messages_json, read_json_source(flags.template_file.empty() ? flags.second : flags.first));
  if (!flags.tools_file.empty()) {
    KL_TRY(request.tools_json, read_json_source(flags.tools_file));
  }
  if (!flags.arguments.empty()) {
    KL_TRY(request.args_json, arguments_object(flags.arguments));
  }
  const EndOnSignal at_once;
  KL_TRY(const std::string text, chat_template->render(request));
  return write_out(text) ? kExitOk : kExitBrokenPipe;
}

}  // namespace

void add_render(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("render", "Print the exact prompt that a chat template makes of messages");
  auto flags = std::make_shared<RenderFlags>();
  command->add_option("MODEL", flags->first, "The model; left out with --template")->required();
  auto* second =
      command->add_option("MESSAGES", flags->second, "A file with a JSON array of messages; -: standard input");
  command->add_option("--template", flags->template_file, "A Jinja template instead of a model's");
  command->add_option("--tools", flags->tools_file, "A file with a JSON array of tools");
  command->add_option("--arg", flags->arguments, "NAME=JSON, a variable for the template; may be repeated")
      ->allow_extra_args(false);
  command->add_flag("--no-generation-prompt", flags->no_generation_prompt,
                    "Don't open the assistant's turn at the end");
  command->footer(examples({"kinglet render smollm2 messages.json",
                            "kinglet render --template chat.jinja messages.json --arg enable_thinking=false",
                            "echo '[{\"role\":\"user\",\"content\":\"Hi\"}]' | kinglet render smollm2 -"}));
  command->callback([&invocation, flags, second] {
    const bool has_template = !flags->template_file.empty();
    if (has_template == (second->count() > 0))
      throw CLI::RequiredError("MODEL and MESSAGES, or --template FILE and MESSAGES (nothing else)");
    invocation.action = [flags] { return render(*flags); };
  });
}

}  // namespace kinglet::cli
