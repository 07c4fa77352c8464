// The public C++ API (include/kinglet/kinglet.h) in terms of the engine.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/api_failure.h"
#include "engine/engine.h"
#include "engine/loader.h"
#include "kinglet/kinglet.h"
#include "text/chat_template.h"
#include "text/grammar.h"

namespace kinglet::api {

struct Model::State {
  std::unique_ptr<Engine> engine;
  Result<std::shared_ptr<const ChatTemplate>> chat_template;  // or why there is none
};

namespace {

Result<KvType> kv_type_of(const std::string& name) {
  if (name == "f32") return KvType::kF32;
  if (name == "f16") return KvType::kF16;
  if (name == "q8_0") return KvType::kQ8_0;
  return Error{ErrorCode::kInvalid, "kv_type is \"" + name + "\"; expected \"f32\", \"f16\" or \"q8_0\""};
}

SamplingParams params_of(const Sampling& sampling) {
  SamplingParams params;
  params.temperature = sampling.temperature;
  params.top_k = sampling.top_k;
  params.top_p = sampling.top_p;
  params.min_p = sampling.min_p;
  params.typical_p = sampling.typical_p;
  params.repetition_penalty = sampling.repetition_penalty;
  params.penalty_last_n = sampling.repetition_last_n;
  params.presence_penalty = sampling.presence_penalty;
  params.frequency_penalty = sampling.frequency_penalty;
  params.logit_bias = {sampling.logit_bias.begin(), sampling.logit_bias.end()};
  params.seed = sampling.seed;
  return params;
}

Result<Request> request_of(const Engine& engine, std::span<const int32_t> prompt, const GenerateOptions& options) {
  Request request;
  request.prompt.assign(prompt.begin(), prompt.end());
  request.sampling = params_of(options.sampling);
  request.max_tokens = options.max_tokens;
  request.stop = options.stop;
  request.ignore_eos = options.ignore_end;
  if (!options.json_schema.empty() && !options.regex.empty()) {
    return Error{ErrorCode::kInvalid, "json_schema and regex are both given; an answer can follow one of them"};
  }
  if (!options.json_schema.empty()) {
    KL_TRY(request.grammar, Grammar::from_json_schema(engine.tokenizer(), options.json_schema));
  } else if (!options.regex.empty()) {
    KL_TRY(request.grammar, Grammar::from_regex(engine.tokenizer(), options.regex));
  }
  return request;
}

Answer answer_of(const FinishInfo& finish, Answer answer) {
  switch (finish.reason) {
    case FinishReason::kStop:
      answer.end = Answer::End::kStop;
      break;
    case FinishReason::kLength:
      answer.end = Answer::End::kLength;
      break;
    case FinishReason::kCancelled:
    case FinishReason::kError:
      answer.end = Answer::End::kCancelled;
      break;
  }
  const RequestStats& stats = finish.stats;
  answer.prompt_tokens = stats.prompt_tokens;
  answer.cached_tokens = stats.cached_tokens;
  answer.drafted_tokens = stats.drafted_tokens;
  answer.accepted_tokens = stats.accepted_tokens;
  if (stats.first_token_seconds >= 0.0) {
    answer.prompt_seconds = stats.first_token_seconds;
    answer.generate_seconds = stats.finished_seconds - stats.first_token_seconds;
  }
  answer.seed = stats.seed;
  return answer;
}

Result<Answer> run(Engine& engine, std::span<const int32_t> prompt, const GenerateOptions& options,
                   const OnText& on_text) {
  KL_TRY(Request request, request_of(engine, prompt, options));
  KL_TRY(const std::shared_ptr<Generation> generation, engine.submit(std::move(request)));
  Answer answer;
  bool wanted = true;
  while (auto event = generation->next_event()) {
    // What arrives after the caller gave up is not part of the answer.
    if (wanted) {
      answer.tokens.insert(answer.tokens.end(), event->tokens.begin(), event->tokens.end());
      answer.text += event->text;
      if (on_text && !event->text.empty()) wanted = on_text(event->text);
      if (!wanted) generation->cancel();
    }
    if (!event->finish) continue;
    if (event->finish->error) return *event->finish->error;
    answer = answer_of(*event->finish, std::move(answer));
    if (!wanted) answer.end = Answer::End::kCancelled;
  }
  return answer;
}

Result<std::unique_ptr<Engine>> load(std::shared_ptr<const Checkpoint> checkpoint, const LoadOptions& options) {
  kinglet::LoadOptions inner;
  inner.model.compute = options.exact ? ComputeMode::kF32 : ComputeMode::kInt8;
  KL_TRY(inner.model.kv_type, kv_type_of(options.kv_type));
  inner.model.threads = options.threads;
  inner.model.context = options.context;
  inner.engine.max_sequences = options.max_sequences;
  inner.engine.kv_bytes = options.kv_bytes;
  inner.engine.speculation.lookup = options.speculate;
  inner.predict = options.speculate;
  if (options.speculate && !options.draft.empty()) {
    auto draft = open_checkpoint(options.draft);
    if (!draft.ok()) return draft.error().with_context("draft");
    inner.draft = std::move(draft).value();
  }
  if (options.progress) {
    inner.progress = [&options](const char*, double fraction) { options.progress(fraction); };
  }
  return load_engine(std::move(checkpoint), inner);
}

}  // namespace

std::string version() {
  return KINGLET_VERSION;
}

Outcome<Model> Model::load(const std::string& path, const LoadOptions& options) {
  auto checkpoint = open_checkpoint(path);
  if (!checkpoint.ok()) return failure_of(checkpoint.error());
  auto engine = api::load(*checkpoint, options);
  if (!engine.ok()) return failure_of(engine.error());
  return Model(std::make_shared<State>(State{std::move(engine).value(), ChatTemplate::from_checkpoint(**checkpoint)}));
}

ModelFacts Model::facts() const {
  const Engine& engine = *state_->engine;
  const kinglet::Model& model = *engine.model();
  ModelFacts facts;
  facts.family = model.spec().family;
  facts.architecture = model.spec().architecture;
  facts.vocabulary = engine.vocabulary();
  facts.context = engine.context();
  facts.context_reason = engine.context_reason();
  facts.instruction_set = isa_name(model.isa());
  facts.threads = model.threads();
  facts.weight_bytes = model.plan().weight_bytes;
  facts.notes = model.notes();
  return facts;
}

Outcome<std::vector<int32_t>> Model::tokenize(std::string_view text, bool add_special, bool parse_special) const {
  return outcome_of(state_->engine->tokenizer()->encode(text, {add_special, parse_special}));
}

std::string Model::detokenize(std::span<const int32_t> tokens, bool skip_special) const {
  return state_->engine->tokenizer()->decode(tokens, skip_special);
}

Outcome<std::string> Model::render_chat(std::span<const Message> messages, const ChatOptions& options) const {
  if (!state_->chat_template.ok()) return failure_of(state_->chat_template.error());
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Message& message : messages) {
    nlohmann::ordered_json item;
    item["role"] = message.role;
    item["content"] = message.content;
    list.push_back(std::move(item));
  }
  RenderRequest request;
  // Bytes that are not UTF-8 become U+FFFD, as in the tokenizer.
  request.messages_json = list.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  request.tools_json = options.tools_json;
  request.args_json = options.template_args_json;
  return outcome_of((*state_->chat_template)->render(request));
}

Outcome<Answer> Model::generate(std::string_view prompt, const GenerateOptions& options, const OnText& on_text) const {
  auto tokens = tokenize(prompt);
  if (!tokens) return tokens.failure();
  return generate(std::span<const int32_t>(*tokens), options, on_text);
}

Outcome<Answer> Model::generate(std::span<const int32_t> prompt, const GenerateOptions& options,
                                const OnText& on_text) const {
  return outcome_of(run(*state_->engine, prompt, options, on_text));
}

Outcome<Answer> Model::chat(const std::vector<Message>& messages, const ChatOptions& options,
                            const OnText& on_text) const {
  auto prompt = render_chat(messages, options);
  if (!prompt) return prompt.failure();
  // The template has written what the model wants around the text.
  auto tokens = tokenize(*prompt, false, true);
  if (!tokens) return tokens.failure();
  return generate(std::span<const int32_t>(*tokens), options.generate, on_text);
}

}  // namespace kinglet::api
