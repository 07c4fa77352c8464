#include "server/served_model.h"

#include <algorithm>

#include "server/tool_use.h"

namespace kinglet::server {

bool ServedModel::has_name(const std::string& name) const {
  return std::find(description_.names.begin(), description_.names.end(), name) != description_.names.end();
}

Result<std::vector<Request>> ServedModel::multiply(std::vector<Request> prompts, const CallOptions& options) const {
  SamplingWishes sampling = options.sampling;
  sampling.fill_from(description_.advice);
  SamplingParams params = sampling.params();
  params.logprobs = options.logprobs;
  std::shared_ptr<const Grammar> grammar;
  const bool bare = std::ranges::any_of(prompts, [](const Request& request) { return request.grammar == nullptr; });
  if (options.json_schema && bare) {
    auto compiled = Grammar::from_json_schema(engine_->tokenizer(), *options.json_schema);
    if (!compiled.ok()) return compiled.error().with_context("response_format");
    grammar = std::move(compiled).value();
  }
  std::vector<Request> all;
  for (Request& request : prompts) {
    request.sampling = params;
    request.max_tokens = options.max_tokens;
    request.stop = options.stop;
    request.ignore_eos = options.ignore_eos;
    if (!request.grammar) request.grammar = grammar;
    request.cache_scope = options.cache_salt;
    for (int64_t i = 0; i < options.n; ++i) {
      all.push_back(request);
      // Answers to one prompt differ; the first is the one that is got without n.
      if (params.seed) all.back().sampling.seed = *params.seed + static_cast<uint64_t>(i);
    }
  }
  return all;
}

Result<std::vector<Request>> ServedModel::requests(const ChatCall& call) const {
  RenderRequest render;
  render.messages_json = call.messages_json;
  render.tools_json = call.tools_json;
  render.args_json = call.template_args_json;
  KL_TRY(ChatPrompt prompt, format_.prompt(std::move(render), call.think));
  Request request;
  request.prompt = std::move(prompt.tokens);
  if (format_.markers()) request.thinking = Thinking{*format_.markers(), prompt.inside_reasoning};
  KL_RETURN_IF_ERROR(
      apply_tools(call.tool_use, format_.tool_calls(), call.options.json_schema, engine_->tokenizer(), &request));
  return multiply({std::move(request)}, call.options);
}

Result<std::vector<Request>> ServedModel::requests(const TextCall& call) const {
  std::vector<Request> prompts;
  for (const auto& prompt : call.prompts) {
    Request request;
    if (const auto* text = std::get_if<std::string>(&prompt)) {
      KL_TRY(request.prompt, tokenizer().encode(*text));
    } else {
      request.prompt = std::get<std::vector<int32_t>>(prompt);
    }
    prompts.push_back(std::move(request));
  }
  return multiply(std::move(prompts), call.options);
}

}  // namespace kinglet::server
