// kinglet embed MODEL [TEXT...]
#include "engine/embed.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/files.h"
#include "cli/json_text.h"
#include "cli/model_flags.h"
#include "cli/npy.h"
#include "cli/sampling_flags.h"
#include "cli/terminal.h"
#include "families/family.h"

namespace kinglet::cli {
namespace {

struct EmbedFlags {
  ModelFlags model;
  std::vector<std::string> texts;
  std::string prefix, output, pooling;
  int64_t dimensions = 0;
  bool truncate = false, no_normalize = false, json = false;
};

const std::map<std::string, Pooling> kPoolings = {
    {"mean", Pooling::kMean}, {"cls", Pooling::kFirst}, {"last", Pooling::kLast}};

Result<Pooling> choose_pooling(const Checkpoint& checkpoint, const ModelSpec& spec, const std::string& asked) {
  if (!asked.empty()) return kPoolings.at(asked);
  auto pooling = pooling_of(checkpoint, spec);
  if (pooling.ok()) return pooling;
  return Error{pooling.error().code, pooling.error().message + "; --pooling mean, cls or last chooses"};
}

Result<std::vector<TokenText>> tokenize_all(const Tokenizer& tokenizer, const EmbedFlags& flags,
                                            const std::vector<std::string>& texts, int64_t longest) {
  std::vector<TokenText> all;
  for (size_t i = 0; i < texts.size(); i++) {
    auto tokens = encode_within(tokenizer, flags.prefix + texts[i], longest, flags.truncate);
    if (!tokens.ok())
      return Error{
          tokens.error().code,
          fmt::format("text {}: {}{}", i + 1, tokens.error().message,
                      flags.truncate ? "" : "; --truncate cuts the end off, --ctx allows more where the model does")};
    if (tokens->empty()) return Error{ErrorCode::kInvalid, fmt::format("text {}: has no tokens", i + 1)};
    all.push_back({std::move(tokens).value(), {}});
  }
  return all;
}

// Where the embeddings go, one after the other: lines of numbers, JSON, or a .npy file.
class Sink {
 public:
  static Result<Sink> create(const EmbedFlags& flags, const nlohmann::ordered_json& facts, int64_t rows,
                             int64_t columns) {
    Sink sink;
    sink.json_ = flags.json;
    if (!flags.output.empty()) {
      KL_TRY(NpyWriter file, NpyWriter::create(flags.output, rows, columns));
      sink.file_ = std::make_unique<NpyWriter>(std::move(file));
    } else if (flags.json) {
      std::string head = json_text(facts);
      head.resize(head.find_last_of('}'));
      sink.open_ = write_out(head + ", \"embeddings\": [");
    }
    return sink;
  }

  // False when nobody reads any more.
  Result<bool> put(size_t index, size_t tokens, std::span<const float> row) {
    if (file_) {
      KL_RETURN_IF_ERROR(file_->write_row(row));
      return true;
    }
    if (!json_) return write_out(fmt::format("{}\n", fmt::join(row, " ")));
    return open_ && write_out(fmt::format("{}\n{{\"index\": {}, \"tokens\": {}, \"embedding\": [{}]}}",
                                          index == 0 ? "" : ",", index, tokens, fmt::join(row, ", ")));
  }

  Result<bool> finish() {
    if (file_) KL_RETURN_IF_ERROR(file_->finish());
    return file_ || !json_ || write_out("\n]}\n");
  }

