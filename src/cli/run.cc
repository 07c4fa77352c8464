// kinglet run [MODEL] [PROMPT]
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/answer.h"
#include "cli/chat.h"
#include "cli/command.h"
#include "cli/config_file.h"
#include "cli/exit_code.h"
#include "cli/files.h"
#include "cli/json_text.h"
#include "cli/model_flags.h"
#include "cli/preset.h"
#include "cli/sampling_flags.h"
#include "cli/terminal.h"
#include "hub/short_names.h"

namespace kinglet::cli {
namespace {

struct RunFlags {
  ModelFlags model;
  SamplingFlags sampling;
  std::string usual{kDefaultModel};  // where nothing names a model
  std::string positional[2];
  std::vector<std::string> words;  // [MODEL] [PROMPT], as far as given
  std::optional<std::string> system;
  std::optional<int64_t> max_tokens;
  std::optional<bool> think;
  std::vector<std::string> stop;
  std::string format;
  bool hide_thinking = false, stats = false, json = false;
};

// A single argument is a model if it could be the name of one, and not a prompt for the default model: who mistypes a
// name is to hear of it.
bool names_a_model(const std::string& word) {
  std::error_code ignored;
  return !word.empty() &&
         (word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/@-") ==
              std::string::npos ||
          std::filesystem::exists(word, ignored));
}

std::string take_words(RunFlags& flags) {
  std::string prompt;
  if (!flags.model.model.empty()) {
    for (const std::string& word : flags.words) prompt += (prompt.empty() ? "" : " ") + word;
  } else if (flags.words.size() == 2) {
    flags.model.model = flags.words[0];
    prompt = flags.words[1];
  } else if (flags.words.size() == 1 && names_a_model(flags.words[0])) {
    flags.model.model = flags.words[0];
  } else if (flags.words.size() == 1) {
    prompt = flags.words[0];
  }
  return prompt;
}

Status apply_preset(RunFlags& flags) {
  KL_TRY(const std::optional<Preset> preset, find_preset(flags.model.model));
  if (!preset) return {};
  flags.sampling.fill_from(preset->sampling);
  if (!flags.system) flags.system = preset->system;
  if (!flags.max_tokens) flags.max_tokens = preset->max_tokens;
  if (!flags.think) flags.think = preset->think;
  if (flags.model.draft.empty()) flags.model.draft = preset->draft.value_or("");
  if (flags.model.context == 0 && preset->context) flags.model.context = *preset->context;
  return {};
}

Result<AnswerOptions> answer_options(const RunFlags& flags, const Checkpoint& checkpoint, const Engine& engine) {
  AnswerOptions options;
  SamplingFlags sampling = flags.sampling;
  sampling.fill_from(model_advice(checkpoint));
  KL_TRY(options.sampling, sampling_params(sampling));
  options.max_tokens = flags.max_tokens.value_or(-1);
  options.stop = flags.stop;
  options.hide_thinking = flags.hide_thinking;
  options.print = !flags.json;
  if (!flags.format.empty()) {
    std::string schema = "{}";
    if (flags.format != "json") {
      KL_TRY(schema, read_text_file(flags.format));
    }
    KL_TRY(options.grammar, Grammar::from_json_schema(engine.tokenizer(), schema));
  }
  return options;
}

Result<int> finish(const Answer& answer, const RunFlags& flags, const AnswerOptions& options) {
  if (answer.finish.error) return *answer.finish.error;
  const char* reason = finish_reason_name(answer.finish.reason);
  if (flags.json) {
    const RequestStats& s = answer.finish.stats;
    const nlohmann::json facts = {{"text", answer.text},
                                  {"reasoning", answer.reasoning},
                                  {"finish_reason", reason},
                                  {"prompt_tokens", s.prompt_tokens},
                                  {"cached_tokens", s.cached_tokens},
                                  {"generated_tokens", s.generated_tokens},
                                  {"drafted_tokens", s.drafted_tokens},
                                  {"accepted_tokens", s.accepted_tokens},
                                  {"seed", s.seed},
                                  {"first_token_seconds", s.first_token_seconds},
                                  {"prompt_tokens_per_second", s.prompt_tokens_per_second()},
                                  {"generated_tokens_per_second", s.generated_tokens_per_second()}};
    if (!write_out(json_text(facts))) return kExitBrokenPipe;
  } else if (!answer.pipe_closed && !write_out("\n")) {
    return kExitBrokenPipe;
  }
  if (answer.pipe_closed) return kExitBrokenPipe;
  if (flags.stats) write_error(speed_text(answer.finish.stats) + "\n");
  if (answer.finish.reason == FinishReason::kCancelled) return terminated() ? kExitTerminated : kExitInterrupted;
  if (const auto text = length_note(answer, options)) note(*text);
  return kExitOk;
}

// The prompt of the flags or of standard input; empty when the user is to talk.
Result<std::string> find_prompt(RunFlags& flags) {
  std::string prompt = take_words(flags);
  const bool given = !flags.words.empty() && (flags.words.size() == 2 || flags.words[0] != flags.model.model);
  if (!given && stdin_is_terminal()) return prompt;
  if (!given) {
    KL_TRY(prompt, read_standard_input());
  }
  if (prompt.find_first_not_of(" \t\r\n") == std::string::npos)
    return Error{ErrorCode::kInvalid, "the prompt is empty: give one as an argument or on standard input"};
  return prompt;
}

Result<std::shared_ptr<const Checkpoint>> open_named(const RunFlags& flags) {
  Result<std::shared_ptr<const Checkpoint>> opened = open_model(flags.model.model);
  const bool single = flags.words.size() == 1 && flags.words[0] == flags.model.model;
  if (opened.ok() || opened.error().code != ErrorCode::kNotFound || !single) return opened;
  return Error{ErrorCode::kNotFound, fmt::format("{}\nFor a prompt of one word: kinglet run {} {}",
                                                 opened.error().message, flags.usual, flags.words[0])};
}

Result<Prompt> render_prompt(const Conversation& conversation, int64_t room) {
  const EndOnSignal at_once;  // the text may be long
  return conversation.prompt(room);
}

Result<int> run(RunFlags flags) {
  KL_TRY(const std::string prompt, find_prompt(flags));
  if (flags.model.model.empty() && flags.words.size() < 2) flags.model.model = flags.usual;
  KL_RETURN_IF_ERROR(apply_preset(flags));
  KL_TRY(const auto checkpoint, open_named(flags));
  KL_TRY(const auto engine, start_engine(checkpoint, flags.model));
  KL_TRY(const AnswerOptions options, answer_options(flags, *checkpoint, *engine));
  KL_TRY(Conversation conversation, Conversation::create(*checkpoint, engine->tokenizer()));
  if (!conversation.uses_template()) note("the model has no chat template: the text goes in as it is and is continued");
  conversation.system = flags.system.value_or("");
  conversation.think = flags.think;
  if (flags.think && !conversation.knows_think())
    note(fmt::format("the model's template does not ask about thinking: {} changes nothing",
                     *flags.think ? "--think" : "--no-think"));
  if (prompt.empty()) return chat_loop(*engine, std::move(conversation), options, files_of(*checkpoint), flags.stats);

  conversation.messages.push_back({"user", prompt, ""});
  KL_TRY(Prompt rendered, render_prompt(conversation, engine->context() - 1));
  KL_TRY(const Answer answer, stream_answer(*engine, conversation, std::move(rendered), options));
  return finish(answer, flags, options);
}

}  // namespace

void add_run(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("run", "Answer a prompt, or talk");
  auto flags = std::make_shared<RunFlags>();
  auto* model = command->add_option("MODEL", flags->positional[0], "The model; left out, the default one answers");
  auto* prompt =
      command->add_option("PROMPT", flags->positional[1], "The prompt; left out, it is standard input, or you talk");
  auto* named =
      command->add_option("-m,--model", flags->model.model, "The model, where the only word is to be the prompt");
  command->add_option("-s,--system", flags->system, "The system prompt");
  check_range(command->add_option("-n,--max-tokens", flags->max_tokens, "Tokens of an answer at most"), kAnswerRange);
  add_think_flags(*command, flags->think);
  command->add_flag("--hide-thinking", flags->hide_thinking, "Don't show the thinking; the model thinks all the same");
  command->add_option("--format", flags->format, "json, or the file of a JSON schema that the answer must follow");
  command->add_option("--stop", flags->stop, "End the answer before this text; may be repeated")
      ->allow_extra_args(false);
  command->add_flag("--stats", flags->stats, "Print speeds to standard error");
  command->add_flag("--json", flags->json, "Print the answer and its facts as a JSON object");
  add_compute_flags(*command, flags->model);
  add_speculation_flags(*command, flags->model);
  add_sampling_flags(*command, flags->sampling);
  command->footer(examples({"kinglet run \"Why is the sky blue?\"",
                            "kinglet run qwen3:0.6b --think \"How many r are in strawberry?\"",
                            "kinglet run smollm2 < question.txt",
                            "kinglet run model.gguf --format schema.json --temp 0 \"A person, please\"",
                            "kinglet run            (talk to the default model)"}));
  command->callback([&invocation, flags, model, prompt, named] {
    if (invocation.config->gave(*named)) flags->usual = std::exchange(flags->model.model, "");
    for (const auto* option : {model, prompt})
      if (option->count() > 0) flags->words.push_back(flags->positional[flags->words.size()]);
    invocation.action = [flags] { return run(*flags); };
  });
}

}  // namespace kinglet::cli
