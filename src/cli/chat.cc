#include "cli/chat.h"

#include <editline/readline.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "base/output_file.h"
#include "cli/exit_code.h"
#include "cli/files.h"
#include "cli/history.h"
#include "cli/model_flags.h"
#include "cli/preset.h"
#include "cli/terminal.h"

namespace kinglet::cli {
namespace {

constexpr const char* kHelp =
    "/help                this text\n"
    "/system [TEXT]       show or change the system prompt\n"
    "/set NAME VALUE      temp, top_k, top_p, min_p, repeat_penalty, seed,\n"
    "                     max_tokens, think (on, off)\n"
    "/save FILE           write the conversation as JSON\n"
    "/load FILE           read one back\n"
    "/clear               forget the conversation, keep the system prompt\n"
    "/stats               speeds after each answer, on or off\n"
    "/bye                 leave (Ctrl-D too)\n"
    "A line that ends in \\ goes on in the next one; \"\"\" starts and ends a text of\n"
    "many lines.\n"
    "Ctrl-C stops an answer, not the program.\n";

constexpr const char* kCommands[] = {"/help", "/system", "/set", "/save", "/load", "/clear", "/stats", "/bye"};

char* complete_command(const char* text, int state) {
  static size_t next;
  if (state == 0) next = 0;
  while (next < std::size(kCommands)) {
    const std::string_view command = kCommands[next++];
    if (command.starts_with(text)) return strdup(command.data());
  }
  return nullptr;
}

// The user's next message, possibly of several lines; nothing at the end of input.
class LineReader {
 public:
  LineReader() {
    if (!stdin_is_terminal()) return;
    rl_initialize();
    rl_catch_signals = 0;
    rl_completion_entry_function = complete_command;
    history_.emplace(config_folder());
  }

  std::optional<std::string> next() {
    std::optional<std::string> line = read_line(">>> ");
    if (!line) return std::nullopt;
    std::string text = *line;
    if (text.starts_with("\"\"\"")) {
      text.erase(0, 3);
      while (!text.ends_with("\"\"\"")) {
        line = read_line("... ");
        if (!line) return text;
        text += "\n" + *line;
      }
      text.resize(text.size() - 3);
    } else {
      while (text.ends_with("\\")) {
        text.back() = '\n';
        line = read_line("... ");
        if (!line) break;
        text += *line;
      }
    }
    remember(text);
    return text;
  }

 private:
  std::optional<std::string> read_line(const char* prompt) {
    for (;;) {
      clear_interrupt();
      char* raw = [prompt] {
        const CancelOnInterrupt wake(true);
        return readline(prompt);
      }();
      if (raw) {
        std::string line(raw);
        std::free(raw);
        return line;
      }
      if (!interrupted() || terminated()) return std::nullopt;
      write_out("\n(Ctrl-D or /bye leaves)\n");
    }
  }
  void remember(const std::string& text) {
    if (history_ && !text.empty() && text.find('\n') == std::string::npos) history_->add(text);
  }
  std::optional<History> history_;  // on a terminal
};

template <class T>
bool parse_number(const std::string& text, T& value) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && end == text.data() + text.size();
}

float* float_field(SamplingParams& params, const std::string& name) {
  return name == "temp"             ? &params.temperature
         : name == "top_p"          ? &params.top_p
         : name == "min_p"          ? &params.min_p
         : name == "repeat_penalty" ? &params.repetition_penalty
                                    : nullptr;
}

class Chat {
 public:
  Chat(Engine& engine, Conversation conversation, AnswerOptions options, std::vector<std::string> model_files,
       bool show_stats)
      : engine_(engine),
        conversation_(std::move(conversation)),
        options_(std::move(options)),
        model_files_(std::move(model_files)),
        show_stats_(show_stats) {}

  Result<int> run() {
    if (!is_quiet() && stdin_is_terminal())
      write_out(fmt::format("Context {}. /help lists the commands.\n", engine_.context_reason()));
    LineReader reader;
    while (!terminated()) {
      const std::optional<std::string> line = reader.next();
      if (!line || *line == "/bye" || *line == "/exit" || *line == "/quit") break;
      if (line->find_first_not_of(" \t\n") == std::string::npos) continue;
      if (line->front() == '/') {
        command(*line);
      } else if (!answer(*line)) {
        return kExitBrokenPipe;
      }
    }
    if (stdin_is_terminal()) write_out("\n");
    return terminated() ? kExitTerminated : kExitOk;
  }

