// From a path to something that runs: checkpoint, tokenizer, memory plan, model, engine. Decides the context.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "engine/engine.h"
#include "engine/step_model.h"
#include "formats/checkpoint.h"
#include "text/tokenizer.h"

namespace kinglet {

struct LoadOptions {
  ModelOptions model;  // context: 0 means the smaller of what the model was trained for and what memory allows
  EngineOptions engine;
  // A smaller model with the same vocabulary that drafts for it (EngineOptions::speculation); null: none.
  std::shared_ptr<const Checkpoint> draft;
  // Without such a model the checkpoint's own prediction layer (MTP) drafts, if it has one and memory allows.
  bool predict = false;
  bool need_tokenizer = true;                                        // false: a model without one is no error
  std::function<void(const char* stage, double fraction)> progress;  // "weights"; may be empty
};

struct ContextChoice {
  int64_t context = 0;
  uint64_t kv_bytes = 0;    // of the whole page pool
  int64_t kept_states = 0;  // snapshots of recurrent states, for the prefix cache
  std::string reason;       // "8192 tokens: what the model was trained for", …
};

// The context and the memory for KV pages, from what the model needs (its recurrent states included, one for each of
// max_sequences, two with speculation, and snapshots of them for the prefix cache) and `available` bytes of memory.
// kResource, with the numbers, when not even a short context fits, or when the one asked for does not.
Result<ContextChoice> choose_context(const MemoryPlan& plan, int64_t trained, int64_t page_positions,
                                     uint64_t available, int64_t asked, const EngineOptions& engine);

// A model ready to run steps, without an engine: for logits and evaluation. The context is options.model.context, or
// what the model was trained for but no more than `context_needed`, where that is not 0.
Result<std::unique_ptr<StepModel>> load_step_model(std::shared_ptr<const Checkpoint> checkpoint,
                                                   const ModelOptions& options, int64_t context_needed = 0);

// A model for its states alone (engine/embed.h): with or without an output head. The same context.
Result<std::unique_ptr<Model>> load_state_model(std::shared_ptr<const Checkpoint> checkpoint,
                                                const ModelOptions& options, int64_t context_needed);

Result<std::unique_ptr<Engine>> load_engine(const std::string& path, const LoadOptions& options = {});
Result<std::unique_ptr<Engine>> load_engine(std::shared_ptr<const Checkpoint> checkpoint,
                                            const LoadOptions& options = {});

}  // namespace kinglet