 private:
  std::unique_ptr<NpyWriter> file_;
  bool json_ = false, open_ = true;
};

Result<int> embed(const EmbedFlags& flags) {
  std::vector<std::string> texts = flags.texts;
  if (texts.empty()) {
    KL_TRY(const std::string input, read_standard_input());
    texts = lines_of(input);
  }
  const bool makes_file = !flags.output.empty() && flags.output != "-";
  KL_TRY(const auto checkpoint,
         makes_file ? open_model_for(flags.output, flags.model.model) : open_model(flags.model.model));
  KL_TRY(const BoundModel bound, bind_model(*checkpoint));
  EmbedOptions options;
  KL_TRY(options.pooling, choose_pooling(*checkpoint, bound.spec, flags.pooling));
  options.dimensions = flags.dimensions;
  options.normalise = !flags.no_normalize;
  KL_TRY(const auto tokenizer, Tokenizer::from_checkpoint(*checkpoint));
  KL_RETURN_IF_ERROR(tokenizer->check_vocabulary(bound.spec.vocabulary));
  KL_TRY(const int64_t usual, text_limit(*checkpoint, bound.spec));
  const int64_t longest = flags.model.context > 0 ? flags.model.context : usual;
  KL_TRY(const std::vector<TokenText> tokens, tokenize_all(*tokenizer, flags, texts, longest));
  int64_t needed = 1;
  for (const TokenText& text : tokens) needed = std::max(needed, std::ssize(text.tokens));
  KL_TRY(const auto model, start_state_model(checkpoint, flags.model, needed));

  const int64_t dimensions = flags.dimensions > 0 ? flags.dimensions : bound.spec.width;
  const nlohmann::ordered_json facts = {{"model", flags.model.model},
                                        {"dimensions", dimensions},
                                        {"pooling", pooling_name(options.pooling)},
                                        {"normalized", options.normalise}};
  if (dimensions > bound.spec.width)
    return Error{ErrorCode::kInvalid, fmt::format("--dimensions: found {}, expected at most the {} that the model has",
                                                  dimensions, bound.spec.width)};
  KL_TRY(Sink sink, Sink::create(flags, facts, std::ssize(tokens), dimensions));
  ProgressBar bar("embedding");
  bool read = true;
  const Status done = embed_texts(*model, tokens, options, [&](size_t i, std::span<const float> row) -> Status {
    if (interrupted() || terminated()) return Error{ErrorCode::kCancelled, "interrupted"};
    KL_TRY(read, sink.put(i, tokens[i].tokens.size(), row));
    bar.update(static_cast<double>(i + 1) / static_cast<double>(tokens.size()));
    return read ? Status() : Error{ErrorCode::kCancelled, "nobody reads"};
  });
  if (!read) return kExitBrokenPipe;
  KL_RETURN_IF_ERROR(done);
  bar.clear();
  KL_TRY(read, sink.finish());
  return read ? kExitOk : kExitBrokenPipe;
}

}  // namespace

void add_embed(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("embed", "Turn texts into vectors, for search and comparison");
  auto flags = std::make_shared<EmbedFlags>();
  flags->model.kv = "f32";  // kept no longer than a text is read
  command
      ->add_option("MODEL", flags->model.model, "The model: an encoder such as all-MiniLM-L6-v2, or an embedding model")
      ->required();
  command->add_option("TEXT", flags->texts, "Texts (default: the lines of standard input)");
  command->add_option("--prefix", flags->prefix, "Put before each text, such as \"query: \", where the model wants it");
  command->add_option("--pooling", flags->pooling, "How a text's states become one vector (default: as the model says)")
      ->check(CLI::IsMember({"mean", "cls", "last"}));
  command->add_option("--dimensions", flags->dimensions, "Keep the first N numbers (Matryoshka embeddings)")
      ->check(CLI::Range(int64_t{1}, kMostTokens));
  command->add_flag("--no-normalize", flags->no_normalize, "Leave the vectors as long as they are (else: length 1)");
  command->add_flag("--truncate", flags->truncate, "Cut texts that are too long, instead of refusing them");
  auto* json = command->add_flag("--json", flags->json, "Print a JSON object");
  command
      ->add_option("-o,--output", flags->output, "Write a .npy file: float32 [texts, dimensions]; -: standard output")
      ->excludes(json);
  add_compute_flags(*command, flags->model);
  command->footer(examples({"kinglet embed all-MiniLM-L6-v2/ \"a small bird\" \"a large whale\"",
                            "kinglet embed all-MiniLM-L6-v2/ -o vectors.npy < lines.txt",
                            "kinglet embed qwen3-embedding.gguf --dimensions 256 --json \"What is a kinglet?\""}));
  command->callback([&invocation, flags] { invocation.action = [flags] { return embed(*flags); }; });
}

}  // namespace kinglet::cli