 private:
  // False when nobody reads any more.
  bool answer(const std::string& text) {
    conversation_.messages.push_back({"user", text, ""});
    const int64_t reserve = std::min<int64_t>(engine_.context() / 4, 512);  // tokens kept free for the answer
    Result<Prompt> prompt = conversation_.prompt(engine_.context() - reserve);
    if (!prompt.ok()) return fail(prompt.error());
    if (prompt->dropped > 0) {
      note(fmt::format("the context is full: the oldest {} messages are dropped", prompt->dropped));
      conversation_.messages.erase(conversation_.messages.begin(), conversation_.messages.begin() + prompt->dropped);
    }
    clear_interrupt();
    const Result<Answer> answer = stream_answer(engine_, conversation_, std::move(prompt).value(), options_);
    if (!answer.ok()) return fail(answer.error());
    if (answer->pipe_closed) return false;
    if (answer->finish.reason == FinishReason::kError && answer->finish.error) return fail(*answer->finish.error);
    conversation_.messages.push_back({"assistant", answer->text, answer->reasoning});
    write_out("\n");
    if (const auto cut = length_note(*answer, options_)) note(*cut);
    if (show_stats_) note(speed_text(answer->finish.stats));
    return write_out("\n");
  }

  // Takes the unanswered message back and says why.
  bool fail(const Error& error) {
    conversation_.messages.pop_back();
    write_error(fmt::format("error: {}\n", error.message));
    return true;
  }

  void command(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space), rest = space == std::string::npos ? "" : line.substr(space + 1);
    if (name == "/help" || name == "/?")
      write_out(kHelp);
    else if (name == "/system")
      system(rest);
    else if (name == "/set")
      set(rest);
    else if (name == "/save")
      save(rest);
    else if (name == "/load")
      load(rest);
    else if (name == "/clear")
      conversation_.messages.clear();
    else if (name == "/stats")
      toggle_stats();
    else
      write_out(fmt::format("{} is no command; /help lists them\n", name));
  }

  void system(const std::string& text) {
    if (text.empty())
      write_out(conversation_.system.empty() ? "no system prompt\n" : conversation_.system + "\n");
    else
      conversation_.system = text;
  }

  void toggle_stats() {
    show_stats_ = !show_stats_;
    write_out(show_stats_ ? "speeds are shown\n" : "speeds are not shown\n");
  }

  void set(const std::string& rest) {
    const size_t space = rest.find(' ');
    const std::string name = rest.substr(0, space), value = space == std::string::npos ? "" : rest.substr(space + 1);
    SamplingParams changed = options_.sampling;
    uint64_t seed = 0;
    int64_t max_tokens = 0;
    bool known = true, fine = false;
    if (name == "think") {
      fine = value == "on" || value == "off";
      if (fine) conversation_.think = value == "on";
    } else if (name == "max_tokens") {
      fine = parse_number(value, max_tokens) && kAnswerRange.contains(static_cast<double>(max_tokens));
      if (fine) options_.max_tokens = max_tokens;
    } else if (name == "seed") {
      fine = parse_number(value, seed);
      if (fine) changed.seed = seed;
    } else if (name == "top_k") {
      fine = parse_number(value, changed.top_k);
    } else if (float* field = float_field(changed, name)) {
      fine = parse_number(value, *field);
    } else {
      known = false;
    }
    if (!known) return void(write_out(fmt::format("\"{}\" cannot be set; /help lists what can\n", name)));
    if (!fine) return void(write_out(fmt::format("{}: \"{}\" is no value for it\n", name, value)));
    const Status valid = validate(changed, engine_.vocabulary());
    if (!valid.ok()) return void(write_out(valid.error().message + "\n"));
    options_.sampling = changed;
    write_out(fmt::format("{} is {} from now on\n", name, value));
  }

  void save(const std::string& path) {
    if (path.empty()) return void(write_out("/save needs a file name\n"));
    Status saved = check_output_file(path, model_files_);
    if (saved.ok()) saved = write_text_file(path, conversation_.to_json());
    write_out((saved.ok() ? "saved to " + path : saved.error().message) + "\n");
  }

  void load(const std::string& path) {
    if (path.empty()) return void(write_out("/load needs a file name\n"));
    const Result<std::string> text = read_text_file(path);
    const Status loaded = text.ok() ? conversation_.load_json(*text, path) : Status(text.error());
    write_out(loaded.ok() ? fmt::format("{} messages loaded\n", conversation_.messages.size())
                          : loaded.error().message + "\n");
  }

  Engine& engine_;
  Conversation conversation_;
  AnswerOptions options_;
  std::vector<std::string> model_files_;  // /save must not replace them
  bool show_stats_;
};

}  // namespace

Result<int> chat_loop(Engine& engine, Conversation conversation, AnswerOptions options,
                      std::vector<std::string> model_files, bool show_stats) {
  return Chat(engine, std::move(conversation), std::move(options), std::move(model_files), show_stats).run();
}

}  // namespace kinglet::cli
