// kinglet rerank MODEL QUERY [DOC...]
#include "engine/rerank.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/files.h"
#include "cli/json_text.h"
#include "cli/model_flags.h"
#include "cli/sampling_flags.h"
#include "cli/terminal.h"
#include "nn/heads.h"

namespace kinglet::cli {
namespace {

struct RerankFlags {
  ModelFlags model;
  std::string query, instruction;
  std::vector<std::string> documents;
  int64_t top = 0;
  bool truncate = false, json = false;
};

struct Ranked {
  size_t index = 0;
  int64_t tokens = 0;
  float logit = 0.0f;
};

Result<std::vector<TokenText>> encode_all(const RerankFlags& flags, const RankHead& head, const ModelSpec& spec,
                                          const Tokenizer& tokenizer, const std::vector<std::string>& documents,
                                          int64_t limit) {
  const PairOptions options{flags.instruction, limit, flags.truncate};
  std::vector<TokenText> pairs;
  for (size_t i = 0; i < documents.size(); i++) {
    auto pair = encode_pair(head, spec, tokenizer, flags.query, documents[i], options);
    if (!pair.ok())
      return Error{pair.error().code, fmt::format("document {}: {}{}", i + 1, pair.error().message,
                                                  flags.truncate ? "" : "; --truncate cuts documents at their end")};
    pairs.push_back(std::move(pair).value());
  }
  return pairs;
}

std::string as_json(const RerankFlags& flags, const std::vector<Ranked>& ranked,
                    const std::vector<std::string>& documents) {
  nlohmann::ordered_json out = {{"model", flags.model.model}, {"query", flags.query}};
  out["results"] = nlohmann::ordered_json::array();
  for (const Ranked& r : ranked)
    out["results"].push_back({{"index", r.index},
                              {"score", probability_of(r.logit)},
                              {"logit", r.logit},
                              {"tokens", r.tokens},
                              {"document", documents[r.index]}});
  return json_text(out, 2);
}

Result<int> rerank(const RerankFlags& flags) {
  std::vector<std::string> documents = flags.documents;
  if (documents.empty()) {
    KL_TRY(const std::string input, read_standard_input());
    documents = lines_of(input);
  }
  KL_TRY(const auto checkpoint, open_model(flags.model.model));
  KL_TRY(const BoundModel bound, bind_model(*checkpoint));
  KL_TRY(const auto tokenizer, Tokenizer::from_checkpoint(*checkpoint));
  KL_RETURN_IF_ERROR(tokenizer->check_vocabulary(bound.spec.vocabulary));
  KL_TRY(const RankHead head, rank_head(bound, *tokenizer, checkpoint->path));
  if (!flags.instruction.empty() && head.kind == RankHead::Kind::kCrossEncoder)
    return Error{ErrorCode::kUnsupported, checkpoint->path + ": a cross-encoder takes no --instruction"};
  const int64_t limit = flags.model.context > 0 ? flags.model.context : bound.spec.context;
  KL_TRY(const std::vector<TokenText> pairs, encode_all(flags, head, bound.spec, *tokenizer, documents, limit));
  int64_t needed = 1;
  for (const TokenText& pair : pairs) needed = std::max(needed, std::ssize(pair.tokens));
  KL_TRY(const auto model, start_state_model(checkpoint, flags.model, needed));

  std::vector<Ranked> ranked;
  ProgressBar bar("ranking");
  KL_RETURN_IF_ERROR(rank_pairs(*model, head, pairs, [&](size_t i, float logit) -> Status {
    if (interrupted() || terminated()) return Error{ErrorCode::kCancelled, "interrupted"};
    ranked.push_back({i, std::ssize(pairs[i].tokens), logit});
    bar.update(static_cast<double>(ranked.size()) / static_cast<double>(pairs.size()));
    return {};
  }));
  bar.clear();
  std::stable_sort(ranked.begin(), ranked.end(), [](const Ranked& a, const Ranked& b) { return a.logit > b.logit; });
  if (flags.top > 0) ranked.resize(std::min(ranked.size(), static_cast<size_t>(flags.top)));
  std::string out;
  if (flags.json) {
    out = as_json(flags, ranked, documents);
  } else {
    for (const Ranked& r : ranked)
      out += fmt::format("{:.6f}  {:>4}  {}\n", probability_of(r.logit), r.index + 1, documents[r.index]);
  }
  return write_out(out) ? kExitOk : kExitBrokenPipe;
}

}  // namespace

void add_rerank(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("rerank", "Order documents by how well they answer a query");
  auto flags = std::make_shared<RerankFlags>();
  flags->model.kv = "f32";  // kept no longer than a pair is read
  command->add_option("MODEL", flags->model.model, "The model: a cross-encoder with one label, or Qwen3-Reranker")
      ->required();
  command->add_option("QUERY", flags->query, "What is looked for")->required();
  command->add_option("DOCUMENT", flags->documents, "Documents (default: the lines of standard input)");
  command->add_option("--instruction", flags->instruction,
                      "What documents are wanted for (Qwen3-Reranker; default: passages that answer a web search)");
  command->add_option("--top", flags->top, "Show the best N alone")->check(CLI::Range(int64_t{1}, kMostTokens));
  command->add_flag("--truncate", flags->truncate, "Cut documents that are too long, instead of refusing them");
  command->add_flag("--json", flags->json, "Print a JSON object");
  add_compute_flags(*command, flags->model);
  command->footer(examples({"kinglet rerank cross-encoder/ms-marco-MiniLM-L6-v2 \"smallest bird\" \"Kinglets weigh 5 "
                            "g.\" \"Oaks are trees.\"",
                            "kinglet rerank qwen3-reranker/ \"smallest bird\" --top 3 --json < passages.txt"}) +
                  "Each line: score (the model's probability), number of the document, document.\n");
  command->callback([&invocation, flags] { invocation.action = [flags] { return rerank(*flags); }; });
}

}  // namespace kinglet::cli
