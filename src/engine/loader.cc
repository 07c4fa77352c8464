#include "engine/loader.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/log.h"
#include "base/memory.h"
#include "engine/model_drafter.h"
#include "engine/mtp_drafter.h"
#include "families/family.h"
#include "nn/plan.h"

namespace kinglet {

namespace {

// A context below this is not worth a start.
constexpr int64_t kSmallestContext = 256;

std::string megabytes(uint64_t bytes) {
  return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB";
}

uint64_t pages_for(int64_t positions, int64_t page_positions) {
  return static_cast<uint64_t>((positions + page_positions - 1) / page_positions);
}

// Encoders write no text.
Status check_head(const BoundModel& bound, const Checkpoint& checkpoint) {
  if (bound.has_head()) return {};
  const bool ranks = bound.spec.labels > 0;
  return Error{ErrorCode::kUnsupported, checkpoint.path + ": a model of the family " + bound.spec.family +
                                            " without an output head, which writes no text; `kinglet " +
                                            (ranks ? "rerank` orders documents" : "embed` makes embeddings") +
                                            " with it"};
}

ModelOptions fitted_to(const ModelOptions& options, const ModelSpec& spec, int64_t context_needed) {
  ModelOptions fitted = options;
  if (fitted.context == 0 && context_needed > 0) fitted.context = std::min(context_needed, spec.context);
  return fitted;
}

// What the drafting model needs of the same memory: its weights, and a page beside each page of the other.
MemoryPlan together(MemoryPlan plan, const MemoryPlan& draft) {
  plan.weight_bytes += draft.weight_bytes;
  plan.rope_bytes += draft.rope_bytes;
  plan.working_bytes += draft.working_bytes;
  plan.page_bytes += draft.page_bytes;
  return plan;
}

Result<std::shared_ptr<Drafter>> load_drafter(std::shared_ptr<const Checkpoint> checkpoint, ModelOptions options,
                                              int64_t pages, int64_t context, const Tokenizer* tokenizer) {
  const std::string where = "the drafting model " + checkpoint->path;
  KL_TRY(const BoundModel bound, bind_model(*checkpoint));
  KL_RETURN_IF_ERROR(check_head(bound, *checkpoint));
  auto drafting = Tokenizer::from_checkpoint(*checkpoint);
  if (!drafting.ok()) return drafting.error().with_context(where);
  if (tokenizer == nullptr) {
    return Error{ErrorCode::kInvalid, where + ": the model it is to draft for has no tokenizer to compare with"};
  }
  const Status same = check_same_vocabulary(*tokenizer, **drafting);
  if (!same.ok()) return same.error().with_context(where);
  options.context = std::min(context, bound.spec.context);
  options.progress = {};
  KL_TRY(std::unique_ptr<Model> model, Model::load(std::move(checkpoint), options));
  auto drafter = ModelDrafter::create(make_step_model(std::move(model)), pages, context, tokenizer->vocab_size());
  if (!drafter.ok()) return drafter.error().with_context(where);
  return std::shared_ptr<Drafter>(std::move(drafter).value());
}

Result<std::shared_ptr<Drafter>> load_predictor(const Model& model, int64_t pages) {
  KL_TRY(std::unique_ptr<Model> predictor, Model::load_predictor(model));
  KL_TRY(std::unique_ptr<MtpDrafter> drafter,
         MtpDrafter::create(make_step_model(std::move(predictor)), model.spec().width, pages));
  return std::shared_ptr<Drafter>(std::move(drafter));
}

// What the model and whatever drafts for it need of the same memory.
Result<MemoryPlan> plan_of_all(const Checkpoint& checkpoint, const BoundModel& bound, const LoadOptions& options,
                               bool predict) {
  ModelOptions model_options = options.model;
  model_options.keep_states = predict;
  KL_TRY(const MemoryPlan plan, plan_memory(bound, model_options));
  if (options.draft) {
    KL_TRY(const MemoryPlan draft_plan, plan_memory(*options.draft, model_options));
    return together(plan, draft_plan);
  }
  if (!predict) return plan;
  KL_TRY(const MemoryPlan predictor_plan, plan_memory(*bind_predictor(checkpoint, bound), model_options));
  return together(plan, predictor_plan);
}

Result<ContextChoice> context_within(const MemoryPlan& plan, const BoundModel& bound, const LoadOptions& options) {
  return choose_context(plan, bound.spec.context, options.model.page_positions,
                        options.model.memory_limit > 0 ? options.model.memory_limit : available_memory_bytes(),
                        options.model.context, options.engine);
}

// Whether the checkpoint's prediction layer is to be loaded: what fits without it is not to fail because of it.
bool predicts(const Checkpoint& checkpoint, const BoundModel& bound, const LoadOptions& options) {
  if (bound.kept.empty()) return false;
  if (!bind_predictor(checkpoint, bound)) {
    log_info("the prediction layer of this model is not used for drafts: its form is not known");
    return false;
  }
  const auto plan = plan_of_all(checkpoint, bound, options, true);
  if (plan.ok() && context_within(*plan, bound, options).ok()) return true;
  log_info("the prediction layer of this model is not used for drafts: there is no memory for it");
  return false;
}

}  // namespace

Result<ContextChoice> choose_context(const MemoryPlan& plan, int64_t trained, int64_t page_positions,
                                     uint64_t available, int64_t asked, const EngineOptions& engine) {
  const auto sequences = static_cast<uint64_t>(std::max<int64_t>(engine.max_sequences, 1));
  // With drafts a second one, as the state was before them.
  const uint64_t states = plan.state_bytes * sequences * (engine.speculation.on() ? 2 : 1);
  const uint64_t fixed = plan.weight_bytes + plan.rope_bytes + plan.working_bytes + states;
  // A tenth stays free, for everything that is no plan's business.
  const uint64_t usable = available - available / 10;
  uint64_t left = usable > fixed ? usable - fixed : 0;
  ContextChoice choice;
  if (engine.prefix_cache && plan.state_bytes > 0) {  // snapshots take an eighth of what is left at most
    const auto most = static_cast<int64_t>(std::min<uint64_t>(left / 8 / plan.state_bytes, INT32_MAX));
    const int64_t wanted_states = engine.kept_states < 0 ? most_kept_states(engine.max_sequences) : engine.kept_states;
    choice.kept_states = std::min(most, wanted_states);
    left -= static_cast<uint64_t>(choice.kept_states) * plan.state_bytes;
  }
  const uint64_t kv_bytes = engine.kv_bytes != 0 ? std::min(engine.kv_bytes, left) : left;
  const uint64_t affordable_pages = plan.page_bytes == 0 ? 0 : kv_bytes / plan.page_bytes;
  const auto affordable =
      static_cast<int64_t>(std::min<uint64_t>(affordable_pages, static_cast<uint64_t>(INT32_MAX / page_positions)) *
                           static_cast<uint64_t>(page_positions));
  const int64_t wanted = asked > 0 ? asked : trained;
  const int64_t least = asked > 0 ? asked : std::min(trained, kSmallestContext);
  if (affordable < least) {
    return Error{ErrorCode::kResource,
                 "not enough memory: weights " + megabytes(plan.weight_bytes) + ", working memory " +
                     megabytes(plan.rope_bytes + plan.working_bytes) + ", " +
                     (states > 0 ? "recurrent states " + megabytes(states) + ", " : "") + "and " +
                     megabytes(pages_for(least, page_positions) * plan.page_bytes) + " for a context of " +
                     std::to_string(least) + " tokens; " + megabytes(usable) + " can be used" +
                     (engine.kv_bytes != 0 ? " (" + megabytes(engine.kv_bytes) + " allowed for the context)" : "")};
  }
  choice.context = std::min(wanted, affordable);
  choice.kv_bytes = std::min(kv_bytes, pages_for(choice.context, page_positions) * plan.page_bytes * sequences);
  const std::string tokens = std::to_string(choice.context) + " tokens: ";
  if (asked > 0) {
    choice.reason = tokens + "as asked for" +
                    (asked > trained ? " (the model was trained for " + std::to_string(trained) +
                                           "; what lies beyond may make no sense)"
                                     : "");
  } else if (choice.context == trained) {
    choice.reason = tokens + "what the model was trained for";
  } else {
    choice.reason = tokens + "what memory allows (the model was trained for " + std::to_string(trained) + ")";
  }
  return choice;
}

Result<std::unique_ptr<StepModel>> load_step_model(std::shared_ptr<const Checkpoint> checkpoint,
                                                   const ModelOptions& options, int64_t context_needed) {
  KL_TRY(const BoundModel bound, bind_model(*checkpoint));
  KL_RETURN_IF_ERROR(check_head(bound, *checkpoint));
  KL_TRY(std::unique_ptr<Model> model,
         Model::load(std::move(checkpoint), fitted_to(options, bound.spec, context_needed)));
  return make_step_model(std::move(model));
}

Result<std::unique_ptr<Model>> load_state_model(std::shared_ptr<const Checkpoint> checkpoint,
                                                const ModelOptions& options, int64_t context_needed) {
  KL_TRY(const BoundModel bound, bind_model(*checkpoint));
  ModelOptions fitted = fitted_to(options, bound.spec, context_needed);
  fitted.states_only = true;
  return Model::load(std::move(checkpoint), fitted);
}

Result<std::unique_ptr<Engine>> load_engine(const std::string& path, const LoadOptions& options) {
  KL_TRY(std::shared_ptr<const Checkpoint> checkpoint, open_checkpoint(path));
  return load_engine(std::move(checkpoint), options);
}

Result<std::unique_ptr<Engine>> load_engine(std::shared_ptr<const Checkpoint> checkpoint, const LoadOptions& options) {
  std::shared_ptr<const Tokenizer> tokenizer;
  auto loaded = Tokenizer::from_checkpoint(*checkpoint);
  if (loaded.ok()) {
    tokenizer = std::move(loaded).value();
  } else if (options.need_tokenizer || loaded.error().code != ErrorCode::kNotFound) {
    return loaded.error();
  }
  KL_TRY(const BoundModel bound, bind_model(*checkpoint));
  KL_RETURN_IF_ERROR(check_head(bound, *checkpoint));
  ModelOptions model_options = options.model;
  const bool predict = options.predict && !options.draft && predicts(*checkpoint, bound, options);
  model_options.keep_states = predict;
  KL_TRY(const MemoryPlan plan, plan_memory(bound, model_options));
  KL_TRY(const MemoryPlan all, plan_of_all(*checkpoint, bound, options, predict));
  KL_TRY(const ContextChoice choice, context_within(all, bound, options));
  model_options.context = choice.context;
  if (options.progress) {
    model_options.progress = [&options](double fraction) { options.progress("weights", fraction); };
  }
  EngineOptions engine_options = options.engine;
  const uint64_t pages = choice.kv_bytes / all.page_bytes;
  engine_options.kv_bytes = pages * plan.page_bytes;
  engine_options.kept_states = choice.kept_states;
  engine_options.context_reason = choice.reason;
  if (options.draft) {  // before the large model: what is wrong with it shows at once
    KL_TRY(engine_options.speculation.drafter,
           load_drafter(options.draft, model_options, static_cast<int64_t>(pages), choice.context, tokenizer.get()));
  }
  KL_TRY(std::unique_ptr<Model> model, Model::load(std::move(checkpoint), model_options));
  if (predict) {
    KL_TRY(engine_options.speculation.drafter, load_predictor(*model, static_cast<int64_t>(pages)));
  }
  return Engine::create(make_step_model(std::move(model)), std::move(tokenizer), engine_options);
}

}  // namespace kinglet
